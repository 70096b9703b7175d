"""What a listener would say of a sound, as numbers: brightness, noisiness, attack, odd/even balance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.features import Amplitudes, FeatureConfig
from training.knobs.decoded_pitch import hz

HARMONICS = 12


def brightness(sounds: Amplitudes, config: FeatureConfig, pitch: np.ndarray) -> Tensor:
    """Spectral centroid of the mean amplitude, in octaves above 1 kHz.  (sounds,)"""
    spectrum = _mean_spectrum(sounds)
    frequency = torch.linspace(0, config.sample_rate / 2, config.bins)
    centroid = (spectrum * frequency).sum(-1) / spectrum.sum(-1).clamp_min(1e-12)
    return torch.log2(centroid.clamp_min(20) / 1000)


def noisiness(sounds: Amplitudes, config: FeatureConfig, pitch: np.ndarray) -> Tensor:
    """Spectral flatness below 8 kHz, geometric over arithmetic mean power, in dB; 0 dB is white.  (sounds,)"""
    top = int(8000 / (config.sample_rate / 2) * (config.bins - 1))
    power = _mean_spectrum(sounds)[:, 1 : max(3, min(top, config.bins))].square() + 1e-12
    return 10 * (power.log10().mean(-1) - power.mean(-1).log10())


def attack(sounds: Amplitudes, config: FeatureConfig, pitch: np.ndarray) -> Tensor:
    """Attack time: from the start to 80 % of the greatest frame level, in octaves of a second.  (sounds,)"""
    level = sounds.amplitude.square().sum(-1).sqrt()
    reached = (level >= 0.8 * level.amax(-1, keepdim=True)).float().argmax(-1) + 1
    return torch.log2(reached * config.hop_samples / config.sample_rate)


def odd_even(sounds: Amplitudes, config: FeatureConfig, pitch: np.ndarray) -> Tensor:
    """Level of the odd harmonics (3, 5, …) over the even ones (2, 4, …), in dB; NaN for unpitched sounds.  (sounds,)"""
    spectrum = _mean_spectrum(sounds).numpy()
    result = np.full(len(spectrum), np.nan)
    bin_hz = config.sample_rate / config.window_samples
    for i in np.flatnonzero(np.isfinite(pitch)):
        f0 = hz(pitch[i])
        levels = [
            _harmonic_power(spectrum[i], k * f0 / bin_hz)
            for k in range(2, HARMONICS + 2)
            if k * f0 < 0.45 * config.sample_rate
        ]
        if len(levels) >= 4 and f0 > 4 * bin_hz:  # below, neighbouring harmonics share a main lobe
            result[i] = 10 * np.log10((sum(levels[1::2]) + 1e-12) / (sum(levels[0::2]) + 1e-12))
    return torch.from_numpy(result).float()


DESCRIPTORS: dict[str, Callable[[Amplitudes, FeatureConfig, np.ndarray], Tensor]] = {
    "brightness": brightness,
    "noisiness": noisiness,
    "attack": attack,
    "odd_even": odd_even,
}
LABELS = {
    "brightness": "brightness: spectral centroid, up is brighter",
    "noisiness": "noisiness: spectral flatness, up is noisier",
    "attack": "attack: rise time, up is slower",
    "odd_even": "odd/even balance: up is hollower",
}


def _mean_spectrum(sounds: Amplitudes) -> Tensor:
    weight = sounds.sounding[..., None].float()
    return (sounds.amplitude * weight).sum(1) / weight.sum(1).clamp_min(1)


def _harmonic_power(spectrum: np.ndarray, position: float) -> float:
    centre = round(position)
    return float(np.square(spectrum[max(0, centre - 1) : centre + 2]).max(initial=0.0))
