"""Spectrogram pictures and sounds of reconstructions and swaps, for the training log."""

from __future__ import annotations

from typing import Any

import librosa
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import TimbreVAE
from training.units import DB_PER_NEPER

GRIFFIN_LIM_ITERATIONS = 32


def log_previews(logger: Any, rows: dict[str, np.ndarray], config: FeatureConfig, step: int) -> None:
    """Write spectrograms, (frames, bins), and their sound to TensorBoard; other loggers get nothing."""
    writer: Any = getattr(logger, "experiment", None)
    if writer is None or not hasattr(writer, "add_figure"):
        return
    writer.add_figure("spectrograms", spectrogram_figure(rows, config), step)
    for name, log_amplitude in rows.items():
        sound = griffin_lim(log_amplitude, config)
        writer.add_audio(
            name.replace(" ", "_"), sound / max(1e-6, float(np.abs(sound).max())), step, config.sample_rate
        )


@torch.no_grad()
def preview(model: TimbreVAE, features: FeatureExtractor, audio: Tensor) -> dict[str, np.ndarray]:
    """Named log-amplitude spectrograms (frames, bins) of two sounds, as they are, reconstructed, and with z^t
    swapped.
    """
    spectra = features(audio)
    z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    swapped = model.decode(z.with_(timbre=z.timbre.flip(0))) if "timbre" in z else None
    return preview_rows(spectra.log_amplitude, model.decode(z), swapped)


def preview_rows(sounds: Tensor, plain: Tensor, swapped: Tensor | None) -> dict[str, np.ndarray]:
    """All (sounds, frames, bins): as they are, reconstructed, and with z^t swapped."""
    rows = {}
    for i in range(len(sounds)):
        rows[f"{i} input"] = sounds[i].cpu().float().numpy()
        rows[f"{i} reconstruction"] = plain[i].cpu().float().numpy()
        if swapped is not None:
            rows[f"{i} timbre of the other"] = swapped[i].cpu().float().numpy()
    return rows


def spectrogram_figure(rows: dict[str, np.ndarray], config: FeatureConfig) -> Figure:
    matplotlib.use("Agg", force=False)
    columns = 3
    figure = Figure(figsize=(4 * columns, 2.8 * -(-len(rows) // columns)), layout="constrained")
    for i, (name, log_amplitude) in enumerate(rows.items()):
        axes = figure.add_subplot(-(-len(rows) // columns), columns, i + 1)
        decibel = log_amplitude.T * DB_PER_NEPER
        top = max(float(row.max()) for row in rows.values()) * DB_PER_NEPER
        extent = spectrogram_extent(len(log_amplitude), config)
        axes.imshow(decibel, origin="lower", aspect="auto", extent=extent, vmin=top - 80, vmax=top, cmap="magma")
        axes.set(title=name, xlabel="s", ylabel="kHz", ylim=(0, 10))
    return figure


def spectrogram_extent(frames: int, config: FeatureConfig) -> tuple[float, float, float, float]:
    """The borders of a picture of so many frames, for matplotlib's `imshow`: s, s, kHz, kHz."""
    return 0.0, frames * config.hop_samples / config.sample_rate, 0.0, config.sample_rate / 2000


def griffin_lim(log_amplitude: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Sound of a log-amplitude spectrogram (frames, bins); offline only. The level is arbitrary."""
    amplitude = np.maximum(np.exp(log_amplitude) - config.log_floor, 0).T
    return librosa.griffinlim(
        amplitude,
        n_iter=GRIFFIN_LIM_ITERATIONS,
        hop_length=config.hop_samples,
        n_fft=config.window_samples,
        window="hann",
        center=False,
        random_state=0,
    )
