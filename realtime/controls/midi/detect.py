"""Which control was touched: the most active one within a moment, and what kind of control it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.controls.midi.events import (
    MODE_MESSAGES,
    NRPN,
    NRPN_FINE,
    PARAMETER_CONTROLLERS,
    RPN,
    RPN_FINE,
    MidiDecoder,
    MidiEvent,
)
from realtime.controls.midi.parser import CONTROL_CHANGE, is_channel_message

SELECTORS = (NRPN_FINE, NRPN, RPN_FINE, RPN)  # say which parameter, never how far
BANK = (0, 32)  # sent before a program change
PRESSURES = ("channel_pressure", "poly_pressure")
SINGLE = ("pitch_bend", "channel_pressure", "program_change")  # a channel has only one


@dataclass(frozen=True)
class Control:
    """A source for the knob map; channel 0 … 15."""

    kind: str
    number: int
    channel: int

    def keys(self) -> dict[str, int | bool]:
        """As keys of a [[knob]]."""
        return {self.kind: True if self.kind in SINGLE else self.number, "channel": self.channel + 1}


class ControlDetector:
    """Counts what moves. A new one for every moment."""

    def __init__(self) -> None:
        self._decoder = MidiDecoder()
        # Distinct values: a controller that only repeats itself was not touched.
        self._values: dict[Control, set[int]] = {}
        # By channel and controller: how often a lower half followed its upper one at once.
        self._pairs: dict[tuple[int, int], int] = {}
        self._released: set[int] = set()  # channels on which a note was struck and let go
        self._before: tuple[int, int] = (0, 0)

    @property
    def anything(self) -> bool:
        return bool(self._values)

    def hear(self, message: Sequence[int]) -> None:
        for event in self._decoder.decode(message):
            if event.kind != "cc14":
                self._count(event)
        if is_channel_message(message) and message[0] & 0xF0 == CONTROL_CHANGE:
            status, number = message[0], message[1]
            if self._before == (status, number - 32):
                key = (status & 0x0F, number - 32)
                self._pairs[key] = self._pairs.get(key, 0) + 1
            self._before = (status, number)

    def winner(self) -> Control | None:
        """The control touched most; None if there was none."""
        scores: dict[Control, int] = {}
        for control, values in self._values.items():
            if not self._is_by_the_way(control):
                control = self._as_pair(control)
                scores[control] = scores.get(control, 0) + len(values)
        return max(scores, key=lambda control: scores[control], default=None)

    def _count(self, event: MidiEvent) -> None:
        if event.kind == "cc" and (event.number in SELECTORS or event.number in MODE_MESSAGES):
            return
        control = Control(event.kind, event.number, event.channel)
        known = control in self._values
        if event.kind == "note" and not event.raw:
            if not known:  # let go of what was pressed before the moment began
                return
            self._released.add(event.channel)
        values = self._values.setdefault(control, set())
        values.add(event.raw if not event.step else -1 - len(values))

    def _is_by_the_way(self, control: Control) -> bool:
        """Whether a control only accompanies the one that is meant.

        Controllers send halves of a parameter, banks before programs, and pressure under a struck pad.
        """
        kinds = {other.kind for other in self._values if other.channel == control.channel}
        if control.kind == "cc" and control.number in PARAMETER_CONTROLLERS:
            return bool(kinds & {"nrpn", "rpn"})
        if control.kind == "cc" and control.number in BANK:
            return "program_change" in kinds
        return control.kind in PRESSURES and control.channel in self._released

    def _as_pair(self, control: Control) -> Control:
        if control.kind != "cc" or control.number >= 64:
            return control
        upper = Control("cc", control.number % 32, control.channel)
        pairs = self._pairs.get((upper.channel, upper.number), 0)
        is_pair = pairs >= 1 and 2 * pairs >= len(self._values.get(upper, ()))
        return Control("cc14", upper.number, upper.channel) if is_pair else control
