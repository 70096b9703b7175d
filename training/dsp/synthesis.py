"""What a harmonic decoder draws, as sound: oscillators with continuous phase and filtered noise, whole sounds at once.

Each frame is scaled so that its A-weighted level is the one asked for: that of the sound that was heard.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from training.models.harmonic import (
    SMALLEST_POWER,
    Control,
    HarmonicVAE,
    Voice,
    a_weighting,
    cosines_at,
    noise_level,
)
from training.models.latents import Latents

MOST_PARTIALS = 400
HIGHEST_SHARE = 0.98  # of half the sample rate, for partials
LOBE_POWER = 1.5  # of a Hann window's main lobe, summed over bins
# The mean of log |noise| lies γ/2 below the log of its root mean square (Rayleigh distribution).
NOISE_LOG = 0.5 * 0.57721566


@torch.no_grad()
def synthesise(
    model: HarmonicVAE, latents: Latents, control: Control, level: Tensor, hop_samples: int, seed: int = 0
) -> np.ndarray:
    """The sound of one analysed sound's latents, edited or not.

    Parameters
    ----------
    latents : of one sound, batch 1
    control : of the same, batch 1
    level : (frames,), linear, the A-weighted level of every frame (`HarmonicVAE.weighted_level` times what the spectra
        were divided by); 0 where nothing was heard yet
    hop_samples : int
    seed : of the noise

    Returns
    -------
    ndarray, (frames · hop_samples,), float64, in step with the sound: amplitudes belong to the middle of their frames
    """
    frames, config, voice = control.f0.shape[1], model.config, model.voice(latents, control)
    partial_hz, amplitude = partials(model, voice, control)
    noise = torch.exp(noise_level(model, voice)[0] + NOISE_LOG).double()
    weight = a_weighting(partial_hz)
    power = LOBE_POWER * (amplitude * weight).square().sum(1) + (noise * model.weighting.double()).square().sum(1)
    scale = (level.double() / power.clamp_min(SMALLEST_POWER).sqrt()).clamp_min(0)
    late = (config.window_samples // 2) / hop_samples  # a frame's middle lies so many hops before its end
    samples = frames * hop_samples
    tones = oscillators(partial_hz.numpy(), (amplitude * scale[:, None]).numpy(), hop_samples, config.sample_rate, late)
    hiss = filtered_noise((noise * scale[:, None]).numpy(), hop_samples, samples, late, seed)
    return tones + hiss


def partials(model: HarmonicVAE, voice: Voice, control: Control) -> tuple[Tensor, Tensor]:
    """Frequencies in Hz and linear amplitudes of one sound's partials, both (frames, partials), float64.

    Partials beyond half the sample rate have amplitude 0.
    """
    config, f0 = model.config, control.f0[0].double()
    nyquist = config.sample_rate / 2
    order = torch.arange(1, min(MOST_PARTIALS, int(nyquist / float(f0.min()))) + 1, dtype=torch.float64)
    frequency = f0[:, None] * order * torch.sqrt(1 + voice.inharmonicity[0].double()[:, None] * order.square())
    cosines = cosines_at(frequency.clamp(max=nyquist), config.envelope_cosines, config.sample_rate)
    log = torch.einsum("tk,kth->th", voice.envelope[0].double(), cosines)
    own = min(len(order), config.offsets)
    log[:, :own] += voice.offsets[0, :, :own].double()
    amplitude = torch.exp(log) * control.voicing[0].double()[:, None]
    return frequency, torch.where(frequency < HIGHEST_SHARE * nyquist, amplitude, 0.0)


def oscillators(
    frequency: np.ndarray, amplitude: np.ndarray, hop_samples: int, sample_rate: float, late_hops: float
) -> np.ndarray:
    """Σ a cos φ, everything interpolated between frames.

    frequency : (frames, partials), Hz, at the end of every hop
    amplitude : (frames, partials), linear, of `late_hops` hops before
    """
    frames, count = frequency.shape
    time, ends = (np.arange(frames * hop_samples) + 0.5) / hop_samples, np.arange(frames) + 1.0
    total = np.zeros(len(time))
    for i in range(count):
        if amplitude[:, i].any():
            phase = 2 * math.pi * np.cumsum(np.interp(time, ends, frequency[:, i])) / sample_rate
            # Phases that differ from partial to partial keep the crest factor low.
            total += np.interp(time, ends - late_hops, amplitude[:, i]) * np.cos(phase + 0.7 * i * i)
    return total


def filtered_noise(spectra: np.ndarray, hop_samples: int, samples: int, late_hops: float, seed: int) -> np.ndarray:
    """Noise whose frames have these root mean square amplitudes.

    spectra : (frames, bins), 1 = a full-scale sine's peak, of `late_hops` hops before the end of each hop
    """
    window = 2 * (spectra.shape[1] - 1)
    step = window // 4
    shape = np.hanning(window + 1)[:-1]
    source = np.random.default_rng(seed).standard_normal(samples + 2 * window)
    total, weight = np.zeros(len(source)), np.zeros(len(source))
    scale = shape.sum() / (2 * math.sqrt(float(shape @ shape)))
    for start in range(0, len(source) - window, step):
        middle = (start - window + window / 2) / hop_samples  # hops into the sound
        row = int(np.clip(round(middle + late_hops) - 1, 0, len(spectra) - 1))
        frame = np.fft.irfft(np.fft.rfft(source[start : start + window] * shape) * spectra[row] * scale, window)
        total[start : start + window] += frame * shape
        weight[start : start + window] += shape * shape
    return (total / np.maximum(weight, 1e-3))[window : window + samples]
