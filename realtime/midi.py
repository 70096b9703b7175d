"""MIDI in: ports that come and go while playing, and MIDI files as timed events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mido
import rtmidi

RESCAN_SECONDS = 1.0
CLIENT_NAME = "neiro"


class MidiError(Exception):
    """A port or file that cannot be used; the message says what to do."""


def list_ports() -> list[str]:
    """Names of the MIDI inputs there are now; empty where the machine has no MIDI system."""
    with _watcher() as watcher:
        return [] if watcher is None else watcher.get_ports()


class MidiInput:
    """Open inputs, polled from one thread.

    Messages are queued by the driver's thread and fetched by `poll`, because with JACK a Python callback would run inside the audio
    server's own cycle. A port that vanishes raises nothing and still claims to be open, so the list of ports is what counts; when the
    whole server dies even the list stays as it was, so whoever notices (the audio process does) calls `reopen`.

    wanted : parts of port names; empty = every input there is.
    receive : called with the bytes of each message.
    say : called with one line whenever a port opens or is gone.
    """

    def __init__(self, wanted: Sequence[str], receive: Callable[[Sequence[int]], object], say: Callable[[str], None]) -> None:
        self._wanted, self._receive, self._say = tuple(wanted), receive, say
        self._watcher: rtmidi.MidiIn | None = None
        self._open: dict[str, rtmidi.MidiIn] = {}
        self._next_scan = 0.0

    def require(self) -> None:
        """Check that every wanted port is there.

        Raises
        ------
        MidiError
            Names the port and what there is.
        """
        present = list_ports()
        for name in self._wanted:
            if not any(_fits(name, port) for port in present):
                raise MidiError(f"no MIDI input named {name!r}; there are: {'; '.join(present) or 'none'}")

    def poll(self) -> None:
        """Hand over what has arrived; now and then look for ports that came or went. Call it every few milliseconds."""
        for port in self._open.values():
            while (event := port.get_message()) is not None:
                self._receive(event[0])
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + RESCAN_SECONDS
            self._scan()

    def reopen(self) -> None:
        """Start anew, after the server died."""
        self.close()
        self._next_scan = 0.0

    def close(self) -> None:
        for port in (*self._open.values(), self._watcher):
            if port is not None:
                _discard(port)
        self._open, self._watcher = {}, None

    def _scan(self) -> None:
        if self._watcher is None:
            self._watcher = _new_client()
        present = self._watcher.get_ports() if self._watcher is not None else []
        for name in [name for name in self._open if name not in present]:
            _discard(self._open.pop(name))
            self._say(f"MIDI input gone: {name}")
        for number, name in enumerate(present):
            if name not in self._open and (not self._wanted or any(_fits(part, name) for part in self._wanted)):
                self._connect(number, name)

    def _connect(self, number: int, name: str) -> None:
        port = _new_client()
        if port is None:
            return
        try:
            port.open_port(number, name="input")
        except (rtmidi.RtMidiError, ValueError):  # it went between listing and opening, or is taken; the next scan tries again
            _discard(port)
            return
        self._open[name] = port
        self._say(f"MIDI input: {name}")


def file_events(path: Path, sample_rate: float) -> list[tuple[int, list[int]]]:
    """All channel messages of a MIDI file with the sample they fall on, in order; the tempo map is respected.

    Raises
    ------
    MidiError
        Missing, empty, truncated, not a MIDI file, or one without a common time base.
    """
    if not path.is_file():
        raise MidiError(f"no MIDI file at {path}")
    try:
        file = mido.MidiFile(path)
    except EOFError:
        what = "is empty" if path.stat().st_size == 0 else "ends too early (truncated?)"
        raise MidiError(f"{path} {what}; export it again") from None
    except Exception as error:  # mido raises whatever the bytes lead it to
        raise MidiError(f"{path} is not a MIDI file ({' '.join(str(error).split()) or type(error).__name__})") from None
    if file.type == 2 or file.ticks_per_beat <= 0:
        kind = "independent tracks (type 2)" if file.type == 2 else "SMPTE time"
        raise MidiError(f"{path} uses {kind}; save it as type 0 or 1 with ticks per beat")
    events, seconds = [], 0.0
    for message in file:
        seconds += message.time
        if not message.is_meta and message.type != "sysex":
            events.append((round(seconds * sample_rate), message.bytes()))
    return events


def _fits(part: str, port: str) -> bool:
    return part.casefold() in port.casefold()


def _new_client() -> rtmidi.MidiIn | None:
    """A client of the first MIDI system that works here (a system that is compiled in may not be running)."""
    for api in rtmidi.get_compiled_api():
        try:
            return rtmidi.MidiIn(api, name=CLIENT_NAME)
        except rtmidi.RtMidiError:
            continue
    return None


@contextlib.contextmanager
def _watcher() -> Iterator[rtmidi.MidiIn | None]:
    client = _new_client()
    try:
        yield client
    finally:
        if client is not None:
            _discard(client)


def _discard(client: rtmidi.MidiIn) -> None:
    client.close_port()
    client.delete()
