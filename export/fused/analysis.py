"""`realtime.dsp.spectrum.FrameAnalyser` as a pure step, and `realtime.dsp.spectrum.FrameDelay`: the newest window
becomes a spectrum, its envelope and its fine structure; models that answer some hops late need the spectrum of so many
hops ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.fused.fourier import Fourier, signal_of, spectrum_of
from realtime.bundle import Features
from realtime.dsp.fourier import bin_weights
from realtime.dsp.spectrum import frame_scale

State = dict[str, Tensor]


@dataclass(frozen=True)
class Frame:
    """amplitude, envelope, fine : (batch, bins);  cepstrum : (batch, cutoff), of the log-amplitude
    sounding : (batch, 1), bool
    """

    amplitude: Tensor
    cepstrum: Tensor
    envelope: Tensor
    fine: Tensor
    sounding: Tensor


class Analysis(nn.Module):
    """(window (batch, window_samples), state) → (frame, next state)."""

    window: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples, cutoff = features.window_samples, features.cutoff_quefrency
        scale = frame_scale(features)
        self.register_buffer("window", torch.from_numpy(scale.window).float(), persistent=False)
        self.scale, self.threshold, self.slowest = scale.amplitude, scale.silence_energy, scale.slowest
        self.floor, self.of_power = features.log_floor, features.level == "power"
        self.spectrum = spectrum_of(samples)
        self.to_cepstrum = signal_of(samples, cutoff, parts_in=1)
        self.smooth = Fourier(samples, cutoff, features.bins, weight=bin_weights(samples)[:cutoff])
        self.state_shapes = {"level": (1, 1), "count": (1, 1)}

    def forward(self, samples: Tensor, state: State) -> tuple[Frame, State]:
        frame = samples * self.window
        sounding = (frame * frame).sum(1, keepdim=True) >= self.threshold
        spectrum = self.spectrum(frame)
        amplitude = self.scale * torch.sqrt((spectrum * spectrum).sum(1))
        mean = (amplitude * amplitude if self.of_power else amplitude).mean(1, keepdim=True)
        count = state["count"] + 1
        followed = state["level"] + torch.clamp(1 / count, min=self.slowest) * (mean - state["level"])
        following = {
            "level": torch.where(sounding, followed, state["level"]),
            "count": torch.where(sounding, count, state["count"]),
        }
        level = torch.sqrt(following["level"]) if self.of_power else following["level"]
        relative = torch.where(following["count"] > 0, amplitude / level, 0.0)
        log_amplitude = torch.log(relative + self.floor)
        cepstrum = self.to_cepstrum(log_amplitude)
        envelope = self.smooth(cepstrum)
        return Frame(amplitude, cepstrum, envelope, log_amplitude - envelope, sounding), following


@dataclass(frozen=True)
class DelayedFrame:
    """What the way out must know of the dry frame: amplitude (batch, bins), cepstrum (batch, cutoff), sounding (batch,
    1), bool.
    """

    amplitude: Tensor
    cepstrum: Tensor
    sounding: Tensor


class FrameDelay(nn.Module):
    """(frame, state) → (what was heard `hops` ago, next state); the state holds the frames since, side by side."""

    def __init__(self, features: Features, hops: int) -> None:
        super().__init__()
        self.hops, self.sizes = hops, [features.bins, features.cutoff_quefrency, 1]
        self.state_shapes = {"frames": (1, hops * sum(self.sizes))} if hops else {}

    def forward(self, frame: Frame, state: State) -> tuple[DelayedFrame, State]:
        if not self.hops:
            return DelayedFrame(frame.amplitude, frame.cepstrum, frame.sounding), {}
        frames = torch.cat(
            [state["frames"], frame.amplitude, frame.cepstrum, frame.sounding.to(frame.amplitude.dtype)], 1
        )
        amplitude, cepstrum, sounding = frames[:, : sum(self.sizes)].split(self.sizes, dim=1)
        return DelayedFrame(amplitude, cepstrum, sounding > 0), {"frames": frames[:, sum(self.sizes) :]}
