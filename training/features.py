"""Sound to spectra: causal frames, level normalisation, logarithm, cepstral split (Tanaka 2022, section IV-A).

The realtime package makes the same frames one hop at a time; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from training.decibels import power_of

P = ParamSpec("P")
R = TypeVar("R")


class RecipeError(Exception):
    """A value a model cannot be made with; the message says which and what is possible."""


@dataclass(frozen=True)
class FeatureConfig:
    """How frames are made. The defaults are the paper's."""

    sample_rate: int = 44100
    window_samples: int = 4096
    hop_samples: int = 441
    log_floor: float = 1e-3  # added to the normalised amplitude before the logarithm
    cutoff_quefrency: int = 100  # samples; below is envelope, from it on fine structure
    normalisation: Literal["sound", "running"] = (
        "sound"  # average level 1 over the sound, or over what was heard so far
    )
    level_seconds: float = 2.0  # time constant of the running level
    silence_dbfs: float = -80.0  # frames below it do not count
    level: Literal["amplitude", "power"] = (
        "amplitude"  # whether the average amplitude is one (Tanaka 2022) or the average power (Tanaka 2021)
    )

    def __post_init__(self) -> None:
        if self.window_samples < 64 or self.window_samples % 2:
            raise RecipeError(f"window_samples={self.window_samples} must be an even number from 64")
        if not 1 <= self.hop_samples <= self.window_samples:
            raise RecipeError(f"hop_samples={self.hop_samples} must lie in 1 … {self.window_samples} (the window)")
        if not 1 <= self.cutoff_quefrency <= self.window_samples // 2:
            raise RecipeError(
                f"cutoff_quefrency={self.cutoff_quefrency} must lie in 1 … {self.window_samples // 2} (half the window)"
            )
        if not (
            self.log_floor > 0
            and self.level_seconds > 0
            and self.silence_dbfs <= 0
            and 4000 <= self.sample_rate <= 192000
        ):
            raise RecipeError(
                "log_floor and level_seconds must be above 0, silence_dbfs at most 0, sample_rate 4000 … 192000 Hz"
            )

    @property
    def bins(self) -> int:
        return self.window_samples // 2 + 1


@dataclass(frozen=True)
class Amplitudes:
    """amplitude : (batch, frames, bins), 1 = a full-scale sine; sounding : (batch, frames), bool."""

    amplitude: Tensor
    sounding: Tensor


@dataclass(frozen=True)
class Spectra:
    """All (batch, frames, bins), natural log of amplitude; sounding : (batch, frames), bool."""

    log_amplitude: Tensor
    envelope: Tensor
    fine: Tensor
    sounding: Tensor


def exact(method: Callable[Concatenate[FeatureExtractor, P], R]) -> Callable[Concatenate[FeatureExtractor, P], R]:
    """The method, untouched by autocast: frames decide what the model can hear, and cost little beside it."""

    @wraps(method)
    def run(self: FeatureExtractor, /, *inputs: P.args, **named: P.kwargs) -> R:
        with torch.autocast(self.window.device.type, enabled=False):
            return method(self, *inputs, **named)

    return run


