"""Knobs for a trained model, measured on its data set: timbre axes, labelled directions, raw dimensions, presets.

They travel in the checkpoint, so that exporting needs no data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import SoundSet
from training.descriptors import DESCRIPTORS, LABELS
from training.features import FeatureExtractor
from training.models.latents import Latents, TimbreVAE
from training.probes import batches

REGULARISATION = 1e-4
ANCHOR_SEMITONES = 6
RIDGE = 1.0
DB = 20 / np.log(10)  # natural log of amplitude to dB


@dataclass(frozen=True)
class _Survey:
    """timbre : (sounds, D);  descriptors : name → (sounds,), NaN where undefined."""

    timbre: np.ndarray
    descriptors: dict[str, np.ndarray]


def measure_knobs(
    model: TimbreVAE, features: FeatureExtractor, train: SoundSet, held_out: SoundSet, seconds: float, timbre: np.ndarray | None = None
) -> dict[str, Any]:
    """Axes and presets as plain values: {"axes": [...], "presets": [...]}; fields as in a bundle's manifest.

    timbre : (sounds, D), z^t of the training sounds where it is known already
    """
    survey, check = _survey(model, features, train, seconds, timbre), _survey(model, features, held_out, seconds)
    probe = _probe_latents(model, features, held_out, seconds)
    axes = [*timbre_axes(model, probe, survey.timbre), *_labelled_axes(model, probe, survey, train, check, held_out), *raw_axes(model, probe)]
    return {"axes": axes, "presets": _presets(survey.timbre, train)}


@torch.no_grad()
def effects_db(model: TimbreVAE, probe: Latents, directions: Iterable[np.ndarray]) -> list[float]:
    """For each direction: RMS change of the decoded log-spectrum for a knob value of 1, in dB."""
    plain = model.decode(probe)
    moved = (probe.with_(timbre=probe.timbre + torch.from_numpy(direction).float()) for direction in directions)
    return [float((model.decode(latents) - plain).square().mean().sqrt()) * DB for latents in moved]


@torch.no_grad()
def timbre_axes(model: TimbreVAE, probe: Latents, timbre: np.ndarray) -> list[dict[str, Any]]:
    """The ways real timbres differ, the one heard most first; one unit is a standard deviation over real sounds.

    The latent's own basis is arbitrary (its prior looks the same from every side) and neighbouring dimensions share what they say,
    so a knob per dimension does little. These are uncorrelated over real sounds, like principal directions, but ordered and
    separated by what they do to the decoded spectrum: the eigenvectors of its change under a whitened basis.

    timbre : (sounds, D), z^t of real sounds
    """
    covariance = np.cov(timbre.T).reshape(timbre.shape[1], -1)
    covariance += np.eye(len(covariance)) * max(1e-6, REGULARISATION * float(np.trace(covariance)) / len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    whitened = (vectors * np.sqrt(values)).T  # rows: one standard deviation each, uncorrelated
    changes = np.stack([_mean_change(model, probe, row) for row in whitened])
    _, mixing = np.linalg.eigh(changes @ changes.T)
    directions = [_brighter(model, probe, column @ whitened) for column in mixing.T]
    effects = effects_db(model, probe, directions)
    order = np.argsort(effects)[::-1]
    return [_axis(f"timbre[{k}]", f"timbre axis {k}, up is brighter", directions[i], effects[i]) for k, i in enumerate(order)]


def raw_axes(model: TimbreVAE, probe: Latents) -> list[dict[str, Any]]:
    """Every dimension of z^t as the model has it; one unit is a standard deviation of the prior."""
    basis = np.eye(model.latent_sizes["timbre"])
    return [_axis(f"raw[{i}]", f"latent dimension {i}", basis[i], effect) for i, effect in enumerate(effects_db(model, probe, basis))]


def _mean_change(model: TimbreVAE, probe: Latents, direction: np.ndarray) -> np.ndarray:
    """Change of each probe sound's decoded spectrum from half a step down to half a step up, averaged over time.  (sounds · bins,)"""
    step = torch.from_numpy(direction / 2).float()
    up, down = (model.decode(probe.with_(timbre=probe.timbre + sign * step)).mean(1) for sign in (1, -1))
    return (up - down).double().flatten().numpy()


