"""`realtime.outputs.morph` and `realtime.dsp.convolver` as pure steps: decoded spectra become a filter, and sound
passes through filters that fade.

Filters are kept as their distance from doing nothing, so a state of zeros lets the sound pass, and nothing is added to
a sound at rest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.fused.analysis import DelayedFrame, State
from export.fused.fourier import Fourier, signal_of, spectrum_of
from realtime.bundle import Features
from realtime.dsp.fader import straight_line
from realtime.dsp.fourier import fast_length
from realtime.outputs.morph import (
    CORRECTION_PERIODS,
    CORRECTION_QUEFRENCIES,
    EDIT_LOWEST,
    EDIT_PERIODS,
    FULL_EDIT_LOG,
    HIGHEST_LOG,
    LEVEL_LIMIT_LOG,
    LOWEST_LOG,
    causal_fold,
    corrected_quefrencies,
    end_fade,
    level_rate,
)


class Morph(nn.Module):
    """(decoded (batch, 2, bins), DelayedFrame, period (batch, 1), active (batch, 1), state) → (response (batch, taps),
    next state).

    period : samples, 0 if the sound has none;  active : bool, whether the response will be used
    """

    end: Tensor
    correction_place: Tensor
    edit_place: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples, bins = features.window_samples, features.bins
        half, self.taps = samples // 2 + 1, samples // 2
        self.corrected = corrected_quefrencies(features)
        self.padding = half - self.corrected
        self.slowest = level_rate(features)
        fold = causal_fold(samples)[:half]
        self.edit_cepstrum = signal_of(samples, half, parts_in=1)
        self.decoded_cepstrum = signal_of(samples, self.corrected, parts_in=1)
        self.to_gain = Fourier(samples, half, bins, weight=fold)
        self.to_cepstrum = signal_of(samples, half, parts_in=1)
        self.to_phased = Fourier(samples, half, bins, parts_out=2, weight=fold)
        self.to_response = signal_of(samples, self.taps)
        fade = end_fade(self.taps)
        end = np.r_[np.ones(self.taps - len(fade)), fade]
        places = {"end": end, "correction_place": np.arange(self.corrected), "edit_place": np.arange(half)}
        for name, value in places.items():
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        self.state_shapes = {"correction": (1, self.corrected), "power": (1, bins), "count": (1, 1)}

    def forward(
        self, decoded: Tensor, heard: DelayedFrame, period: Tensor, active: Tensor, state: State
    ) -> tuple[Tensor, State]:
        edit = decoded[:, 1] - decoded[:, 0]
        missed = self.decoded_cepstrum(decoded[:, 0]) - heard.cepstrum[:, : self.corrected]
        correction = torch.where(active & heard.sounding, self._cut_correction(missed, period), state["correction"])
        beta = torch.clamp(torch.sqrt((edit * edit).mean(1, keepdim=True)) * (1 / FULL_EDIT_LOG), max=1.0)
        cepstrum = self._cut_edit(self.edit_cepstrum(edit), period)
        cepstrum = cepstrum + nn.functional.pad(correction * beta, (0, self.padding))
        gain = torch.clamp(self.to_gain(cepstrum), LOWEST_LOG, HIGHEST_LOG)
        following = {"correction": correction} | self._follow(heard, state)
        phased = self.to_phased(self.to_cepstrum(gain))  # of the clipped curve; one that was not clipped is what it was
        magnitude = torch.exp(gain)
        spectrum = torch.stack([magnitude * torch.cos(phased[:, 1]), magnitude * torch.sin(phased[:, 1])], 1)
        level = self._level(magnitude, following["power"])
        return level * self.end * self.to_response(spectrum), following

    def _cut_correction(self, cepstrum: Tensor, period: Tensor) -> Tensor:
        """Quefrencies below half a period, within limits.  int(x) > q is x ≥ q + 1."""
        place = self.correction_place
        kept = (period == 0) | (place < CORRECTION_QUEFRENCIES[0]) | (CORRECTION_PERIODS * period >= place + 1)
        return torch.where(kept, cepstrum, 0.0)

    def _cut_edit(self, cepstrum: Tensor, period: Tensor) -> Tensor:
        kept = (period == 0) | (self.edit_place < EDIT_LOWEST) | (EDIT_PERIODS * period >= self.edit_place + 1)
        return torch.where(kept, cepstrum, 0.0)

    def _follow(self, heard: DelayedFrame, state: State) -> State:
        power = heard.amplitude * heard.amplitude
        count = state["count"] + 1
        share = torch.clamp(1 / count, min=self.slowest)
        followed = state["power"] + share * (power / power.sum(1, keepdim=True) - state["power"])
        return {
            "power": torch.where(heard.sounding, followed, state["power"]),
            "count": torch.where(heard.sounding, count, state["count"]),
        }

    def _level(self, magnitude: Tensor, power: Tensor) -> Tensor:
        """Linear, (batch, 1)."""
        dry, wet = power.sum(1, keepdim=True), (power * magnitude * magnitude).sum(1, keepdim=True)
        level = torch.exp(torch.clamp(0.5 * torch.log(dry / wet), -LEVEL_LIMIT_LOG, LEVEL_LIMIT_LOG))
        return torch.where((dry > 0) & (wet > 0), level, 1.0)


class Filters(nn.Module):
    """The filter of this hop fades from the one before it. (dry, the newest hop last; filters) → the hop, filtered.

    A filter is the spectrum of (its response − a single 1), (batch, 2, bins of `samples`); the state holds the old and
    the new one.
    """

    ramp: Tensor

    def __init__(self, taps: int, hop_samples: int) -> None:
        super().__init__()
        self.hop, self.past = hop_samples, taps - 1
        self.samples = fast_length(taps - 1 + hop_samples)
        self.gap = self.samples - hop_samples - self.past
        self.of_response = spectrum_of(self.samples, taps)
        self.of_dry = spectrum_of(self.samples)
        self.to_hop = signal_of(self.samples, hop_samples)
        self.register_buffer("ramp", torch.from_numpy(straight_line(hop_samples)).float(), persistent=False)
        self.state_shapes = {"both": (1, 2, 2, self.samples // 2 + 1)}

    def forward(self, dry: Tensor, state: State) -> Tensor:
        """dry : (batch, past + hop)"""
        filters = state["both"]
        hop, past = dry[:, self.past :], dry[:, : self.past]
        placed = torch.cat(
            [nn.functional.pad(hop, (0, self.gap)), past], 1
        )  # the past wraps round, so that the hop comes first
        spectrum = self.of_dry(placed)[:, None]
        real = spectrum[:, :, 0] * filters[:, :, 0] - spectrum[:, :, 1] * filters[:, :, 1]
        imaginary = spectrum[:, :, 0] * filters[:, :, 1] + spectrum[:, :, 1] * filters[:, :, 0]
        changes = self.to_hop(torch.stack([real, imaginary], 2).reshape(-1, 2, self.samples // 2 + 1)).reshape(
            -1, 2, self.hop
        )
        change = changes[:, 0] + self.ramp * (changes[:, 1] - changes[:, 0])
        return hop + change

    def next(self, response: Tensor, state: State) -> State:
        """response : (batch, taps), less a single 1"""
        return {"both": torch.cat([state["both"][:, 1:], self.of_response(response)[:, None]], 1)}
