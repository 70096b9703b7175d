"""From a controller's position to a target's value and back: ranges, middles and curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from realtime.controls.desk import Desk
from realtime.controls.map.file import CHOOSERS, Knob, KnobMapError
from realtime.knobs.targets import KnobError, Target

EXPONENTIAL_STEEPNESS = 32.0  # the curve's slope at the far end over its slope at the near end


@dataclass(frozen=True)
class KnobRoute:
    """A knob tied to a target of the bundle at hand."""

    knob: Knob
    index: int
    whole: bool
    low: float
    high: float
    center: float | None

    def value(self, position: float) -> float:
        """The target's value at a controller position from 0 to 1; exactly low, center and high at 0, 0.5 and 1."""
        if self.center is None:
            value = _between(self.low, self.high, _curved(position, self.knob.curve))
        else:
            end = self.low if position < 0.5 else self.high
            value = _between(self.center, end, _curved(abs(2 * position - 1), self.knob.curve))
        return float(math.floor(value + 0.5)) if self.whole else value  # not round(): a pedal at 64 of 127 is down

    def position(self, value: float) -> float:
        """Where the controller would have to stand for a value; the inverse of `value`.

        A value outside the range counts as the nearer end.
        """
        center = self.center
        if center is None:
            return _uncurved(_share(self.low, self.high, value), self.knob.curve)
        end = min((self.high, self.low), key=lambda end: _distance(center, end, value))  # center may lie beyond both
        reach = 0.5 * _uncurved(_share(center, end, value), self.knob.curve)
        return 0.5 + reach if end == self.high else 0.5 - reach

    def is_on(self, value: float) -> bool:
        """Of a button: whether it should be lit."""
        if self.knob.value is not None:
            return value == self.knob.value
        return abs(value - self.high) < abs(value - self.low)


def route_for(knob: Knob, desk: Desk, place: str) -> KnobRoute:
    """Tie a knob to its target; `place` begins the sentence where that is impossible.

    Raises
    ------
    KnobMapError
        No such target, or a knob that does not suit it.
    """
    try:
        target = desk.target(knob.target)
    except KnobError as error:
        raise KnobMapError(f"{place}: {error}") from None
    if knob.kind in CHOOSERS and not target.whole:
        raise KnobMapError(
            f"{place}: {knob.kind} can only move a target of whole numbers, such as preset, not {target.name}"
        )
    if knob.kind == "keys" and target.name != "note":
        raise KnobMapError(f'{place}: keys play notes, so their target is "note", not {target.name}')
    index = desk.index[target.name]
    if knob.smoothing is not None and (target.whole or index >= len(desk.bank.targets)):
        raise KnobMapError(f"{place}: {target.name} takes no smoothing, it changes at once")
    low = _resting_end(knob, target) if knob.low is None else knob.low
    high = target.high if knob.high is None else knob.high
    for name, value in (("low", low), ("high", high), ("center", knob.center), ("value", knob.value)):
        if value is not None and not target.low <= value <= target.high:
            raise KnobMapError(
                f"{place}: {name} = {value:g} is outside {target.low:g} … {target.high:g}, the range of {target.name}"
            )
    return KnobRoute(knob, index, target.whole, low, high, _center(knob, target, low, high))


def _resting_end(knob: Knob, target: Target) -> float:
    """A pad let go leaves its target at rest, not at the bottom of its range."""
    return target.default if knob.kind == "note" and target.default != target.high else target.low


def _center(knob: Knob, target: Target, low: float, high: float) -> float | None:
    if knob.center is not None:
        return knob.center
    return target.default if min(low, high) < target.default < max(low, high) and not target.whole else None


def _curved(position: float, curve: str) -> float:
    if curve == "exponential":
        return (EXPONENTIAL_STEEPNESS**position - 1) / (EXPONENTIAL_STEEPNESS - 1)
    return position * position * (3 - 2 * position) if curve == "s" else position


def _uncurved(share: float, curve: str) -> float:
    if curve == "exponential":
        return math.log1p(share * (EXPONENTIAL_STEEPNESS - 1)) / math.log(EXPONENTIAL_STEEPNESS)
    return 0.5 - math.sin(math.asin(1 - 2 * share) / 3) if curve == "s" else share


def _share(start: float, end: float, value: float) -> float:
    return min(max((value - start) / (end - start), 0.0), 1.0) if end != start else 0.0


def _distance(start: float, end: float, value: float) -> float:
    """Of a value from a range; 0 inside."""
    return max(min(start, end) - value, value - max(start, end), 0.0)


def _between(start: float, end: float, share: float) -> float:
    """Exact at both ends; also beyond rounding never outside them."""
    value = start * (1 - share) + end * share
    return min(max(value, min(start, end)), max(start, end))