def _brighter(model: TimbreVAE, probe: Latents, direction: np.ndarray) -> np.ndarray:
    """The direction or its opposite: the one that tilts the spectrum upwards."""
    change = _mean_change(model, probe, direction).reshape(len(probe.timbre), -1).mean(0)
    tilt = float(change @ np.linspace(-1, 1, len(change)))
    return -direction if tilt < 0 else direction


@torch.no_grad()
def _survey(model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, known: np.ndarray | None = None) -> _Survey:
    timbre: list[np.ndarray] = []
    found: dict[str, list[Tensor]] = {name: [] for name in DESCRIPTORS}
    for rows, audio in batches(sounds, seconds):
        amplitudes = features.amplitudes(audio)
        if known is None:
            envelope, fine = features.split(features.log_amplitude(amplitudes))
            z = model.encode(envelope, fine, amplitudes.sounding).latents
            timbre.append(z.averaged(amplitudes.sounding).timbre.numpy())
        for name, descriptor in DESCRIPTORS.items():
            found[name].append(descriptor(amplitudes, features.config, sounds.pitch[rows]))
    return _Survey(np.concatenate(timbre) if known is None else known, {name: torch.cat(values).numpy() for name, values in found.items()})


@torch.no_grad()
def _probe_latents(model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> Latents:
    """Latents of two dozen sounds, spread over the set, on which effects are measured."""
    chosen = sounds.take(np.unique(np.linspace(0, len(sounds) - 1, 24).astype(int)))
    _, audio = next(iter(batches(chosen, min(seconds, 1.0))))
    spectra = features(audio)
    return model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents


def _labelled_axes(model: TimbreVAE, probe: Latents, survey: _Survey, train: SoundSet, check: _Survey, held_out: SoundSet) -> list[dict[str, Any]]:
    """Directions that go with a descriptor, pitch accounted for, and how well they predict it on held-out sounds."""
    axes = []
    mean, covariance = survey.timbre.mean(0), np.cov(survey.timbre.T)
    for name in DESCRIPTORS:
        usable = np.isfinite(survey.descriptors[name])
        usable_check = np.isfinite(check.descriptors[name])
        if usable.sum() < 10 or usable_check.sum() < 10:
            continue
        trend = np.polynomial.Polynomial.fit(_pitch(train)[usable], survey.descriptors[name][usable], 2)
        wanted = survey.descriptors[name][usable] - trend(_pitch(train)[usable])
        z = survey.timbre[usable] - mean
        weight = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ wanted)
        spread = np.sqrt(weight @ covariance @ weight)
        if spread <= 0:
            continue
        direction = covariance @ weight / spread  # the change of z^t that goes with one standard deviation of the prediction
        predicted = (check.timbre[usable_check] - mean) @ weight
        seen = check.descriptors[name][usable_check] - trend(_pitch(held_out)[usable_check])
        correlation = float(np.corrcoef(predicted, seen)[0, 1])
        axes.append(
            _axis(name, LABELS[name], direction, effects_db(model, probe, [direction])[0])
            | {"descriptor": name, "correlation": round(correlation, 4)}
        )
    return axes


def _pitch(sounds: SoundSet) -> np.ndarray:
    return np.where(np.isfinite(sounds.pitch), sounds.pitch, 60.0)


def _presets(timbre: np.ndarray, sounds: SoundSet) -> list[dict[str, Any]]:
    """Per instrument, in the order of programs: its mean z^t around every few semitones."""
    presets = []
    _, first = np.unique(sounds.instrument, return_index=True)
    for index in first[np.argsort(sounds.program[first], kind="stable")]:
        rows = np.flatnonzero(sounds.instrument == sounds.instrument[index])
        pitch = sounds.pitch[rows]
        if np.isfinite(pitch).all():
            zone = np.round(pitch / ANCHOR_SEMITONES).astype(int)
            anchors: list[tuple[float | None, np.ndarray]] = [
                (float(pitch[zone == k].mean()), timbre[rows[zone == k]].mean(0)) for k in np.unique(zone)
            ]
        else:
            anchors = [(None, timbre[rows].mean(0))]
        listed = [{"midi_note": note if note is None else round(float(note), 2), "timbre": _rounded(z)} for note, z in anchors]
        presets.append({"name": str(sounds.instrument[index]), "family": str(sounds.family[index]), "anchors": listed})
    return presets


def _axis(name: str, label: str, direction: np.ndarray, effect: float) -> dict[str, Any]:
    return {"name": name, "label": label, "direction": _rounded(direction), "effect_db": round(float(effect), 3)}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
