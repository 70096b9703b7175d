"""Sound from decoded spectra, one hop at a time: single pass spectrogram inversion (Beauregard, Harish and Wyse, DAFx
2015).

A decoder gives magnitudes only. Every spectral peak is taken for a partial: its frequency, interpolated between bins,
says how far its phase moves in a hop; the bins around a peak move with it. Phases are those of the frame's middle,
where all bins of a windowed partial agree.

The partials and how far they turn are those of `realtime.outputs.resynth.partials`, of which a test makes sure. From
there on the runtime's resynthesis is another one, for three reasons:

- It hears the input. From there it takes the phases it begins with, attacks, and the level within a frame. A host's
  `decode` gets latents, perhaps of no sound at all, so phases begin at zero and the level is one number per hop.
- It makes frames agree with what was played in several rounds (Griffin and Lim), as many as there is time for, in steps
  shorter than a hop. Here every hop is the same fixed sum of products for any number of sounds at once, which
  TorchScript can trace: one pass, no rounds.
- It plays the newest samples, up to half a window early, which only such rounds make bearable. Here the frames are
  overlapped and added with the dual of the analysis window, over its middle part, which costs more latency.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from realtime.bundle import Features
from realtime.dsp.fourier import periodic_hann
from realtime.dsp.spectrum import frame_scale
from realtime.outputs.resynth.partials import SMALLEST, to_middle, turn_of_bin

HOPS_OVERLAPPED = 4  # at least so many frames make up each sample


class Resynthesis(nn.Module):
    """(amplitude (batch, bins), 1 = a full-scale sine; *states) → (audio (batch, hop_samples), *next states).

    delay_samples : how much later than in the sound that was analysed an event is heard
    """

    window: Tensor
    dual: Tensor
    bin: Tensor
    middle: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples, hop = features.window_samples, features.hop_samples
        length = min(samples, max(samples // 2, HOPS_OVERLAPPED * hop))
        length -= (samples - length) % 2  # the same number of samples is left out at both ends
        self.samples, self.hop, self.start = samples, hop, (samples - length) // 2
        scale = frame_scale(features)
        dual = dual_window(torch.from_numpy(scale.window[self.start : self.start + length]), hop)
        self.register_buffer("dual", dual.float(), persistent=False)
        self.register_buffer("bin", torch.arange(features.bins, dtype=torch.float32), persistent=False)
        self.register_buffer("middle", torch.from_numpy(to_middle(features.bins)).float(), persistent=False)
        self.scale, self.radians = 1 / scale.amplitude, turn_of_bin(samples, hop)
        self.delay_samples = self.start + length - hop
        self.state_shapes = {"phase": (1, features.bins), "overlap": (1, length - hop)}

    def forward(self, amplitude: Tensor, phase: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        magnitude = self.scale * amplitude
        owner, place = self.partials(magnitude)
        phase = torch.remainder(phase.gather(1, owner) + self.radians * place.gather(1, owner), 2 * math.pi)
        level = magnitude * self.middle
        frame = torch.fft.irfft(torch.complex(level * torch.cos(phase), level * torch.sin(phase)), self.samples)
        part = frame[:, self.start : self.start + self.dual.shape[0]] * self.dual
        total = nn.functional.pad(overlap, (0, self.hop)) + part
        return total[:, : self.hop], phase, total[:, self.hop :]

    def partials(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Of every bin: the nearest peak's bin (itself if the frame has none), and where its own maximum lies, in
        bins.
        """
        log = torch.log(magnitude + float(SMALLEST))
        below, middle, above = log[:, :-2], log[:, 1:-1], log[:, 2:]
        peak = nn.functional.pad((middle > below) & (middle >= above), (1, 1))
        curvature = (2 * middle - below - above).clamp_min(float(SMALLEST))
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
    taper = torch.from_numpy(periodic_hann(len(window) + 1)[1:]).to(window.dtype)
    product = nn.functional.pad(taper * window, (0, -len(window) % hop))
    total = product.reshape(-1, hop).sum(0)
    return taper / total.repeat(len(product) // hop)[: len(window)]
