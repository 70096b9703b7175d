"""MIDI in: ports that come and go while playing, and one that other programs can connect to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import rtmidi

from realtime.controls.midi.coalesce import coalesced
from realtime.controls.midi.events import PortMessage
from realtime.controls.midi.file import file_events
from realtime.controls.midi.parser import NOTE_ON, MidiParser
from realtime.controls.midi.ports import (
    CLIENT_NAME,
    QUEUE_MESSAGES,
    MidiError,
    OpenPorts,
    discard,
    fits,
    is_own,
    new_client,
    port_names,
)

__all__ = ["MidiError", "MidiInput", "file_events", "list_outputs", "list_ports"]

RESCAN_SECONDS = 1.0
VIRTUAL_PORT = "in"
# Of one port. If more have come, superseded ones are left out, and the rest waits for the next poll.
MESSAGES_PER_POLL = 256
WAITING_MESSAGES = 4096  # beyond it the oldest are dropped


@dataclass
class MidiCounts:
    """What became of the messages so far.

    received : whole messages
    superseded : left out in a flood, because the same controller's next value had arrived already
    dropped : lost in a flood;  skipped_bytes : bytes that made no message
    overflows : times the driver's queue was full, and lost some too
    """

    received: int = 0
    superseded: int = 0
    dropped: int = 0
    skipped_bytes: int = 0
    overflows: int = 0


@dataclass
class _Stream:
    """What one port has sent."""

    parser: MidiParser = field(default_factory=MidiParser)
    waiting: list[tuple[int, ...]] = field(default_factory=list)
    channels: set[int] = field(default_factory=set)  # those with keys pressed since it was opened


class MidiInput:
    """Open inputs, polled from one thread.

    Messages are queued by the driver's thread and fetched by `poll`, because with JACK a Python callback would run
    inside the audio server's own cycle. When the whole server dies nothing tells, so whoever notices (the audio process
    does) calls `reopen`. Clock, active sensing and system exclusive are left out by rtmidi as it is set by default,
    which is what we want.

    wanted : parts of port names; empty = every input there is.
    receive : called with the bytes of each message, a `PortMessage`.
    say : called with one line whenever a port opens or is gone.
    virtual : whether to open a port of our own; then the name that other programs see, None where there is none.
    counts : see `MidiCounts`.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        receive: Callable[[Sequence[int]], object],
        say: Callable[[str], None],
        *,
        virtual: bool = True,
    ) -> None:
        self.counts = MidiCounts()
        self._wanted, self._receive, self._say = tuple(wanted), receive, say
        self._ports = OpenPorts(
            rtmidi.MidiIn, "input", lambda name: not self._wanted or any(fits(part, name) for part in self._wanted)
        )
        self._streams: dict[str, _Stream] = {}
        self.virtual: str | None = None
        self._virtual_wanted = virtual
        self._next_scan = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The ports open now, without our own."""
        return tuple(self._ports.clients)

    def require(self) -> None:
        """Check that every wanted port is there.

        Raises
        ------
        MidiError
            Names the port and what there is.
        """
        present = list_ports()
        for name in self._wanted:
            if not any(fits(name, port) for port in present):
                raise MidiError(f"no MIDI input named {name!r}; there are: {'; '.join(present) or 'none'}")

    def poll(self) -> None:
        """Hand over what has arrived; now and then look for ports that came or went. Call it every few milliseconds."""
        for name, client in self._ports.clients.items():
            self._fetch(name, client)
        if self.virtual is not None and self._ports.watcher is not None:
            self._fetch(self.virtual, self._ports.watcher)
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + RESCAN_SECONDS
            self._scan()

    def reopen(self) -> None:
        """Start anew, after the server died."""
        self.close()
        self._next_scan = 0.0

    def close(self) -> None:
        for name in tuple(self._streams):
            self._end(name)
        self._ports.close()
        self.virtual = None

    def _fetch(self, name: str, client: rtmidi.MidiIn) -> None:
        stream, taken = self._streams.setdefault(name, _Stream()), 0
        while taken < QUEUE_MESSAGES and (event := client.get_message()) is not None:
            taken += 1
            skipped = stream.parser.skipped
            stream.waiting += stream.parser.feed(event[0])
            self.counts.skipped_bytes += stream.parser.skipped - skipped
        if taken >= QUEUE_MESSAGES - 1:  # a ring that holds one less than its size
            self.counts.overflows += 1
        if stream.waiting:
            self._hand_over(name, stream)

    def _hand_over(self, name: str, stream: _Stream) -> None:
        if len(stream.waiting) > MESSAGES_PER_POLL:
            before = len(stream.waiting)
            stream.waiting = coalesced(stream.waiting)
            self.counts.superseded += before - len(stream.waiting)
            excess = max(0, len(stream.waiting) - WAITING_MESSAGES)
            self.counts.dropped += excess
            del stream.waiting[:excess]
        now, stream.waiting = stream.waiting[:MESSAGES_PER_POLL], stream.waiting[MESSAGES_PER_POLL:]
        self.counts.received += len(now)
        for message in now:
            if message[0] & 0xF0 == NOTE_ON:
                stream.channels.add(message[0] & 0x0F)
            self._receive(PortMessage(message, name))

    def _scan(self) -> None:
        changes = self._ports.scan()
        for name in changes.gone:
            self._end(name)
            self._say(f"MIDI input gone: {name}")
        for name in changes.opened:
            self._say(f"MIDI input: {name}")
        if self._virtual_wanted and self.virtual is None and self._ports.watcher is not None:
            self._open_virtual(self._ports.watcher)

    def _open_virtual(self, client: rtmidi.MidiIn) -> None:
        before = _own_outputs()
        try:
            client.open_virtual_port(VIRTUAL_PORT)
        except (rtmidi.RtMidiError, NotImplementedError):
            self._virtual_wanted = False
            self._say(
                "this MIDI system has no virtual ports, so other programs need a loop-back driver (on Windows: "
                "loopMIDI) to reach Neiro"
            )
            return
        found = [name for name in _own_outputs() if name not in before]  # a second Neiro is given another name
        self.virtual = found[0] if len(found) == 1 else f"{CLIENT_NAME}:{VIRTUAL_PORT}"
        self._say(f"MIDI input: {self.virtual}, for other programs to connect to")

    def _end(self, name: str) -> None:
        """Keys held on a port that is gone will never be let go."""
        for channel in self._streams.pop(name, _Stream()).channels:
            self._receive(PortMessage((0xB0 | channel, 123, 0), name))


def list_ports() -> list[str]:
    """Names of the MIDI inputs there are now, without Neiro's own; empty where the machine has no MIDI system."""
    return [name for name in _list(rtmidi.MidiIn) if not is_own(name)]


def list_outputs() -> list[str]:
    """Names of the MIDI outputs there are now, without Neiro's own."""
    return [name for name in _list(rtmidi.MidiOut) if not is_own(name)]


def _own_outputs() -> list[str]:
    """Neiro's own ports, as other programs see them."""
    return [name for name in _list(rtmidi.MidiOut) if is_own(name)]


def _list(direction: type[rtmidi.MidiIn] | type[rtmidi.MidiOut]) -> list[str]:
    client = new_client(direction)
    if client is None:
        return []
    try:
        return port_names(client)
    finally:
        discard(client)
