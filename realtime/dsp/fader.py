"""A gain that moves in straight lines, from hop to hop, the same whatever the blocks."""

from __future__ import annotations

import numpy as np


class Fader:
    """Goes to each new value within `fade_samples`.

    most : largest block, samples
    """

    def __init__(self, fade_samples: int, most: int, value: float = 0.0) -> None:
        self._samples, self._start = fade_samples, value
        self._line = np.ones(fade_samples + most)
        self._line[:fade_samples] = straight_line(fade_samples)
        self._curve = np.empty(most)
        self.reset(value)

    def reset(self, value: float | None = None) -> None:
        """To that value, or the one it was made with."""
        self._from = self._to = self._start if value is None else value
        self._done = self._samples

    @property
    def silent(self) -> bool:
        """At 0, and not on its way anywhere."""
        return self._to == 0.0 and (self._from == 0.0 or self._done >= self._samples)

    @property
    def open(self) -> bool:
        """At 1, and not on its way anywhere."""
        return self._to == 1.0 and (self._from == 1.0 or self._done >= self._samples)

    def go(self, value: float) -> None:  # audio thread
        """From where it is now."""
        if self._done < self._samples:
            share = float(self._line[self._done - 1]) if self._done else 0.0
            self._from += share * (self._to - self._from)
        else:
            self._from = self._to
        self._to, self._done = value, 0 if value != self._from else self._samples

    def process(self, n: int) -> np.ndarray | float:  # audio thread
        """Gains of the next n samples, (n,), a view overwritten by the next call, or one number for all of them."""
        if self._done >= self._samples:
            return self._to
        curve = np.multiply(self._line[self._done : self._done + n], self._to - self._from, out=self._curve[:n])
        curve += self._from
        self._done = min(self._samples, self._done + n)
        return curve


def straight_line(samples: int) -> np.ndarray:
    """(samples,), float64: from just above 0 to 1."""
    return np.arange(1, samples + 1) / samples
