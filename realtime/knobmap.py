"""The knob map: which MIDI controller moves which target, over which range and curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from realtime.controls import KnobBank, KnobError, Target
from realtime.mapfile import Knob, KnobMapError, read_knobs

CONTROL_CHANGE, PROGRAM_CHANGE, PITCH_BEND = 0xB0, 0xC0, 0xE0
EXPONENTIAL_STEEPNESS = 32.0  # the curve's slope at the far end over its slope at the near end


@dataclass(frozen=True)
class Route:
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
        return float(round(value)) if self.whole else value


@dataclass
class KnobMap:
    """Turns MIDI messages into knob values.

    applied, ignored : messages that set a target; mapped messages that could not (a program with no preset).
    """

    routes: tuple[Route, ...]
    fixed: frozenset[str] = frozenset()  # targets that MIDI must not move
    applied: int = 0
    ignored: int = 0
    _fine: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # coarse halves of 14-bit pairs

    def apply(self, message: Sequence[int], bank: KnobBank) -> bool:
        """Let one MIDI message set its targets; anything that is not a mapped message is ignored. True if a target was set."""
        if len(message) < 2 or not all(isinstance(byte, int) and 0 <= byte <= 255 for byte in message):
            return False
        if any(byte > 127 for byte in message[1:]) or len(message) != (2 if message[0] & 0xF0 == PROGRAM_CHANGE else 3):
            return False
        done = [self._set(route, message, bank) for route in self.routes if bank.targets[route.index].name not in self.fixed]
        self.applied += any(done)
        return any(done)

    def sources(self, bank: KnobBank) -> dict[str, str]:
        """For every mapped target, what moves it."""
        found: dict[str, list[str]] = defaultdict(list)
        for route in self.routes:
            found[bank.targets[route.index].name].append(route.knob.source)
        return {name: "; ".join(sources) for name, sources in found.items()}

    def _set(self, route: Route, message: Sequence[int], bank: KnobBank) -> bool:
        kind, channel, knob = message[0] & 0xF0, message[0] & 0x0F, route.knob
        if knob.channel not in (None, channel + 1):
            return False
        if knob.program_change:
            return kind == PROGRAM_CHANGE and self._choose(route, message[1], bank)
        position = self._position(knob, kind, channel, message)
        if position is None:
            return False
        bank.values[route.index] = route.value(position)
        return True

    def _choose(self, route: Route, number: int, bank: KnobBank) -> bool:
        possible = route.low <= number <= route.high
        if possible:
            bank.values[route.index] = number
        else:
            self.ignored += 1
        return possible

    def _position(self, knob: Knob, kind: int, channel: int, message: Sequence[int]) -> float | None:
        if knob.pitch_bend and kind == PITCH_BEND:
            return _fraction(message[1] + 128 * message[2], 16383)
        if kind != CONTROL_CHANGE:
            return None
        if knob.cc == message[1]:
            return _fraction(message[2], 127)
        if knob.cc14 is None or message[1] not in (knob.cc14, knob.cc14 + 32):
            return None
        key = (channel, knob.cc14)
        if message[1] == knob.cc14:  # a coarse value clears the fine one (MIDI 1.0 specification)
            self._fine[key] = message[2]
            return _fraction(128 * message[2], 16383)
        return _fraction(128 * self._fine[key] + message[2], 16383)


def load_map(path: Path | None, bank: KnobBank, fixed: Iterable[str] = ()) -> KnobMap:
    """Read a map for the targets of `bank`; None = the built-in one, of which targets the bundle lacks are left out.

    Raises
    ------
    KnobMapError
        With one sentence: which knob of which file, and what is wrong.
    """
    knobs = read_knobs(path or Path(__file__).with_name("default_map.toml"))
    if path is None:
        knobs = tuple(knob for knob in knobs if knob.target in bank.index)
    return KnobMap(tuple(_route(path, i, knob, bank) for i, knob in enumerate(knobs, 1)), frozenset(fixed))


def _route(path: Path | None, number: int, knob: Knob, bank: KnobBank) -> Route:
    place = f"{path}: knob {number}"
    try:
        target = bank.target(knob.target)
    except KnobError as error:
        raise KnobMapError(f"{place}: {error}") from None
    if knob.program_change and not target.whole:
        raise KnobMapError(f"{place}: program_change can only move a target of whole numbers, such as preset, not {target.name}")
    low = target.low if knob.low is None else knob.low
    high = target.high if knob.high is None else knob.high
    for name, value in (("low", low), ("high", high), ("center", knob.center)):
        if value is not None and not target.low <= value <= target.high:
            raise KnobMapError(f"{place}: {name} = {value:g} is outside {target.low:g} … {target.high:g}, the range of {target.name}")
    return Route(knob, bank.index[target.name], target.whole, low, high, _center(knob, target, low, high))


def _center(knob: Knob, target: Target, low: float, high: float) -> float | None:
    if knob.center is not None:
        return knob.center
    return target.default if min(low, high) < target.default < max(low, high) and not target.whole else None


def _fraction(value: int, top: int) -> float:
    """0 … top → 0 … 1, with the controller's middle (64 of 127, 8192 of 16383) at exactly 0.5."""
    middle = (top + 1) // 2
    return 0.5 * value / middle if value <= middle else 0.5 + 0.5 * (value - middle) / (top - middle)


def _curved(position: float, curve: str) -> float:
    if curve == "exponential":
        return (EXPONENTIAL_STEEPNESS**position - 1) / (EXPONENTIAL_STEEPNESS - 1)
    return position * position * (3 - 2 * position) if curve == "s" else position


def _between(start: float, end: float, share: float) -> float:
    """Exact at both ends; also beyond rounding never outside them."""
    value = start * (1 - share) + end * share
    return min(max(value, min(start, end)), max(start, end))
