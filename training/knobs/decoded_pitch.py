"""The pitch that is heard in decoded spectra: how well a model plays the note that its latents ask for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import Latents, TimbreVAE, one_per_sound

FINER = 8  # lags per sample: at the highest notes a period has ten samples only
HIGHEST_NOTE = 110.0
VOICED = 0.3  # least peak of the normalised autocorrelation
NEAR_HIGHEST = 0.9  # the first peak so near to the highest one is the period
STEADY_SECONDS = 0.75  # a recurrent decoder has settled by then; the last quarter is listened to
ROWS_AT_ONCE = 128


def window_shape(lags: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """The Hann window's own autocorrelation, 1 at lag 0, with what a transform of one window's length folds back onto
    it.  lags : samples
    """
    away = lags / config.window_samples
    return np.asarray(
        sum((1 - x) * (2 + np.cos(2 * np.pi * x)) / 3 + np.sin(2 * np.pi * x) / (2 * np.pi) for x in (away, 1 - away))
    )


def pitch_of(amplitude: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """MIDI notes of magnitude spectra, (spectra,); NaN where no pitch is found. Periods of more than half a window are
    not looked for.

    Autocorrelation from the power spectrum, corrected for the window's own (Boersma 1993), the first of the highest
    peaks (McLeod and Wyvill 2005).

    amplitude : (spectra, bins), linear
    """
    samples, rate = config.window_samples, config.sample_rate
    curves = np.fft.irfft(np.square(amplitude.astype(np.float64)), samples * FINER)
    longest = samples * FINER // 2
    shape = window_shape(np.arange(longest) / FINER, config)
    curves = curves[:, :longest] / np.maximum(curves[:, :1], 1e-30) / shape
    shortest = int(FINER * rate / hz(HIGHEST_NOTE))
    periods = np.array([_period(curve, shortest) for curve in curves]) / FINER
    return np.asarray(69 + 12 * np.log2(rate / periods / 440))


def hz(midi_note: float) -> float:
    return float(440 * 2 ** ((midi_note - 69) / 12))


def _period(curve: np.ndarray, shortest: int) -> float:
    """The lag of the period in a normalised autocorrelation, in its steps; NaN if there is none."""
    inner = curve[shortest:-1]
    peaks = np.flatnonzero((inner > curve[shortest - 1 : -2]) & (inner >= curve[shortest + 1 :]))
    if not len(peaks) or inner[peaks].max() < VOICED:
        return float("nan")
    peak = int(peaks[np.argmax(inner[peaks] >= NEAR_HIGHEST * inner[peaks].max())]) + shortest
    before, here, after = curve[peak - 1 : peak + 2]
    bend = before - 2 * here + after
    return float(peak + (0.5 * (before - after) / bend if bend < 0 else 0.0))


@torch.no_grad()
def decoded_notes(model: TimbreVAE, features: FeatureExtractor, latents: dict[str, np.ndarray]) -> np.ndarray:
    """MIDI notes of what the decoder gives for constant latents once it is steady, (sounds,); NaN where no pitch is
    found.

    latents : name → (sounds, D), one row per sound to be decoded
    """
    config = features.config
    frames = max(8, round(STEADY_SECONDS * config.sample_rate / config.hop_samples))
    found = []
    for start in range(0, len(latents["pitch"]), ROWS_AT_ONCE):
        rows = {name: torch.from_numpy(value[start : start + ROWS_AT_ONCE]).float() for name, value in latents.items()}
        found.append(pitch_of(steady_amplitude(model, features, rows, frames).numpy(), config))
    return np.concatenate(found)


def steady_amplitude(model: TimbreVAE, features: FeatureExtractor, rows: dict[str, Tensor], frames: int) -> Tensor:
    """What the decoder draws of latents, (sounds, D), held for so many frames: amplitudes, (sounds, bins), mean of the
    last quarter.
    """
    fixed = one_per_sound(model)
    held = {name: value if name in fixed else value[:, None].expand(-1, frames, -1) for name, value in rows.items()}
    decoded = model.decode(Latents(**held))
    return features.linear(decoded[:, 3 * decoded.shape[1] // 4 :]).mean(1)
