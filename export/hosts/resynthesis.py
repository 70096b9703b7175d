"""Sound from decoded spectra, one hop at a time: single pass spectrogram inversion (Beauregard, Harish and Wyse, DAFx
2015).

A decoder gives magnitudes only. Every spectral peak is taken for a partial: its frequency, interpolated between bins,
says how far its phase moves in a hop; the bins around a peak move with it. Phases are those of the frame's middle,
where all bins of a windowed partial agree. The frames are overlapped and added with the dual of the analysis window,
over its middle part only, which costs less latency.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from realtime.bundle import Features

SMALLEST = 1e-9  # amplitude, keeps logarithms finite
HOPS_OVERLAPPED = 4  # at least so many frames make up each sample


class Resynthesis(nn.Module):
    """(amplitude (batch, bins), 1 = a full-scale sine; *states) → (audio (batch, hop_samples), *next states).

    delay_samples : how much later than in the sound that was analysed an event is heard
    """

    window: Tensor
    dual: Tensor
    bin: Tensor
    alternating: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples, hop = features.window_samples, features.hop_samples
        length = min(samples, max(samples // 2, HOPS_OVERLAPPED * hop))
        length -= (samples - length) % 2  # the same number of samples is left out at both ends
        self.samples, self.hop, self.start = samples, hop, (samples - length) // 2
        window = torch.hann_window(samples, dtype=torch.float64)
        self.register_buffer(
            "dual", dual_window(window[self.start : self.start + length], hop).float(), persistent=False
        )
        self.register_buffer("bin", torch.arange(features.bins, dtype=torch.float32), persistent=False)
        self.register_buffer(
            "alternating", 1.0 - 2.0 * (torch.arange(features.bins) % 2), persistent=False
        )  # moves time 0 to the middle
        self.scale = float(window.sum()) / 2
        self.radians = 2 * math.pi * hop / samples  # that a partial at bin 1 moves in a hop
        self.delay_samples = self.start + length - hop
        self.state_shapes = {"phase": (1, features.bins), "overlap": (1, length - hop)}

    def forward(self, amplitude: Tensor, phase: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        owner, place = self._partials(amplitude)
        phase = torch.remainder(phase.gather(1, owner) + self.radians * place.gather(1, owner), 2 * math.pi)
        level = self.scale * amplitude * self.alternating
        frame = torch.fft.irfft(torch.complex(level * torch.cos(phase), level * torch.sin(phase)), self.samples)
        part = frame[:, self.start : self.start + self.dual.shape[0]] * self.dual
        total = nn.functional.pad(overlap, (0, self.hop)) + part
        return total[:, : self.hop], phase, total[:, self.hop :]

    def _partials(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Of every bin: the nearest peak's bin (itself if the frame has none), and where its own maximum lies, in
        bins.
        """
        log = torch.log(amplitude + SMALLEST)
        below, middle, above = log[:, :-2], log[:, 1:-1], log[:, 2:]
        peak = nn.functional.pad((middle > below) & (middle >= above), (1, 1))
        curvature = (2 * middle - below - above).clamp_min(SMALLEST)
        offset = nn.functional.pad((0.5 * (above - below) / curvature).clamp(-0.5, 0.5), (1, 1))
        far = 4.0 * self.bin.shape[0]
        left = torch.cummax(torch.where(peak, self.bin, -far), 1).values
        right = torch.cummin(torch.where(peak, self.bin, far).flip(1), 1).values.flip(1)
        nearest = torch.where(self.bin - left <= right - self.bin, left, right)
        owner = torch.where(nearest.abs() < far, nearest, self.bin)
        return owner.long(), self.bin + offset


def dual_window(window: Tensor, hop: int) -> Tensor:
    """The window that, times `window`, adds up to one at every sample when frames lie `hop` apart.

    window : (samples,), the analysis window, positive but for its ends
    """
    taper = torch.hann_window(len(window) + 1, dtype=window.dtype)[1:]
    product = nn.functional.pad(taper * window, (0, -len(window) % hop))
    total = product.reshape(-1, hop).sum(0)
    return taper / total.repeat(len(product) // hop)[: len(window)]
