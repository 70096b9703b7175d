"""Bytes from a driver, a wire or a file → whole channel messages. No bytes make it raise."""

from __future__ import annotations

from collections.abc import Iterable

NOTE_OFF, NOTE_ON, POLY_PRESSURE, CONTROL_CHANGE, PROGRAM_CHANGE, CHANNEL_PRESSURE, PITCH_BEND = range(0x80, 0xF0, 0x10)
SYSEX, SYSEX_END, REALTIME = 0xF0, 0xF7, 0xF8
SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes of the system messages that have some


class MidiParser:
    """One stream of bytes.

    Running status is followed; realtime bytes (clock, active sensing) may stand anywhere and are skipped, as are system
    exclusive and the other system messages, which end the running status (MIDI 1.0 specification, "Running status" and
    appendix 2).

    skipped : bytes that belong to no message: data without a status, truncated messages, values that are no byte."""

    def __init__(self) -> None:
        self.skipped = 0
        self._status = 0  # 0 = none: data bytes mean nothing
        self._wanted = 0  # data bytes of the message begun
        self._data: list[int] = []

    def feed(self, data: Iterable[int]) -> list[tuple[int, ...]]:
        """The channel messages that these bytes complete: (status, data) or (status, data, data)."""
        messages: list[tuple[int, ...]] = []
        for byte in data:
            if not isinstance(byte, int) or not 0 <= byte <= 255:
                self.skipped += 1
            elif byte < 0x80:
                self._take(byte, messages)
            elif byte < REALTIME:
                self._begin(byte)
        return messages

    def _begin(self, status: int) -> None:
        self.skipped += 1 + len(self._data) if self._data else 0
        self._data = []
        self._status = 0 if status == SYSEX_END else status
        self._wanted = 1 if status & 0xE0 == 0xC0 else 2
        if status > SYSEX:
            self._wanted = SYSTEM_LENGTHS.get(status, 0)

    def _take(self, byte: int, messages: list[tuple[int, ...]]) -> None:
        if self._status == SYSEX:
            return
        if self._status == 0 or self._wanted == 0:
            self.skipped += 1
            return
        self._data.append(byte)
        if len(self._data) == self._wanted:
            if self._status < SYSEX:
                messages.append((self._status, *self._data))
            else:
                self._status = 0
            self._data = []


def is_channel_message(message: object) -> bool:
    """Whether this is exactly one channel message: a status byte and the data bytes it asks for."""
    if not isinstance(message, list | tuple | bytes | bytearray) or not message:
        return False
    if not all(isinstance(byte, int) and 0 <= byte <= 127 for byte in message[1:]):
        return False
    status = message[0]
    return isinstance(status, int) and 0x80 <= status < SYSEX and len(message) == (2 if status & 0xE0 == 0xC0 else 3)
