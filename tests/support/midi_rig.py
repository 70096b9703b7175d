"""MIDI controllers without hardware: JACK clients with a way out and a way in, each in a process of its own so that it
can be unplugged.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from realtime.controls.midi.input import MidiInput
from tests.support.jack_server import environment, wait_until
from tests.support.midi_client import FLOOD_PER_PERIOD

CLIENT = Path(__file__).with_name("midi_client.py")


class Controller:
    """One of them: ports NAME:out (what it sends) and NAME:in (what lights its lamps)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready", f"controller {name} did not start"

    def send(self, *messages: Sequence[int]) -> None:
        """In this order, as soon as the server asks; any bytes."""
        self._ask("send", [list(message) for message in messages])

    def heard(self) -> list[list[int]]:
        """What has come in since the last question."""
        return list(self._ask("heard"))

    @property
    def may_be_lost(self) -> int:
        """Messages at most that the server itself lost on the way, because it lost whole periods: a busy machine's
        doing.
        """
        return FLOOD_PER_PERIOD * int(self._ask("lost_periods"))

    def connect(self, source: str, target: str) -> None:
        self._ask("connect", [source, target])

    def unplug(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _ask(self, name: str, argument: Any = None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, argument]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"controller {self.name} died"
        return json.loads(answer)


def poll_until(midi: MidiInput, condition: Callable[[], Any], what: str) -> Any:
    """Poll until something is so, as the control loop would."""

    def polled() -> Any:
        midi.poll()
        return condition()

    return wait_until(polled, what)
