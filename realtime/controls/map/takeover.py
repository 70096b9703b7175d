"""Soft takeover: a controller whose target moved elsewhere does not make the sound jump when it is touched."""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.controls.map.route import KnobRoute

NEAR = 1.0 / 127  # positions closer than a 7-bit controller can tell apart


@dataclass
class ControlState:
    """One controller, its target, and how they stand to each other. Control thread only.

    value : the target's value as this controller left it; if it is another now, the target moved elsewhere. None = not
        touched yet
    position : where the controller stands, from 0 to 1. None = unknown
    place : where the target stands in the controller's terms; differs from `position` while a scaled takeover converges
    channel : 0 … 15, the channel it was last heard on
    down : of a button: held
    held : of keys: the notes held down, (channel, note), the last one sounds
    quiet_until : when feedback may be sent again, in seconds of the sender's clock
    """

    route: KnobRoute
    value: float | None = None
    position: float | None = None
    place: float = 0.0
    channel: int = 0
    down: bool = False
    held: list[tuple[int, int]] = field(default_factory=list)
    quiet_until: float = 0.0

    def moved(self, position: float, present: float) -> float | None:
        """The target's new value after the controller moved to `position`; None while it does not hold its target.

        present : the target's value now
        """
        before, self.position = self.position, position
        kind = self.route.knob.takeover
        if kind == "jump":
            return self.route.value(position)
        holds = self.value is not None and self.value == present
        if kind == "pickup":
            return self.route.value(position) if holds or self._passes(before, position, present) else None
        place = self.place if holds else self.route.position(present)
        if before is None:  # where it came from is unknown, so how far it still can go is too
            self.place, self.value = place, present
            return None
        self.place = _converged(before, position, place)
        return self.route.value(self.place)

    def left_at(self, value: float, position: float | None = None) -> None:
        """The target now has this value by this controller; a motor that follows stands at `position`."""
        self.value = value
        if position is not None:
            self.position = self.place = position

    def _passes(self, before: float | None, position: float, present: float) -> bool:
        place = self.route.position(present)
        if abs(position - place) <= NEAR:
            return True
        return before is not None and (before - place) * (position - place) <= 0


def _converged(before: float, position: float, place: float) -> float:
    """Both reach the end together: the target covers its share of what is left in the direction of the move."""
    if position in (0.0, 1.0):
        return position
    if position >= before:
        room, rest = 1.0 - before, 1.0 - place
    else:
        room, rest = before, place
    step = (position - before) * rest / room if room else 0.0
    return min(max(place + step, 0.0), 1.0)
