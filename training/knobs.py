"""Knobs for a trained model, measured on its data set: ordered dimensions, principal and labelled directions, presets.

They travel in the checkpoint, so that exporting needs no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import SoundSet
from training.descriptors import DESCRIPTORS, LABELS
from training.features import FeatureExtractor
from training.models.perturbation import Latents, PerturbationVAE
from training.probes import batches

PRINCIPAL = 8
ANCHOR_SEMITONES = 6
RIDGE = 1.0
DB = 20 / np.log(10)  # natural log of amplitude to dB


@dataclass(frozen=True)
class _Survey:
    """timbre : (sounds, D);  descriptors : name → (sounds,), NaN where undefined."""

    timbre: np.ndarray
    descriptors: dict[str, np.ndarray]


def measure_knobs(model: PerturbationVAE, features: FeatureExtractor, train: SoundSet, held_out: SoundSet, seconds: float) -> dict[str, Any]:
    """Axes and presets as plain values: {"axes": [...], "presets": [...]}; fields as in a bundle's manifest."""
    survey, check = (_survey(model, features, sounds, seconds) for sounds in (train, held_out))
    probe = _probe_latents(model, features, held_out, seconds)
    axes = [
        *raw_axes(model, probe, survey.timbre.std(0)),
        *_principal_axes(model, probe, survey),
        *_labelled_axes(model, probe, survey, train, check, held_out),
    ]
    return {"axes": axes, "presets": _presets(survey.timbre, train)}


@torch.no_grad()
def effect_db(model: PerturbationVAE, probe: Latents, direction: np.ndarray) -> float:
    """RMS change of the decoded log-spectrum for a knob value of 1, in dB."""
    moved = Latents(probe.timbre + torch.from_numpy(direction).float(), probe.variation, probe.pitch)
    return float((model.decode(moved) - model.decode(probe)).square().mean().sqrt()) * DB


def raw_axes(model: PerturbationVAE, probe: Latents, spread: np.ndarray) -> list[dict[str, Any]]:
    """Every dimension of z^t, the one that changes the sound most first.

    One unit is a standard deviation over real sounds, `spread` (D,). The prior's would be the same if the posteriors filled the
    prior; where one z^t serves a whole sound its divergence is cheap and they spread wider, and knobs in the prior's units would
    be dead.
    """
    basis = np.diag(spread.astype(float))
    effects = [effect_db(model, probe, row) for row in basis]
    order = np.argsort(effects)[::-1]
    return [_axis(f"timbre[{k}]", f"dimension {i}", basis[i], effects[i]) for k, i in enumerate(order)]


@torch.no_grad()
def _survey(model: PerturbationVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> _Survey:
    timbre: list[np.ndarray] = []
    found: dict[str, list[Tensor]] = {name: [] for name in DESCRIPTORS}
    for rows, audio in batches(sounds, seconds):
        amplitudes = features.amplitudes(audio)
        envelope, fine = features.split(features.log_amplitude(amplitudes))
        timbre.append(model.encode(envelope, fine, amplitudes.sounding).latents.timbre.numpy())
        for name, descriptor in DESCRIPTORS.items():
            found[name].append(descriptor(amplitudes, features.config, sounds.pitch[rows]))
    return _Survey(np.concatenate(timbre), {name: torch.cat(values).numpy() for name, values in found.items()})


@torch.no_grad()
def _probe_latents(model: PerturbationVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> Latents:
    """Latents of two dozen sounds, spread over the set, on which effects are measured."""
    chosen = sounds.take(np.unique(np.linspace(0, len(sounds) - 1, 24).astype(int)))
    _, audio = next(iter(batches(chosen, min(seconds, 1.0))))
    spectra = features(audio)
    return model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents


def _principal_axes(model: PerturbationVAE, probe: Latents, survey: _Survey) -> list[dict[str, Any]]:
    """The directions z^t varies along most; one unit is a standard deviation over the training sounds."""
    centred = survey.timbre - survey.timbre.mean(0)
    _, scale, directions = np.linalg.svd(centred, full_matrices=False)
    axes = []
    for k in range(min(PRINCIPAL, len(directions))):
        direction = directions[k] * scale[k] / np.sqrt(len(centred))
        direction *= np.sign(direction[np.abs(direction).argmax()])  # the sign of a principal direction is arbitrary: fix it
        share = scale[k] ** 2 / (scale**2).sum()
        axes.append(_axis(f"principal[{k}]", f"{share:.0%} of the timbres' variance", direction, effect_db(model, probe, direction)))
    return axes


def _labelled_axes(
    model: PerturbationVAE, probe: Latents, survey: _Survey, train: SoundSet, check: _Survey, held_out: SoundSet
) -> list[dict[str, Any]]:
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
            _axis(name, LABELS[name], direction, effect_db(model, probe, direction)) | {"descriptor": name, "correlation": round(correlation, 4)}
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
