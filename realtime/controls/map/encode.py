"""A target's value as the messages that show it on a controller: the way back of `midi_events`."""

from __future__ import annotations

from realtime.controls.map.route import KnobRoute
from realtime.controls.midi.events import DATA, DATA_FINE, NRPN, NRPN_FINE, RPN, RPN_FINE, TOP_7, TOP_14, from_fraction
from realtime.controls.midi.parser import (
    CHANNEL_PRESSURE,
    CONTROL_CHANGE,
    NOTE_ON,
    PITCH_BEND,
    POLY_PRESSURE,
    PROGRAM_CHANGE,
)

Message = tuple[int, ...]


def messages_for(route: KnobRoute, value: float, channel: int) -> list[Message]:
    """What tells a controller that its target now has this value; nothing where its source cannot show it.

    channel : 0 … 15
    """
    knob, number = route.knob, route.knob.number
    if knob.kind in ("program_change", "notes"):
        return _choice(route, value, channel)
    if knob.kind == "note" or knob.toggle or knob.value is not None:
        status = NOTE_ON if knob.kind == "note" else CONTROL_CHANGE
        return [(status | channel, number, TOP_7 if route.is_on(value) else 0)]
    fine, coarse = from_fraction(route.position(value), TOP_14), from_fraction(route.position(value), TOP_7)
    control = CONTROL_CHANGE | channel
    if knob.kind == "cc14":
        return [(control, number, fine // 128), (control, number + 32, fine % 128)]
    if knob.kind in ("nrpn", "rpn"):
        upper, lower = (NRPN, NRPN_FINE) if knob.kind == "nrpn" else (RPN, RPN_FINE)
        chosen = [(control, upper, number // 128), (control, lower, number % 128)]
        return [*chosen, (control, DATA, fine // 128), (control, DATA_FINE, fine % 128)]
    if knob.kind == "pitch_bend":
        return [(PITCH_BEND | channel, fine % 128, fine // 128)]
    if knob.kind == "channel_pressure":
        return [(CHANNEL_PRESSURE | channel, coarse)]
    if knob.kind == "poly_pressure":
        return [(POLY_PRESSURE | channel, number, coarse)] if number >= 0 else []
    return [(control, number, coarse)]


def _choice(route: KnobRoute, value: float, channel: int) -> list[Message]:
    first = route.knob.first
    number = round(value) if first is None else round(value) + first - 1
    if not 0 <= number <= TOP_7:
        return []
    return (
        [(PROGRAM_CHANGE | channel, number)]
        if route.knob.kind == "program_change"
        else [(NOTE_ON | channel, number, TOP_7)]
    )
