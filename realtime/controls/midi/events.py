"""Channel messages → which control moved, and how far.

Covers 14-bit pairs, registered and non-registered parameters, notes, pressure and wheels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from realtime.controls.midi.parser import (
    CHANNEL_PRESSURE,
    CONTROL_CHANGE,
    NOTE_OFF,
    NOTE_ON,
    PITCH_BEND,
    POLY_PRESSURE,
    PROGRAM_CHANGE,
    is_channel_message,
)

DATA, DATA_FINE, INCREMENT, DECREMENT, NRPN_FINE, NRPN, RPN_FINE, RPN = 6, 38, 96, 97, 98, 99, 100, 101
PARAMETER_CONTROLLERS = frozenset((DATA, DATA_FINE, INCREMENT, DECREMENT, NRPN_FINE, NRPN, RPN_FINE, RPN))
ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
MODE_MESSAGES = range(120, 128)
NULL_PARAMETER = 127 * 128 + 127  # "null function": data entry means nothing until another parameter is chosen
TOP_7, TOP_14 = 127, 16383


@dataclass(frozen=True)
class MidiEvent:
    """One thing that moved.

    kind : as in the knob map: cc, cc14, nrpn, rpn, pitch_bend, channel_pressure, poly_pressure, program_change, note
    number : which controller, parameter or note; 0 where there is only one
    channel : 0 … 15
    raw : its value as sent, 0 … 127 or 0 … 16383; of a note its velocity, 0 = released
    top : the largest `raw`
    step : +1 or −1 for data increment and decrement, which say how far but not where; else 0
    """

    kind: str
    number: int
    channel: int
    raw: int
    top: int = TOP_7
    step: int = 0

    @property
    def position(self) -> float:
        return fraction(self.raw, self.top)


def fraction(value: int, top: int) -> float:
    """0 … top → 0 … 1, with the controller's middle (64 of 127, 8192 of 16383) at exactly 0.5."""
    middle = (top + 1) // 2
    return 0.5 * value / middle if value <= middle else 0.5 + 0.5 * (value - middle) / (top - middle)


def from_fraction(position: float, top: int) -> int:
    """The value nearest to a position; the inverse of `fraction`."""
    middle = (top + 1) // 2
    return round(position * 2 * middle) if position <= 0.5 else middle + round((position - 0.5) * 2 * (top - middle))


@dataclass
class _Channel:
    """What a channel's earlier messages mean for its later ones."""

    kind: str = "nrpn"  # of the parameter chosen
    parameter: int = NULL_PARAMETER
    # Upper halves of pairs and parameters, by kind and number.
    coarse: dict[tuple[str, int], int] = field(default_factory=dict)
    # Those that have sent lower halves too; the others are read as 7-bit.
    fine: set[tuple[str, int]] = field(default_factory=set)


class MidiDecoder:
    """Messages of any number of ports.

    A controller that never sends the lower half of a pair is read as 7-bit, so that it reaches both ends of its range.
    """

    def __init__(self) -> None:
        self._channels: dict[tuple[str, int], _Channel] = {}

    def decode(self, message: Sequence[int]) -> tuple[MidiEvent, ...]:
        """What a message moved; nothing for anything but one whole channel message.

        A `PortMessage` knows where it came from, so that two controllers on one channel do not mix up their parameters.
        """
        if not is_channel_message(message):
            return ()
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if kind == CONTROL_CHANGE:
            port = getattr(message, "port", "")
            state = self._channels.setdefault((port, channel), _Channel())
            return (MidiEvent("cc", message[1], channel, message[2]), *_control(state, channel, message[1], message[2]))
        if kind in (NOTE_ON, NOTE_OFF):
            return (MidiEvent("note", message[1], channel, message[2] if kind == NOTE_ON else 0),)
        if kind == POLY_PRESSURE:
            return (MidiEvent("poly_pressure", message[1], channel, message[2]),)
        if kind == PITCH_BEND:
            return (MidiEvent("pitch_bend", 0, channel, message[1] + 128 * message[2], TOP_14),)
        name = {PROGRAM_CHANGE: "program_change", CHANNEL_PRESSURE: "channel_pressure"}[kind]
        return (MidiEvent(name, 0, channel, message[1]),)

    def forget(self, port: str) -> None:
        """A port is gone; what comes back under its name may be another device."""
        for key in [key for key in self._channels if key[0] == port]:
            del self._channels[key]


class PortMessage(tuple[int, ...]):
    """A message that knows which port it came from."""

    port = ""

    def __new__(cls, message: Sequence[int], port: str) -> PortMessage:
        made = super().__new__(cls, message)
        made.port = port
        return made


def _control(state: _Channel, channel: int, number: int, value: int) -> tuple[MidiEvent, ...]:
    """What a control change means beside itself."""
    if number in (NRPN, RPN, NRPN_FINE, RPN_FINE):
        kind = "nrpn" if number in (NRPN, NRPN_FINE) else "rpn"
        coarse, fine = divmod(state.parameter if state.kind == kind else NULL_PARAMETER, 128)
        state.kind, state.parameter = kind, 128 * value + fine if number in (NRPN, RPN) else 128 * coarse + value
        return ()
    events = []
    if number in PARAMETER_CONTROLLERS and state.parameter != NULL_PARAMETER:
        key = (state.kind, state.parameter)
        if number in (INCREMENT, DECREMENT):
            events.append(MidiEvent(*key, channel, 0, step=1 if number == INCREMENT else -1))
        else:
            events.append(MidiEvent(*key, channel, *_pair(state, key, number == DATA, value)))
    if number < 64:
        key = ("cc14", number % 32)
        events.append(MidiEvent(*key, channel, *_pair(state, key, number < 32, value)))
    return tuple(events)


def _pair(state: _Channel, key: tuple[str, int], upper: bool, value: int) -> tuple[int, int]:
    """The value of a pair after one half of it came, and its top.

    An upper half clears the lower one (MIDI 1.0 specification).
    """
    if upper:
        state.coarse[key] = value
        return (128 * value, TOP_14) if key in state.fine else (value, TOP_7)
    state.fine.add(key)
    return 128 * state.coarse.get(key, 0) + value, TOP_14
