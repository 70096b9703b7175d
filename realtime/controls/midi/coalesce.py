"""Floods of MIDI: which messages can be left out without changing where the knobs end up."""

from __future__ import annotations

from collections.abc import Sequence

from realtime.controls.midi.events import MODE_MESSAGES, PARAMETER_CONTROLLERS
from realtime.controls.midi.parser import (
    CHANNEL_PRESSURE,
    CONTROL_CHANGE,
    NOTE_OFF,
    PITCH_BEND,
    POLY_PRESSURE,
    PROGRAM_CHANGE,
)

PEDALS = range(64, 70)  # pressed and let go in one batch is still a press


def coalesced(messages: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Keep only the last value of every controller, wheel and pressure, in the order of these.

    All notes, programs, pedals and parameters stay.
    """
    kept: list[tuple[int, ...]] = []
    later: set[tuple[int, int]] = set()
    for message in reversed(messages):
        key = _what_it_moves(message)
        if key is None or key not in later:
            kept.append(message)
        if key is not None:
            later.add(key)
    return kept[::-1]


def _what_it_moves(message: tuple[int, ...]) -> tuple[int, int] | None:
    """Messages of one key replace each other; None = this one must stay."""
    kind = message[0] & 0xF0
    if kind in (PITCH_BEND, CHANNEL_PRESSURE):
        return message[0], 0
    if kind in (NOTE_OFF, NOTE_OFF + 0x10, PROGRAM_CHANGE):
        return None
    number = message[1]
    must_stay = number in PARAMETER_CONTROLLERS or number in PEDALS or number in MODE_MESSAGES
    return (message[0], number) if kind == POLY_PRESSURE or (kind == CONTROL_CHANGE and not must_stay) else None
