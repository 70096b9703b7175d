"""How well the latents separate, and how much each of them does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from training.data.manifest import SoundSet, SoundStore
from training.features import FeatureExtractor
from training.models.perturbation import LATENTS, Latents, PerturbationVAE

K = 5


@dataclass(frozen=True)
class LatentTable:
    """Posterior means of many sounds; variation and pitch averaged over the frames that count. All (sounds, D)."""

    timbre: np.ndarray
    variation: np.ndarray
    pitch: np.ndarray
    mse: float  # of the reconstruction, log-amplitude, per bin


def batches(sounds: SoundSet, seconds: float, size: int = 32) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows and their sound (batch, samples) from the onset, zero-padded to `seconds`."""
    store, samples = SoundStore(sounds), round(seconds * sounds.sample_rate)
    for start in range(0, len(sounds), size):
        rows = np.arange(start, min(start + size, len(sounds)))
        audio = np.zeros((len(rows), samples), np.float32)
        for i, row in enumerate(rows):
            sound = store.read(int(row), 0, min(samples, int(sounds.length[row])))
            audio[i, : len(sound)] = sound
        yield rows, torch.from_numpy(audio)


@torch.no_grad()
def encode_all(model: PerturbationVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> LatentTable:
    """Encode every sound, unperturbed, and measure the reconstruction."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in LATENTS}
    error, frames = 0.0, 0
    for _, audio in batches(sounds, seconds):
        spectra = features(audio)
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        weight = spectra.sounding[..., None].float()
        total = weight.sum(1).clamp_min(1)
        columns["timbre"].append(z.timbre.numpy())
        columns["variation"].append(((z.variation * weight).sum(1) / total).numpy())
        columns["pitch"].append(((z.pitch * weight).sum(1) / total).numpy())
        squared = (model.decode(z) - spectra.log_amplitude).square().mean(-1)
        error += float((squared * weight[..., 0]).sum())
        frames += int(spectra.sounding.sum())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return LatentTable(**joined, mse=error / max(1, frames))


def knn_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of a 5-nearest-neighbour classifier (Tanaka 2022, section IV-C)."""
    classifier = KNeighborsClassifier(n_neighbors=min(K, len(train))).fit(train, train_labels)
    return float((classifier.predict(test) == test_labels).mean())


def knn_table(train: LatentTable, train_set: SoundSet, test: LatentTable, test_set: SoundSet) -> dict[str, float]:
    """Accuracy for instrument and pitch in each latent space; pitch over the pitched sounds only."""
    result = {}
    pitched_train, pitched_test = train_set.pitch >= 0, test_set.pitch >= 0
    for name in LATENTS:
        a, b = getattr(train, name), getattr(test, name)
        result[f"instrument from {name}"] = knn_accuracy(a, train_set.instrument, b, test_set.instrument)
        result[f"pitch from {name}"] = knn_accuracy(
            a[pitched_train], train_set.pitch[pitched_train].astype(int), b[pitched_test], test_set.pitch[pitched_test].astype(int)
        )
    return result


@torch.no_grad()
def authority(model: PerturbationVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, seed: int = 0) -> dict[str, float]:
    """Mean squared change of the decoded log-spectrum when one latent is swapped with another sound's, over the change when all are.

    Sounds are paired at random within batches; only frames that sound in both partners are compared.
    """
    rng = np.random.default_rng(seed)
    shuffled = sounds.take(rng.permutation(len(sounds)))
    change = dict.fromkeys((*LATENTS, "all"), 0.0)
    for _, audio in batches(shuffled, seconds):
        if len(audio) < 2:
            continue
        spectra = features(audio)
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        other = Latents(z.timbre.roll(1, 0), z.variation.roll(1, 0), z.pitch.roll(1, 0))
        both = (spectra.sounding & spectra.sounding.roll(1, 0)).float()
        plain = model.decode(z)
        for name in change:
            swapped = other if name == "all" else Latents(**{key: getattr(other if key == name else z, key) for key in LATENTS})
            change[name] += float(((model.decode(swapped) - plain).square().mean(-1) * both).sum())
    return {name: change[name] / max(change["all"], 1e-12) for name in LATENTS}