class FeatureExtractor(nn.Module):
    """Works in the type of its input; float64 in, float64 out. Mixed precision leaves it alone."""

    window: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        analysis, synthesis = cepstral_matrices(config.bins, config.cutoff_quefrency)
        self.register_buffer("window", torch.hann_window(config.window_samples, dtype=torch.float64), persistent=False)
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)

    @exact
    def forward(self, audio: Tensor) -> Spectra:
        """audio : (batch, samples)."""
        amplitudes = self.amplitudes(audio)
        log_amplitude = self.log_amplitude(amplitudes)
        envelope, fine = self.split(log_amplitude)
        return Spectra(log_amplitude, envelope, fine, amplitudes.sounding)

    @exact
    def amplitudes(self, audio: Tensor) -> Amplitudes:
        """Frame n holds the last `window_samples` samples up to and including hop n."""
        config, window = self.config, self.window.to(audio.dtype)
        padded = nn.functional.pad(audio, (config.window_samples - config.hop_samples, 0))
        spectrum = torch.fft.rfft(padded.unfold(-1, config.window_samples, config.hop_samples) * window)
        square = spectrum.real.square().addcmul_(
            spectrum.imag, spectrum.imag
        )  # on a CPU in half the time of torch.stft and abs
        energy = 2 * square.sum(-1) - square[..., 0] - square[..., -1]  # Parseval
        power = energy / (config.window_samples * window.square().sum())
        return Amplitudes(square.sqrt_().mul_(2 / window.sum()), power >= power_of(config.silence_dbfs))

    @exact
    def log_amplitude(self, amplitudes: Amplitudes) -> Tensor:
        """Amplitude over its level (section IV-A: the average is one), floored, in natural logarithm."""
        power = self.config.level == "power"
        mean = (amplitudes.amplitude.square() if power else amplitudes.amplitude).mean(-1)
        average = self._sound_level if self.config.normalisation == "sound" else self._running_level
        level = average(mean, amplitudes.sounding)
        level = level.sqrt() if power else level
        scale = torch.where(level > 0, 1 / level.clamp_min(torch.finfo(level.dtype).tiny), torch.zeros_like(level))
        return (amplitudes.amplitude * scale[..., None]).add_(self.config.log_floor).log_()

    def _sound_level(self, mean: Tensor, sounding: Tensor) -> Tensor:
        weight = sounding.to(mean.dtype)
        level = (mean * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1)
        return level.expand_as(mean)

    def _running_level(self, mean: Tensor, sounding: Tensor) -> Tensor:
        """Mean over the sounding frames so far, forgetting with `level_seconds`; silent frames leave it as it is."""
        slowest = self.config.hop_samples / (self.config.sample_rate * self.config.level_seconds)
        weight = sounding.to(mean.dtype)
        count = weight.cumsum(1)
        plain = min(
            mean.shape[1], max(1, int(1 / slowest))
        )  # so many frames at least are averaged before any is forgotten
        level = (mean * weight)[:, :plain].cumsum(1) / count[:, :plain].clamp_min(1)
        rate = weight * torch.clamp(1 / count.clamp_min(1), min=slowest)
        levels = [level]
        for frame in range(plain, mean.shape[1]):
            level = level[:, -1:] + rate[:, frame, None] * (mean[:, frame, None] - level[:, -1:])
            levels.append(level)
        return torch.cat(levels, 1)

    def linear(self, log_amplitude: Tensor) -> Tensor:
        """The level-normalised amplitude that `log_amplitude` is the floored logarithm of."""
        return (torch.exp(log_amplitude) - self.config.log_floor).clamp_min(0)

    @exact
    def split(self, log_amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Envelope (low quefrencies of the real cepstrum) and fine structure (the rest)."""
        envelope = (log_amplitude @ self.analysis.to(log_amplitude.dtype)) @ self.synthesis.to(log_amplitude.dtype)
        return envelope, log_amplitude - envelope


def cepstral_matrices(bins: int, cutoff: int) -> tuple[Tensor, Tensor]:
    """The real cepstrum's coefficients below `cutoff`, and the envelope made of them, as matrices (float64).

    Two thin products do what an inverse FFT, a lifter and an FFT would, several times faster on batches.

    Returns
    -------
    analysis : (bins, cutoff);  synthesis : (cutoff, bins)
    """
    angle = (
        math.pi
        * torch.outer(torch.arange(bins, dtype=torch.float64), torch.arange(cutoff, dtype=torch.float64))
        / (bins - 1)
    )
    cosine = torch.cos(angle)
    twice = torch.full((bins, 1), 2.0, dtype=torch.float64)  # each inner bin stands for two of the full spectrum
    twice[0] = twice[-1] = 1.0
    mirrored = torch.full((cutoff, 1), 2.0, dtype=torch.float64)  # so does each coefficient, but the first
    mirrored[0] = 1.0
    return twice * cosine / (2 * (bins - 1)), mirrored * cosine.T


def shift_pitch(amplitude: Tensor, semitones: Tensor) -> Tensor:
    """Move every partial by `semitones` without touching time: the frequency axis is stretched.

    A phase vocoder followed by resampling (what librosa does to sound) has the same effect on the magnitudes, at a
    hundred times the price. Bins that would come from beyond the Nyquist frequency are silent.

    amplitude : (batch, frames, bins);  semitones : (batch,)
    """
    bins = amplitude.shape[-1]
    ratio = torch.exp2(-semitones.to(amplitude.dtype) / 12)[:, None]
    source = torch.arange(bins, device=amplitude.device, dtype=amplitude.dtype) * ratio
    below = source.floor().clamp(max=bins - 2)
    weight = (source - below).clamp(max=1)
    inside = (source <= bins - 1).to(amplitude.dtype)
    index = below.long()[:, None].expand(-1, amplitude.shape[1], -1)
    lower, upper = amplitude.gather(-1, index), amplitude.gather(-1, index + 1)
    return lower.lerp_(upper, weight[:, None]).mul_(inside[:, None])
