"""Where in time the frames of the resynthesis lie, and how they are weighed: everything that follows from window, hop and latency alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.bundle import Features
from realtime.spectrum import periodic_hann

AHEAD_FRAMES, FRAMES = 5, 8  # at most so many frames end after now, and so many are there in all
TRANSFORMS = 48  # of a window, there and back, for a hop: what rounds of agreement may cost
LONGEST_SHARE = 0.5  # of the window: a longer synthesis has nothing to gain, for then the frame's middle is played when it is due
AGREEMENT = 1e-3  # of the largest sum of squared windows: below it, at the ends of the frames, nothing is lifted


@dataclass(frozen=True)
class Layout:
    """Times are samples at the model's rate, counted from now, the end of the input.

    latency : samples that are still open when they are due, and so the delay from in to out
    step : so many samples are settled at a time
    ends : (frames,), where each frame ends, ascending and evenly spaced; those after now are expected, not known
    window : (bins' window,), periodic Hann
    rounds : of agreement in each step
    weights : (frames, window), float32, of each frame's samples in the sum
    share : (open,), float32, 1 / sum of the squared windows so weighed, over the open samples: from −latency to the last frame's end
    """

    latency: int
    step: int
    spacing: int
    rounds: int
    ends: np.ndarray
    window: np.ndarray
    weights: np.ndarray
    share: np.ndarray

    @property
    def last_end(self) -> int:
        return int(self.ends[-1])

    @property
    def now_frame(self) -> int:
        """Index of the frame that ends now."""
        return int(np.flatnonzero(self.ends == 0)[0])


def layout_of(features: Features, latency_ms: float) -> Layout:
    """The nearest possible to `latency_ms`: a hop's divisors and their multiples, up to half a window."""
    window_samples, hop = features.window_samples, features.hop_samples
    longest = max(1, int(LONGEST_SHARE * window_samples))
    wanted = min(max(1, round(latency_ms * features.sample_rate / 1000)), longest)
    step = max(divisor for divisor in range(1, hop + 1) if hop % divisor == 0 and divisor <= wanted)
    unit = max(divisor for divisor in range(1, step + 1) if step % divisor == 0 and divisor <= max(1, step // 2))
    latency = max(step, min(unit * round(wanted / unit), longest // unit * unit))
    spacing = max(1, window_samples // 8)
    behind = min((latency - 1) // spacing, FRAMES - 1 - AHEAD_FRAMES // 2)
    ahead = min(AHEAD_FRAMES, FRAMES - 1 - behind)
    ends = spacing * np.arange(-behind, ahead + 1)
    window = periodic_hann(window_samples)
    trust = np.exp2(-np.maximum(ends, 0) / spacing)  # each frame further ahead is expected with half the trust
    total = np.zeros(latency + ends[-1])
    for end, weight in zip(ends, trust, strict=True):
        start = latency + end - window_samples  # of the frame among the open samples
        total[max(start, 0) : latency + end] += weight * window[max(-start, 0) :] ** 2
    share = 1 / np.maximum(total, AGREEMENT * total.max())
    weights = trust[:, None] * window
    rounds = max(3, round(TRANSFORMS / len(ends) * step / hop))
    return Layout(latency, step, spacing, rounds, ends, window, weights.astype(np.float32), share.astype(np.float32))
