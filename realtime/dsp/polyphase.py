"""Resampling within half a millisecond, a step at a time: a windowed sinc whose phases are tabulated.

The resampler of the analysis hands its samples out in batches of five milliseconds; on the way in and out of the
resynthesis that would double the latency. Positions are counted in whole numbers, so that nothing drifts and a delay is
what it is to the sample.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

HALF_TAPS = 24  # source samples to either side, at the lower of the two rates: 0.54 ms at 44.1 kHz
# −70 dB from 2 kHz above the lower Nyquist frequency, so that nothing aliases up to 2 kHz below it.
KAISER_BETA = 6.8
# so many at most are tabulated as they are; of other ratios the nearest of the second
MOST_PHASES = 1024
USUAL_PHASES = 2048
LARGEST_DENOMINATOR = 10**6


class Polyphase:
    """Output sample k is the source at k · source_rate / target_rate.

    half : source samples needed after that place
    step_ratio : Fraction, source samples from one output sample to the next
    """

    def __init__(self, source_rate: float, target_rate: float, most: int) -> None:
        """most : outputs that are made at a time"""
        self.step_ratio = (Fraction(source_rate) / Fraction(target_rate)).limit_denominator(LARGEST_DENOMINATOR)
        cutoff = min(1.0, target_rate / source_rate)
        self.half = half_of(source_rate, target_rate)
        denominator = self.step_ratio.denominator
        self._phases = denominator if denominator <= MOST_PHASES else USUAL_PHASES
        self._table = _table(self._phases, self.half, cutoff)
        taps = 2 * self.half
        self._ramp = np.arange(most) * self.step_ratio.numerator
        self._lags = np.arange(taps) - self.half + 1
        self._place, self._phase = (np.empty(most, np.int64) for _ in range(2))
        self._index = np.empty((most, taps), np.int64)
        self._near, self._weights = (np.empty((most, taps), np.float32) for _ in range(2))

    def made_of(self, source: int, origin: Fraction | int = 0) -> int:
        """How many outputs, from the first, whose place is `origin`, can be made when `source` samples are there."""
        return max(0, math.ceil((source - self.half - origin) / self.step_ratio))

    def needed_for(self, outputs: int) -> int:
        """Source samples that must be there for so many outputs, from the first, one at least."""
        return int((outputs - 1) * self.step_ratio) + self.half + 1

    def make(self, source: np.ndarray, origin: Fraction, out: np.ndarray) -> None:  # audio thread
        """source : (kept,), float32;  origin : the place of the first output in it;  out : (n,), float32, n ≤ most"""
        n, denominator = len(out), self.step_ratio.denominator
        place, phase, index = self._place[:n], self._phase[:n], self._index[:n]
        np.add(self._ramp[:n], int(origin * denominator), out=place)
        np.remainder(place, denominator, out=phase)
        place //= denominator
        if denominator != self._phases:
            phase *= self._phases
            phase //= denominator
        np.add(place[:, None], self._lags, out=index)
        near, weights = self._near[:n], self._weights[:n]
        np.take(source, index, out=near, mode="clip")
        np.take(self._table, phase, axis=0, out=weights, mode="clip")
        np.einsum("ij,ij->i", near, weights, out=out)


def half_of(source_rate: float, target_rate: float) -> int:
    """Source samples to either side of an output's place."""
    return math.ceil(HALF_TAPS / min(1.0, target_rate / source_rate))


def _table(phases: int, half: int, cutoff: float) -> np.ndarray:
    """(phases, 2 · half), float32: weights of the source samples around a place, for each fraction of a sample."""
    distance = np.arange(phases)[:, None] / phases - (np.arange(2 * half) - half + 1)
    inside = np.sqrt(np.maximum(0.0, 1 - np.square(distance / half)))
    weights = np.sinc(cutoff * distance) * np.i0(KAISER_BETA * inside)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
