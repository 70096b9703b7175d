"""What happens when the model is late: it is left out for a while, then tried again."""

from __future__ import annotations

import math

LATE_IN_A_ROW = 4  # hops
FAR_TOO_LATE = 4.0  # a single hop that takes so many times as long as it lasts is enough
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 4.0
STEADY_SECONDS = 2.0  # after this long without a late hop the next pause is short again


class OverloadGuard:
    """Decides, hop by hop, whether the model is asked. Times are counted in hops, so that the clock decides only what
    is late.
    """

    def __init__(self, hop_seconds: float) -> None:
        self._hop_seconds = hop_seconds
        self._first, self._longest = (
            math.ceil(seconds / hop_seconds) for seconds in (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        )
        self._steady = math.ceil(STEADY_SECONDS / hop_seconds)
        self.reset()

    def reset(self) -> None:
        self._left, self._late, self._good, self._pause = 0, 0, 0, self._first

    def pausing(self) -> bool:  # audio thread
        """Whether the next hop goes without the model."""
        return self._left > 0

    def rested(self) -> None:  # audio thread
        """A hop has passed without the model."""
        self._left -= 1

    def took(self, seconds: float) -> None:  # audio thread
        """How long the last hop's step took."""
        if seconds <= self._hop_seconds:
            self._late, self._good = 0, self._good + 1
            if self._good >= self._steady:
                self._pause = self._first
            return
        self._late, self._good = self._late + 1, 0
        if self._late >= LATE_IN_A_ROW or seconds > FAR_TOO_LATE * self._hop_seconds:
            self._left, self._late = self._pause, 0
            self._pause = min(2 * self._pause, self._longest)
