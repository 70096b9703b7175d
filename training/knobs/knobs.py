"""Knobs for a trained model, measured on its data set: directions of every latent, labelled ones, presets, the curve of
pitch.

They travel in the checkpoint, so that exporting needs no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import SoundSet
from training.dsp.control import Decoder
from training.evaluation.probes import LatentTable, batches
from training.features import FeatureExtractor
from training.knobs.decoded_axes import Probe, decoded_axes, probe_of
from training.knobs.descriptors import DESCRIPTORS, LABELS
from training.knobs.directions import AudibleDirection, effects_db, heard_most, ridge_weights
from training.knobs.pitch import pitch_anchors, pitch_axes
from training.knobs.pitch_curve import Notes
from training.knobs.presets import presets_of, rounded
from training.models.harmonic import HarmonicVAE
from training.models.latents import Latents, TimbreVAE

VARIATION_AXES = 8
SAME = 1e-5  # timbres that differ by no more are one
FRAME_SOUNDS = 240  # whose frames of z^v are looked at
PITCHED_ANCHOR_SEMITONES = 3  # between the anchors of presets whose decoder is told the pitch


@dataclass(frozen=True)
class _Survey:
    """latents : name → (sounds, D), means over time;  heard : (sounds,), which sound at all
    descriptors : name → (sounds,), NaN where undefined.
    """

    latents: dict[str, np.ndarray]
    heard: np.ndarray
    descriptors: dict[str, np.ndarray]

    @property
    def timbre(self) -> np.ndarray:
        return self.latents["timbre"]

    def notes(self, sounds: SoundSet) -> Notes:
        """Those of known pitch."""
        known = np.isfinite(sounds.pitch) & self.heard
        return Notes(self.latents["pitch"][known], sounds.pitch[known])


def measure_knobs(
    model: TimbreVAE,
    features: FeatureExtractor,
    train: SoundSet,
    held_out: SoundSet,
    seconds: float,
    table: LatentTable | None = None,
    tuning_steps: int = 0,
) -> dict[str, Any]:
    """Axes, presets and the curve of pitch as plain values; keys and fields as in a bundle's manifest.

    table : latents of the training sounds where they are known already
    tuning_steps : how long the curve of pitch is tuned (`training.knobs.tuning`); 0 leaves it as averages of real
        sounds
    """
    survey, check = _survey(model, features, train, seconds, table), _survey(model, features, held_out, seconds)
    probe = probe_of(model, features, held_out, seconds)
    told_pitch, decoder, z = model.KIND == HarmonicVAE.KIND, probe.decoder, probe.latents
    timbre = timbre_spread(survey.timbre)
    labelled = (
        decoded_axes(probe, features.config, timbre)
        if told_pitch
        else _labelled_axes(probe, survey, train, check, held_out)
    )
    axes = [*timbre_axes(decoder, z, timbre), *labelled, *raw_axes(decoder, z)]
    presets = (
        presets_of(survey.timbre, train, survey.latents.get("pitch"), PITCHED_ANCHOR_SEMITONES)
        if told_pitch
        else presets_of(survey.timbre, train)
    )
    variation = variation_frames(model, features, train, seconds)
    pitched, curve = [], []
    if "pitch" in z:
        learnt, check_notes = survey.notes(train), check.notes(held_out)
        pitched = [
            axis_record(f"pitch[{k}]", label, heard) | about
            for k, (label, heard, about) in enumerate(pitch_axes(decoder, z, learnt, check_notes))
        ]
        rest = None if variation is None else variation.mean(0)
        curve = [] if told_pitch else pitch_anchors(model, features, learnt, presets, rest, tuning_steps)
    return {
        "axes": axes,
        "presets": presets,
        "variation_axes": [] if variation is None else variation_axes(decoder, z, variation),
        "pitch_axes": pitched,
        "pitch_anchors": curve,
    }


def measure_again(
    model: TimbreVAE,
    features: FeatureExtractor,
    train: SoundSet,
    held_out: SoundSet,
    seconds: float,
    knobs: Mapping[str, Any],
    table: LatentTable,
    tuning_steps: int = 0,
) -> dict[str, Any]:
    """The same knobs for a model of which only the decoder has changed: directions, labels, order and presets stay to
    the letter, how much a step is heard and the curve of pitch are measured anew.

    knobs : as `measure_knobs` gave them;  table : latents of the training sounds
    """
    probe = probe_of(model, features, held_out, seconds)
    again = {}
    for kind, latent in (("axes", "timbre"), ("variation_axes", "variation"), ("pitch_axes", "pitch")):
        effects = effects_db(
            probe.decoder, probe.latents, [np.array(axis["direction"]) for axis in knobs[kind]], latent
        )
        again[kind] = [
            {**axis, "effect_db": round(effect, 3)} for axis, effect in zip(knobs[kind], effects, strict=True)
        ]
    variation = variation_frames(model, features, train, seconds)
    rest = None if variation is None else variation.mean(0)
    known = np.isfinite(train.pitch) & (table.frames > 0)
    learnt = Notes(table.latents["pitch"][known], train.pitch[known])
    if model.KIND != HarmonicVAE.KIND:
        again["pitch_anchors"] = pitch_anchors(model, features, learnt, knobs["presets"], rest, tuning_steps)
    return {**knobs, **again}


@torch.no_grad()
def variation_frames(
    model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float
) -> np.ndarray | None:
    """z^v of the sounding frames of some sounds, spread over the set, (frames, D); None for a model without."""
    if "variation" not in model.latent_sizes:
        return None
    found = []
    for _, audio in batches(sounds.spread(FRAME_SOUNDS), seconds):
        spectra = features(audio)
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        found.append(z.variation[spectra.sounding].numpy())
    return np.concatenate(found)


def timbre_spread(timbre: np.ndarray) -> np.ndarray:
    """Timbres whose spread makes the knobs' steps: those of real sounds, (sounds, D); of a model with one timbre for
    all, steps of a standard deviation of the prior about it.
    """
    if np.ptp(timbre, axis=0).max() > SAME:
        return timbre
    size = timbre.shape[1]
    steps = np.sqrt(size - 0.5) * np.eye(size)  # so that the sample covariance is one
    return timbre.mean(0) + np.concatenate([steps, -steps])


def timbre_axes(decoder: Decoder, probe: Latents, timbre: np.ndarray) -> list[dict[str, Any]]:
    """The ways real timbres differ, the one heard most first; one unit is a standard deviation over real sounds.

    timbre : (sounds, D), z^t of real sounds
    """
    found = heard_most(decoder, probe, "timbre", timbre)
    return [axis_record(f"timbre[{k}]", f"timbre axis {k}, up is brighter", heard) for k, heard in enumerate(found)]


def variation_axes(decoder: Decoder, probe: Latents, variation: np.ndarray) -> list[dict[str, Any]]:
    """The ways real frames' z^v differ, the few heard most; one unit is a standard deviation over real frames.

    variation : (frames, D), z^v of real frames
    """
    found = heard_most(decoder, probe, "variation", variation, most=VARIATION_AXES)
    return [
        axis_record(f"variation[{k}]", f"variation axis {k}, up is brighter", heard) for k, heard in enumerate(found)
    ]


def raw_axes(decoder: Decoder, probe: Latents) -> list[dict[str, Any]]:
    """Every dimension of z^t as the model has it; one unit is a standard deviation of the prior."""
    basis = np.eye(probe.timbre.shape[-1])
    return [
        axis_record(f"raw[{i}]", f"latent dimension {i}", AudibleDirection(basis[i], effect))
        for i, effect in enumerate(effects_db(decoder, probe, basis))
    ]


@torch.no_grad()
def _survey(
    model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, known: LatentTable | None = None
) -> _Survey:
    latents: dict[str, list[np.ndarray]] = {name: [] for name in model.latent_sizes}
    heard: list[np.ndarray] = []
    found: dict[str, list[Tensor]] = {name: [] for name in DESCRIPTORS}
    for rows, audio in batches(sounds, seconds):
        amplitudes = features.amplitudes(audio)
        if known is None:
            envelope, fine = features.split(features.log_amplitude(amplitudes))
            z = model.encode(envelope, fine, amplitudes.sounding).latents
            for name, value in z.averaged(amplitudes.sounding).items():
                latents[name].append(value.numpy())
        heard.append(amplitudes.sounding.any(1).numpy())
        for name, descriptor in DESCRIPTORS.items():
            found[name].append(descriptor(amplitudes, features.config, sounds.pitch[rows]))
    averages = {name: np.concatenate(values) for name, values in latents.items()} if known is None else known.latents
    return _Survey(averages, np.concatenate(heard), {name: torch.cat(values).numpy() for name, values in found.items()})


def _labelled_axes(
    probe: Probe, survey: _Survey, train: SoundSet, check: _Survey, held_out: SoundSet
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
        weight = ridge_weights(z, wanted)
        spread = np.sqrt(weight @ covariance @ weight)
        if spread <= 0:
            continue
        # the change of z^t that goes with one standard deviation of the prediction
        direction = covariance @ weight / spread
        predicted = (check.timbre[usable_check] - mean) @ weight
        seen = check.descriptors[name][usable_check] - trend(_pitch(held_out)[usable_check])
        correlation = float(np.corrcoef(predicted, seen)[0, 1])
        axes.append(
            axis_record(
                name,
                LABELS[name],
                AudibleDirection(direction, effects_db(probe.decoder, probe.latents, [direction])[0]),
            )
            | {"descriptor": name, "correlation": round(correlation, 4)}
        )
    return axes


def _pitch(sounds: SoundSet) -> np.ndarray:
    return np.where(np.isfinite(sounds.pitch), sounds.pitch, 60.0)


def axis_record(name: str, label: str, heard: AudibleDirection) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "direction": rounded(heard.direction),
        "effect_db": round(float(heard.effect_db), 3),
    }
