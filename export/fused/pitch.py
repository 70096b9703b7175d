"""`realtime.dsp.pitch.PitchTracker` as a pure step. It keeps periods in samples, whose median is that of the notes,
upside down.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from export.fused.analysis import State
from export.fused.fourier import signal_of
from realtime.bundle import Features
from realtime.dsp.pitch import A4_HZ, A4_NOTE, MEDIAN_HOPS, NEAR_HIGHEST, VOICED, lag_range, window_shape
from realtime.hop.edits import FIRST_NOTE


class Pitch(nn.Module):
    """(amplitude (batch, bins), listening (batch, 1) bool, state) → (midi_note (batch, 1), period_samples (batch, 1),
    next state).
    """

    shape: Tensor
    lags: Tensor
    rank: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples, self.rate = features.window_samples, features.sample_rate
        self.shortest, self.longest = lag_range(features)
        self._keep("shape", window_shape(samples, self.longest + 2))
        self._keep("lags", np.arange(self.shortest, self.longest + 1))
        self._keep("rank", np.arange(MEDIAN_HOPS))
        self.correlation = signal_of(samples, self.longest + 2, parts_in=1)
        self.state_shapes = {"recent": (1, MEDIAN_HOPS), "heard": (1, 1), "period": (1, 1)}

    def _keep(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)).float(), persistent=False)

    def forward(self, amplitude: Tensor, listening: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        lag, voiced = self._period(amplitude)
        added = listening & voiced
        recent = torch.where(added, torch.cat([state["recent"][:, 1:], lag], 1), state["recent"])
        heard = torch.where(added, torch.clamp(state["heard"] + 1, max=float(MEDIAN_HOPS)), state["heard"])
        longest_first = torch.topk(recent, MEDIAN_HOPS, dim=1).values  # what is not there yet is 0, and so comes last
        median = torch.where(self.rank == torch.floor(heard / 2), longest_first, 0.0).sum(1, keepdim=True)
        period = torch.where(listening, torch.where(voiced, median, 0.0), state["period"])
        note = A4_NOTE + 12 / math.log(2) * torch.log(self.rate / A4_HZ / torch.clamp(median, min=1.0))
        return torch.where(heard > 0, note, FIRST_NOTE), period, {"recent": recent, "heard": heard, "period": period}

    def _period(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """The period in samples, and whether there is one, (batch, 1)."""
        correlation = self.correlation(amplitude * amplitude)
        curve = correlation / (self.shape * correlation[:, :1])
        inner = curve[:, self.shortest : self.longest + 1]
        peaks = (inner > curve[:, self.shortest - 1 : self.longest]) & (
            inner >= curve[:, self.shortest + 1 : self.longest + 2]
        )
        heights = torch.where(peaks, inner, -2.0)
        highest = heights.amax(1, keepdim=True)
        voiced = highest >= VOICED  # false too where the frame is silent and the curve not a number
        near = torch.where(heights >= NEAR_HIGHEST * highest, self.lags, float(self.longest))
        peak = near.amin(1, keepdim=True)
        at = peak.long()
        before, here, after = (torch.gather(curve, 1, at + i) for i in (-1, 0, 1))
        bend = before - 2 * here + after
        return peak + torch.where(bend < 0, 0.5 * (before - after) / bend, 0.0), voiced
