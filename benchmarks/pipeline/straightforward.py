"""The input pipeline as one would write it with librosa, sound by sound: what ours is measured against."""

from __future__ import annotations

import librosa
import numpy as np

from training.features import FeatureConfig
from training.perturb import Rng, distort_timbre


def straightforward(
    audio: np.ndarray, features: FeatureConfig, semitones: float, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One example as one would write it with librosa: log-amplitude, envelope of the shifted and fine structure of the
    distorted sound.

    audio : (samples,);  returns three (frames, bins)
    """
    shifted = librosa.effects.pitch_shift(audio, sr=features.sample_rate, n_steps=semitones)
    distorted = distort_timbre(audio, features.sample_rate, rng)
    clean = log_amplitude(audio, features)
    (envelope, _) = split(shifted, features)
    (_, fine) = split(distorted, features)
    return clean, envelope, fine


def log_amplitude(audio: np.ndarray, features: FeatureConfig) -> np.ndarray:
    """(frames, bins), average amplitude one over the frames that sound, floored, natural logarithm."""
    window = features.window_samples
    padded = np.pad(audio, (window - features.hop_samples, 0))
    amplitude = np.abs(librosa.stft(padded, n_fft=window, hop_length=features.hop_samples, center=False)).T * (
        4 / window
    )
    sounding = 10 * np.log10(np.square(amplitude).sum(-1) / 3 + 1e-20) >= features.silence_dbfs
    level = amplitude[sounding].mean() if sounding.any() else 1.0
    return np.log(amplitude / level + features.log_floor)


def split(audio: np.ndarray, features: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Envelope and fine structure, (frames, bins), by the real cepstrum."""
    log = log_amplitude(audio, features)
    cepstrum = np.fft.irfft(log, features.window_samples)
    cepstrum[:, features.cutoff_quefrency : features.window_samples - features.cutoff_quefrency + 1] = 0
    envelope = np.fft.rfft(cepstrum).real
    return envelope, log - envelope
