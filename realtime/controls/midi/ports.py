"""MIDI ports of the operating system: which there are, and a set of open ones that follows them as they come and go."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import rtmidi

CLIENT_NAME = "neiro"
QUEUE_MESSAGES = 8192  # kept by the driver's thread until we fetch them: 0.8 s of 10,000 messages a second
Client = TypeVar("Client", rtmidi.MidiIn, rtmidi.MidiOut)


class MidiError(Exception):
    """A port or file that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class PortChanges:
    """Names of ports that were opened and that vanished since the last look."""

    opened: tuple[str, ...]
    gone: tuple[str, ...]


class OpenPorts(Generic[Client]):
    """All ports of one direction that `wanted` says yes to, opened as they appear.

    A port that vanishes raises nothing and still claims to be open, so the list of ports is what counts; when the whole
    server dies even the list stays as it was, so whoever notices calls `close`, and the next `scan` starts anew.

    label : what our ends of the connections are called
    """

    def __init__(self, direction: type[Client], label: str, wanted: Callable[[str], bool]) -> None:
        self.clients: dict[str, Client] = {}
        self.watcher: Client | None = None
        self._direction, self._label, self._wanted = direction, label, wanted

    def scan(self) -> PortChanges:
        if self.watcher is None:
            self.watcher = new_client(self._direction)
        present = port_names(self.watcher) if self.watcher is not None else []
        gone = tuple(name for name in self.clients if name not in present)
        for name in gone:
            discard(self.clients.pop(name))
        fresh = [
            (i, name)
            for i, name in enumerate(present)
            if name not in self.clients and not is_own(name) and self._wanted(name)
        ]
        return PortChanges(tuple(name for number, name in fresh if self._connect(number, name)), gone)

    def close(self) -> None:
        for client in (*self.clients.values(), self.watcher):
            if client is not None:
                discard(client)
        self.clients, self.watcher = {}, None

    def _connect(self, number: int, name: str) -> bool:
        client = new_client(self._direction)
        if client is None:
            return False
        try:
            client.open_port(number, name=self._label)
        except (rtmidi.RtMidiError, ValueError):  # gone since the listing, or taken; the next scan tries again
            discard(client)
            return False
        self.clients[name] = client
        return True


def new_client(direction: type[Client]) -> Client | None:
    """A client of the first MIDI system that works here (a system that is compiled in may not be running)."""
    room = {"queue_size_limit": QUEUE_MESSAGES} if direction is rtmidi.MidiIn else {}
    for api in rtmidi.get_compiled_api():
        try:
            return direction(api, name=CLIENT_NAME, **room)
        except rtmidi.RtMidiError:
            continue
    return None


def port_names(client: rtmidi.MidiIn | rtmidi.MidiOut) -> list[str]:
    """Names by port number; of two alike the second is told apart by a number."""
    names: list[str] = []
    for name in client.get_ports():
        alike = sum(other == name or other.startswith(f"{name} #") for other in names)
        names.append(f"{name} #{alike + 1}" if alike else name)
    return names


def is_own(port: str) -> bool:
    """Whether a port is one of Neiro's, which must not be connected to itself.

    A second client of the name gets a number.
    """
    return re.match(rf"{CLIENT_NAME}(-\d+)?(:| |$)", port) is not None


def fits(part: str, port: str) -> bool:
    return part.casefold() in port.casefold()


def discard(client: rtmidi.MidiIn | rtmidi.MidiOut) -> None:
    client.close_port()
    client.delete()
