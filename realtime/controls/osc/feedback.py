"""OSC out: what subscribers are told."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from realtime.controls.desk import Desk
from realtime.controls.osc.packets import Argument, write_bundles, write_message

ROOT = "/neiro/"
FEEDBACK_SECONDS, METER_SECONDS = 0.02, 0.1
Address = tuple[str, int]
Meter = int | float | str | np.number | None


class OscFeedback:
    """Changes and meters for all subscribers, through the server's socket, which never waits.

    subscribers : in the order they came.
    unsent : datagrams that the system did not take.
    """

    def __init__(self, desk: Desk, way_out: socket.socket, clock: Callable[[], float]) -> None:
        self.subscribers: list[Address] = []
        self.unsent = 0
        self._desk, self._socket, self._clock = desk, way_out, clock
        self._changed: dict[int, Address | None] = {}  # who turned it last
        self._next_feedback = self._next_meters = 0.0

    def note(self, index: int, by: Address | None) -> None:
        """A target was turned, by this subscriber or by something else."""
        if self.subscribers:
            self._changed[index] = by

    def poll(self) -> None:
        """Tell what has changed: fifty times a second at most, and always the last value."""
        if not self._changed or self._clock() < self._next_feedback:
            return
        self._next_feedback = self._clock() + FEEDBACK_SECONDS
        changed, self._changed = self._changed, {}
        messages = {i: value_message(self._desk, i) for i in changed}
        for subscriber in self.subscribers:  # none hears itself: two that echo each other never come to rest
            self.send([messages[i] for i, source in changed.items() if source != subscriber], subscriber)

    @property
    def meters_due(self) -> bool:
        return bool(self.subscribers) and self._clock() >= self._next_meters

    def send_meters(self, meters: Mapping[str, Meter]) -> None:
        if not self.meters_due:
            return
        self._next_meters = self._clock() + METER_SECONDS
        told = {name: _argument(value) for name, value in meters.items()}
        messages = [write_message(f"{ROOT}meters/{name}", [value]) for name, value in told.items() if value is not None]
        for subscriber in self.subscribers:
            self.send(messages, subscriber)

    def send(self, messages: Sequence[bytes], client: Address) -> None:
        for datagram in write_bundles(messages):
            try:
                self._socket.sendto(datagram, client)
            except OSError:  # nobody there, or the system's buffer is full
                self.unsent += 1


def _argument(value: Meter) -> Argument | None:
    """Numbers of any kind as OSC's 32-bit ones; None for what is not measured."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    return (
        int(number)
        if number.is_integer() and abs(number) < 2**31 and not isinstance(value, float | np.floating)
        else number
    )


def value_message(desk: Desk, index: int) -> bytes:
    target, value = desk.targets[index], desk.value(index)
    return write_message(f"{ROOT}{paths_of(target.name)[-1]}", [round(value) if target.whole else value])


def paths_of(name: str) -> tuple[str, ...]:
    """How an address may name a target; the last form is the one we send."""
    stem, bracket, rest = name.partition("[")
    if bracket:
        return name, f"{stem}/{rest.removesuffix(']')}"
    return (name, name.replace("snapshot_", "snapshot/")) if name.startswith("snapshot_") else (name,)
