"""The desk: every target that a hand, a MIDI message or an OSC message can turn.

It holds the session's knobs and the targets that only the control side has.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import SLOTS, KnobError, Target

LAST_SNAPSHOT = 127

DESK_TARGETS = (
    Target("snapshot", 0, LAST_SNAPSHOT, 0, "k = recall the k-th snapshot", whole=True),
    Target("snapshot_a", 0, LAST_SNAPSHOT, 0, "where snapshot_morph = 0 leads, 0 = nowhere", whole=True),
    Target("snapshot_b", 0, LAST_SNAPSHOT, 0, "where snapshot_morph = 1 leads, 0 = nowhere", whole=True),
    Target("snapshot_morph", 0.0, 1.0, 0.0, "place between snapshot_a and snapshot_b"),
    Target("snapshot_store", 0, LAST_SNAPSHOT, 0, "k = keep everything as the k-th snapshot", whole=True),
    Target("capture", 0, SLOTS, 0, "k = keep the timbre heard now as the k-th preset of your own", whole=True),
)
Watcher = Callable[[int, float, str], None]


class Desk:
    """All targets by index or name. Used from the control thread only.

    targets : the bank's, in its order, then the desk's own
    index : name → place in `targets`
    fixed : names that controllers must not move
    """

    def __init__(self, bank: KnobBank) -> None:
        self.bank = bank
        self.targets = (*bank.targets, *DESK_TARGETS)
        self.index = {target.name: i for i, target in enumerate(self.targets)}
        self.fixed: set[str] = set()
        self._own = {len(bank.targets) + i: target.default for i, target in enumerate(DESK_TARGETS)}
        self._actions: dict[int, Callable[[float], object]] = {}
        self._watchers: list[Watcher] = []

    def value(self, index: int) -> float:
        own = self._own.get(index)
        return float(self.bank.values[index]) if own is None else own

    def act(self, name: str, action: Callable[[float], object]) -> None:
        """Call `action` with the value whenever one of the desk's own targets is turned."""
        self._actions[self.index[name]] = action

    def watch(self, watcher: Watcher) -> None:
        """Call watcher(index, value, source) after every change, whoever made it."""
        self._watchers.append(watcher)

    def turn(self, index: int, value: float, source: str = "") -> None:
        """From a controller: brought into the target's range, never refused. What is not a number changes nothing.

        source : who turned it, for watchers that must not answer themselves
        """
        if not math.isfinite(value):
            return
        target = self.targets[index]
        value = min(max(value, target.low), target.high)
        value = float(round(value)) if target.whole else value
        if index in self._own:
            self._own[index] = value
            if index in self._actions:
                self._actions[index](value)
        else:
            self.bank.values[index] = value
        for watcher in self._watchers:
            watcher(index, value, source)

    def set(self, name: str, value: float, source: str = "") -> None:
        """By name.

        Raises
        ------
        KnobError
            No such target, or a value outside its range.
        """
        if name in self.index and self.index[name] in self._own:
            target = self.target(name)
            if not target.low <= value <= target.high or (target.whole and value != round(value)):
                kind = "a whole number from " if target.whole else ""
                raise KnobError(f"{name}={value:g} must be {kind}{target.low:g} … {target.high:g} ({target.unit})")
        else:
            self.bank.check(name, value)
        self.turn(self.index[name], value, source)

    def target(self, name: str) -> Target:
        """Raises KnobError for a name that is not there."""
        return self.targets[self.index[name]] if name in self.index else self.bank.target(name)
