"""How well the latents separate, and how much each of them does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from training.data.manifest import SoundSet
from training.data.store import SoundStore
from training.dsp.control import decoder_for
from training.features import FeatureExtractor
from training.models.latents import Latents, TimbreVAE

K = 5
BATCH_SAMPLES = 2_800_000


@dataclass(frozen=True)
class LatentTable:
    """What encoding many sounds gives. `latents` : name → (sounds, D), posterior means, averaged over the frames that
    count.
    """

    latents: dict[str, np.ndarray]
    # (sounds,), of the reconstruction, log-amplitude, per bin, averaged over the frames that count; NaN if not wanted
    squared_error: np.ndarray
    frames: np.ndarray  # (sounds,), how many those are


def batches(sounds: SoundSet, seconds: float) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows and their sound (batch, samples) from the onset, zero-padded to `seconds`; as many at a time as use the
    processor well.
    """
    store, samples = SoundStore(sounds), round(seconds * sounds.sample_rate)
    size = int(np.clip(BATCH_SAMPLES // max(1, samples), 8, 128))
    for start in range(0, len(sounds), size):
        rows = np.arange(start, min(start + size, len(sounds)))
        audio = np.zeros((len(rows), samples), np.float32)
        for i, row in enumerate(rows):
            sound = store.read(int(row), 0, min(samples, int(sounds.length[row])))
            audio[i, : len(sound)] = sound
        yield rows, torch.from_numpy(audio)


@torch.no_grad()
def encode_all(
    model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, *, reconstruct: bool = True
) -> LatentTable:
    """Encode every sound, unperturbed, and measure the reconstruction, which may be left out."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in model.latent_sizes}
    errors, frames = [], []
    device = device_of(model)
    for _, audio in batches(sounds, seconds):
        spectra = features(audio.to(device))
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        for name, value in z.averaged(spectra.sounding).items():
            columns[name].append(value.cpu().numpy())
        counts = spectra.sounding.to(spectra.log_amplitude.dtype)
        if reconstruct:
            decoded = decoder_for(model, features, audio.to(device)).decode(z)
            counts, squared = compared(decoded, spectra.log_amplitude, spectra.sounding)
            errors.append(((squared * counts).sum(1) / counts.sum(1).clamp_min(1)).cpu().numpy())
        else:
            errors.append(np.full(len(audio), np.nan))
        frames.append(counts.sum(1).cpu().numpy())
    latents = {name: np.concatenate(parts) for name, parts in columns.items()}
    return LatentTable(latents, np.concatenate(errors), np.concatenate(frames))


def device_of(model: TimbreVAE) -> torch.device:
    """Where its weights are."""
    return next(iter(model.state_dict().values())).device


def compared(decoded: Tensor, target: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and squared differences per frame, (batch, frames), of the frames that both have."""
    frames = min(decoded.shape[1], target.shape[1])
    return counts[:, :frames].to(target.dtype), (decoded[:, :frames] - target[:, :frames]).square().mean(-1)


def knn_correct(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """Which labels a 5-nearest-neighbour classifier finds (Tanaka 2022, section IV-C).

    train, test : (sounds, D);  labels : (sounds,)

    Returns
    -------
    (test sounds,), bool
    """
    if not len(test):
        return np.zeros(0, bool)
    classifier = KNeighborsClassifier(n_neighbors=min(K, len(train))).fit(train, train_labels)
    return np.asarray(classifier.predict(test) == test_labels)


@torch.no_grad()
def swap_changes(
    model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, seed: int = 0
) -> dict[str, np.ndarray]:
    """Per pair of sounds, (pairs,), the squared change of the decoded log-spectrum when one latent, or "all", are the
    other sound's.

    Sounds are paired at random within batches; only frames that sound in both partners are compared, and summed over.
    """
    rng = np.random.default_rng(seed)
    shuffled = sounds.take(rng.permutation(len(sounds)))
    device = device_of(model)
    changes: dict[str, list[np.ndarray]] = {name: [] for name in (*model.latent_sizes, "all")}
    for _, audio in batches(shuffled, seconds):
        if len(audio) < 2:
            continue
        spectra = features(audio.to(device))
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        other = Latents(**{name: value.roll(1, 0) for name, value in z.items()})
        both = spectra.sounding & spectra.sounding.roll(1, 0)
        decoder = decoder_for(model, features, audio.to(device))
        plain = decoder.decode(z)
        for name, found in changes.items():
            swapped = other if name == "all" else z.with_(**{name: other[name]})
            weight, squared = compared(decoder.decode(swapped), plain, both)
            found.append((squared * weight).sum(1).cpu().numpy())
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in changes.items()}
