"""A clock for tests that would otherwise depend on how fast the machine is."""

from __future__ import annotations


class EvenClock:
    """Time that passes evenly, by looks at it, so that a budget of minutes is so many steps on any machine."""

    def __init__(self, seconds_a_look: float) -> None:
        self._seconds, self._step = 0.0, seconds_a_look

    def monotonic(self) -> float:
        self._seconds += self._step
        return self._seconds
