"""How a frame's phases move on: the magnitudes alone say which partial each bin belongs to and how fast that turns.

The phase gradient of a Gaussian-like window follows from the logarithm of its magnitudes (Průša and Søndergaard, DAFx
2016, RTPGHI): at a peak the slope in frequency vanishes and its zero, between bins, is the partial's frequency, along
which the phase is integrated in time; from the peak to the bins around it the phase, seen from the frame's middle, is
integrated in frequency, along which it does not change. A heap would visit the bins one after another; here every bin
takes its nearest peak, all at once.
"""

from __future__ import annotations

import numpy as np

SMALLEST = np.float32(1e-12)  # keeps logarithms finite


class PartialAdvance:
    """window_samples : of the frames;  step : samples from one call to the next"""

    def __init__(self, window_samples: int, step: int) -> None:
        bins = window_samples // 2 + 1
        self._bin = np.arange(bins)
        self._radians = np.float32(turn_of_bin(window_samples, step))
        whole = np.exp(2j * np.pi * (self._bin * step % window_samples) / window_samples)
        self._whole = whole.astype(np.complex64)  # what bins turn at their own frequencies
        self._middle = to_middle(bins).astype(np.float32)
        self._log, self._curvature, self._offset = (np.zeros(bins, np.float32) for _ in range(3))
        self._peak, self._rising = np.zeros(bins, bool), np.zeros(bins, bool)
        self._left, self._right, self._gap = (np.zeros(bins, np.int64) for _ in range(3))
        self._turn = np.empty(bins, np.complex64)

    def advance(self, magnitude: np.ndarray, spectrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """magnitude : (bins,), float32, of the frame to come
        spectrum : (bins,), complex64, of the frame a step before;  out : (bins,), complex64

        `out` is of the size of `spectrum`: only its phases count.
        """
        owner = self._owners(magnitude)
        angle = np.multiply(self._offset, self._radians, out=self._curvature)
        self._turn.real = np.cos(angle, out=self._log)
        self._turn.imag = np.sin(angle, out=self._log)
        self._turn *= self._whole
        self._turn *= spectrum
        self._turn *= self._middle
        np.take(self._turn, owner, out=out, mode="clip")
        out *= self._middle

    def _owners(self, magnitude: np.ndarray) -> np.ndarray:  # audio thread
        """(bins,), the nearest peak, itself where there is none; `_offset` becomes how far each peak lies beside its
        bin, in bins.
        """
        log = np.add(magnitude, SMALLEST, out=self._log)
        np.log(log, out=log)
        below, middle, above = log[:-2], log[1:-1], log[2:]
        inner, rising = self._peak[1:-1], self._rising[1:-1]
        np.greater(middle, below, out=inner)
        np.greater_equal(middle, above, out=rising)
        inner &= rising
        curvature, offset = self._curvature[1:-1], self._offset[1:-1]
        np.multiply(middle, 2, out=curvature)
        curvature -= below
        curvature -= above
        np.maximum(curvature, SMALLEST, out=curvature)
        np.subtract(above, below, out=offset)
        offset /= curvature
        offset *= 0.5
        np.clip(offset, -0.5, 0.5, out=offset)
        return self._nearest()

    def _nearest(self) -> np.ndarray:  # audio thread
        left, right, gap, far = self._left, self._right, self._gap, 4 * len(self._bin)
        left[:], right[:] = -far, far
        np.copyto(left, self._bin, where=self._peak)
        np.copyto(right, self._bin, where=self._peak)
        np.maximum.accumulate(left, out=left)
        np.minimum.accumulate(right[::-1], out=right[::-1])
        np.add(left, right, out=gap)  # the left peak is nearer where their middle lies beyond the bin
        gap -= self._bin
        np.less(gap, self._bin, out=self._rising)
        np.copyto(left, right, where=self._rising)
        np.abs(left, out=gap)
        np.greater_equal(gap, far, out=self._rising)
        np.copyto(left, self._bin, where=self._rising)
        return left


def turn_of_bin(window_samples: int, step: int) -> float:
    """Radians that a partial at bin 1 turns in a step; one at bin b, which need not be whole, turns b times as far."""
    return 2 * np.pi * step / window_samples


def to_middle(bins: int) -> np.ndarray:
    """(bins,), 1 and −1 in turn: times a spectrum, this moves its time 0 to the frame's middle and back."""
    return 1.0 - 2.0 * (np.arange(bins) % 2)
