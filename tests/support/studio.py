"""A desk, a map and real MIDI ports, with controllers that a test plugs in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.jack.midi import Controller
from benchmarks.jack.server import wait_until
from realtime.controls.desk import Desk
from realtime.controls.map.feedback import MidiFeedback
from realtime.controls.map.knob_map import KnobMap
from realtime.controls.midi.input import MidiInput
from tests.support.desks import custom, desk_of


def poll_until(midi: MidiInput, condition: Callable[[], Any], what: str) -> Any:
    """Poll until something is so, as the control loop would."""

    def polled() -> Any:
        midi.poll()
        return condition()

    return wait_until(polled, what)


class Studio:
    """A desk, a map, and the loop that a program would have."""

    def __init__(self, folder: Path, text: str, wanted: list[str]) -> None:
        self.desk: Desk = desk_of()
        self.knobs: KnobMap = custom(folder, text, self.desk)
        self.received: list[tuple[int, ...]] = []
        self.said: list[str] = []
        self.midi = MidiInput(wanted, self.receive, self.said.append)
        self.controllers: dict[str, Controller] = {}

    def plug(self, name: str) -> Controller:
        self.controllers[name] = Controller(name)
        times = len(self.opened(name))
        poll_until(self.midi, lambda: len(self.opened(name)) > times, f"{name} to open")
        return self.controllers[name]

    def opened(self, name: str) -> list[str]:
        return [line for line in self.said if line.startswith(f"MIDI input: {name}")]

    def until(self, count: int) -> None:
        poll_until(self.midi, lambda: len(self.received) >= count, f"{count} messages")

    def close(self) -> None:
        self.midi.close()
        for controller in self.controllers.values():
            controller.unplug()

    def receive(self, message: object) -> None:
        self.received.append(tuple(message))  # type: ignore[arg-type]
        self.knobs.apply(message, self.desk)  # type: ignore[arg-type]


def follow(feedback: MidiFeedback, condition: Callable[[], bool], what: str) -> None:
    def polled() -> bool:
        feedback.poll()
        return condition()

    wait_until(polled, what)
