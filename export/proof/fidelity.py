"""How near a streaming model comes to its original: reconstruction, latents, and what k-NN can tell from them.

The original hears whole sounds, as it was trained to. The streaming model is played as the runtime plays it: every
sound from silence, frames with the running level, timbre as it stands at the sound's last frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.streaming_play import live_features, play
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.hop.smoothing import timbre_rate
from realtime.knobs.targets import TIMBRE_SECONDS
from training.data.manifest import SoundSet
from training.evaluation.measurement import LABELS, knn
from training.evaluation.probes import LatentTable, batches
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.latents import Latents, TimbreVAE, one_per_sound

BATCH = 32


@dataclass(frozen=True)
class ModelMeasurements:
    """Per-sound results of one model.

    table : latents (sounds, D) and squared errors, as `training.evaluation.probes` has them
    distance_db : (sounds,), log-spectral distance
    """

    table: LatentTable
    distance_db: np.ndarray

    @property
    def mse(self) -> float:
        return float(np.average(self.table.squared_error, weights=self.table.frames))

    @property
    def log_spectral_distance_db(self) -> float:
        return float(np.average(self.distance_db, weights=self.table.frames))


@dataclass(frozen=True)
class ComparisonSounds:
    """Sounds that k-NN learns from, and sounds to measure on; `seconds` of each."""

    train: SoundSet
    test: SoundSet
    seconds: float


@torch.no_grad()
def measure_whole(
    model: TimbreVAE, features: FeatureConfig, sounds: SoundSet | Tensor, seconds: float
) -> ModelMeasurements:
    """The original on whole sounds.  sounds : of a data set, or (sounds, samples)"""
    extract = FeatureExtractor(features)

    def parts() -> Iterator[_Batch]:
        for audio in _audio(sounds, seconds):
            spectra = extract(audio)
            z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
            yield _Batch(spectra, z.averaged(spectra.sounding), model.decode(z))

    return _gathered(parts())


@torch.no_grad()
def measure_streaming(
    model: TimbreVAE,
    features: FeatureConfig,
    sounds: SoundSet | Tensor,
    seconds: float,
    timbre_seconds: float = TIMBRE_SECONDS,
) -> ModelMeasurements:
    """A streaming model, each sound from silence.  sounds : of a data set, or (sounds, samples)"""
    extract = live_features(features)
    rate = timbre_rate(features.hop_samples / features.sample_rate, timbre_seconds)

    def parts() -> Iterator[_Batch]:
        for audio in _audio(sounds, seconds):
            spectra = extract(audio)
            z, decoded = play(model, spectra, rate)
            yield _Batch(spectra, _settled(z, model, spectra.sounding), decoded)

    return _gathered(parts())


def _audio(sounds: SoundSet | Tensor, seconds: float) -> Iterator[Tensor]:
    if isinstance(sounds, Tensor):
        yield from sounds.split(BATCH)
    else:
        yield from (audio for _, audio in batches(sounds, seconds))


def _settled(z: Latents, model: TimbreVAE, sounding: Tensor) -> Latents:
    """One vector per sound: the last sounding frame's for latents with one value per sound, the mean for the others."""
    steady = one_per_sound(model)
    last = (sounding * torch.arange(sounding.shape[1])).argmax(1)
    rows = torch.arange(len(last))
    return Latents(**{name: value[rows, last] if name in steady else value for name, value in z.items()}).averaged(
        sounding
    )


@dataclass(frozen=True)
class _Batch:
    """One batch: frames, one vector per sound and latent, log-amplitude (batch, frames, bins)."""

    spectra: Spectra
    latents: Latents
    decoded: Tensor


def _gathered(parts: Iterator[_Batch]) -> ModelMeasurements:
    latents: dict[str, list[Tensor]] = {}
    errors, distances, frames = [], [], []
    for part in parts:
        for name, value in part.latents.items():
            latents.setdefault(name, []).append(value)
        shared = min(part.decoded.shape[1], part.spectra.log_amplitude.shape[1])
        weight = part.spectra.sounding[:, :shared].to(part.decoded.dtype)
        squared = (part.decoded[:, :shared] - part.spectra.log_amplitude[:, :shared]).square().mean(-1)
        total = weight.sum(1)
        errors.append((squared * weight).sum(1) / total.clamp_min(1))
        distances.append((squared.sqrt() * weight).sum(1) * DB_PER_NEPER / total.clamp_min(1))
        frames.append(total)
    table = LatentTable(
        {name: torch.cat(rows).numpy() for name, rows in latents.items()},
        torch.cat(errors).numpy(),
        torch.cat(frames).numpy(),
    )
    return ModelMeasurements(table, torch.cat(distances).numpy())


def knn_accuracies(sounds: ComparisonSounds, learnt: ModelMeasurements, asked: ModelMeasurements) -> dict[str, float]:
    """k-NN accuracies ("instrument from timbre", …); those that cannot be measured are left out."""
    found = {}
    for label in LABELS:
        for name in learnt.table.latents:
            probe = knn(label, name, (sounds.train, sounds.test), (learnt.table, asked.table))
            if not probe.missing:
                found[f"{label} from {name}"] = float(probe.figure.value)
    return found


def latent_cosines(found: ModelMeasurements, original: ModelMeasurements) -> dict[str, float]:
    """Mean cosine of each latent with the original's, both centred on the original's mean over all sounds."""
    cosines = {}
    for name, wanted in original.table.latents.items():
        heard = (found.table.frames > 0) & (original.table.frames > 0)
        a, b = found.table.latents[name][heard] - wanted[heard].mean(0), wanted[heard] - wanted[heard].mean(0)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines[f"cosine of {name}"] = float(np.mean((a * b).sum(1) / np.maximum(lengths, 1e-12)))
    return cosines
