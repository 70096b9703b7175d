"""Figure 3 of Tanaka 2022: the spectrograms of two sounds, as they are, reconstructed, and with each latent taken from
the other.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure as Picture

from training.checkpoint import Checkpoint
from training.data.labels import note_name
from training.data.manifest import SoundSet
from training.decibels import DB_PER_NEPER
from training.evaluation.probes import LatentTable, batches, device_of
from training.evaluation.report import picture
from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import TimbreVAE

APART_SEMITONES = 5
TOP_KHZ = 8.0
SHORTEST = 0.7  # of the longest sounding stretch in the set, so that there is something to see


def choose_pair(sounds: SoundSet, table: LatentTable, seed: int) -> np.ndarray | None:
    """Rows of two long sounds of different families, if there are, and instruments, at least five semitones apart; None
    where there are none.
    """
    usable = np.flatnonzero(np.isfinite(sounds.pitch) & (table.frames >= SHORTEST * table.frames.max()))
    for first in np.random.default_rng(seed).permutation(usable):
        apart = (np.abs(sounds.pitch[usable] - sounds.pitch[first]) >= APART_SEMITONES) & (
            sounds.instrument[usable] != sounds.instrument[first]
        )
        others = usable[apart]
        if len(others):
            elsewhere = others[sounds.family[others] != sounds.family[first]]
            second = np.random.default_rng(seed).choice(elsewhere if len(elsewhere) else others)
            return np.array([first, second])
    return None


@torch.no_grad()
def swapped(model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> dict[str, np.ndarray]:
    """Log-amplitude spectrograms of two sounds, (2, frames, bins), by the name of what was done."""
    _, audio = next(iter(batches(sounds, seconds)))
    spectra = features(audio.to(device_of(model)))
    z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    result = {"original": spectra.log_amplitude, "reconstruction": model.decode(z)}
    result |= {f"{name} of the other": model.decode(z.with_(**{name: value.flip(0)})) for name, value in z.items()}
    return {name: value.cpu().numpy() for name, value in result.items()}


def swap_picture(checkpoint: Checkpoint, sounds: SoundSet, seconds: float) -> Picture:
    """A row per sound, a column per thing done to it; dB over the sound's average amplitude."""
    features = FeatureExtractor(checkpoint.features).to(device_of(checkpoint.model))
    columns = swapped(checkpoint.model, features, sounds, seconds)
    config = checkpoint.features
    top = max(float(value.max()) for value in columns.values()) * DB_PER_NEPER
    bottom = max(float(np.log(config.log_floor)) * DB_PER_NEPER, top - 80)
    figure = picture((3.1 * len(columns), 6))
    axes = figure.subplots(2, len(columns), sharex=True, sharey=True, squeeze=False)
    for column, (name, values) in enumerate(columns.items()):
        for row in range(2):
            image = axes[row, column].imshow(
                values[row].T * DB_PER_NEPER,
                origin="lower",
                aspect="auto",
                extent=_extent(values[row], config),
                vmin=bottom,
                vmax=top,
                cmap="magma",
            )
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("s")
    for row in range(2):
        axes[row, 0].set_ylabel(f"{sounds.instrument[row]} {note_name(float(sounds.pitch[row]))}\nkHz")
    axes[0, 0].set_ylim(0, min(TOP_KHZ, config.sample_rate / 2000))
    figure.colorbar(image, ax=axes, label="dB", pad=0.01)
    return figure


def _extent(values: np.ndarray, config: FeatureConfig) -> tuple[float, float, float, float]:
    return 0.0, values.shape[0] * config.hop_samples / config.sample_rate, 0.0, config.sample_rate / 2000
