"""Where in time the frames of the resynthesis lie, and how they are weighed: everything that follows from window, hop
and latency alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.bundle import Features
from realtime.dsp.fourier import periodic_hann

# of them, which end up to seven eighths of a window after now; transforms of four or eight at once are the fast ones
FRAMES = 8
TRANSFORMS = 40  # of a window, there and back, for a hop: what rounds of agreement may cost
# Share of the window; a longer synthesis gains nothing, since the frame's middle is then played when it is due.
LONGEST_SHARE = 0.5
AGREEMENT = 1e-3  # of the largest sum of squared windows: below it, at the ends of the frames, nothing is lifted


@dataclass(frozen=True)
class Layout:
    """Times are samples at the model's rate, counted from now, the end of the input.

    latency : samples that are still open when they are due, and so the delay from in to out
    step : so many samples are settled at a time
    ends : (frames,), where each frame ends, ascending and evenly spaced; those after now are expected, not known
    window : (bins' window,), periodic Hann
    rounds : of agreement in each step
    weights : (frames, open), float32, of each frame's samples in the sum: the open ones, from −latency to the last
        frame's end
    """

    latency: int
    step: int
    spacing: int
    rounds: int
    ends: np.ndarray
    window: np.ndarray
    weights: np.ndarray

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
    behind = min((latency - 1) // spacing, FRAMES // 2)
    ends = spacing * np.arange(-behind, FRAMES - behind)
    window = periodic_hann(window_samples)
    rounds = max(3, round(TRANSFORMS / len(ends) * step / hop))
    return Layout(latency, step, spacing, rounds, ends, window, _weights(window, ends, spacing, latency))


def _weights(window: np.ndarray, ends: np.ndarray, spacing: int, latency: int) -> np.ndarray:
    """(frames, open): a frame further ahead by `spacing` is expected with half the trust; where all agree, the sum is
    what they agree on.
    """
    weights, squares = (np.zeros((len(ends), latency + int(ends[-1]))) for _ in range(2))
    for row, end in enumerate(ends):
        start = latency + int(end) - len(window)  # of the frame among the open samples
        part = window[max(-start, 0) :] * 2.0 ** -max(end / spacing, 0.0)
        weights[row, max(start, 0) : latency + end] = part
        squares[row, max(start, 0) : latency + end] = part * window[max(-start, 0) :]
    total = squares.sum(0)
    return (weights / np.maximum(total, AGREEMENT * total.max())).astype(np.float32)
