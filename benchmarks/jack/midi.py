"""MIDI controllers without hardware: JACK clients with an output and an input, each in a process of its own so that it
can be unplugged. `python -m benchmarks.jack.midi NAME` is that process.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.jack.lines import LineProcess, serve

FLOOD_PER_PERIOD = 60  # messages; at 256 frames and 44.1 kHz that is 10,000 a second


class Controller:
    """A controller with the ports NAME:out (what it sends) and NAME:in (what lights its lamps)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = LineProcess(f"controller {name}", ["-m", "benchmarks.jack.midi", name])

    def send(self, *messages: Sequence[int]) -> None:
        """Send these messages, any bytes, in this order, as soon as the server asks."""
        self._process.ask("send", [list(message) for message in messages])

    def heard(self) -> list[list[int]]:
        """What has come in since the last question."""
        return list(self._process.ask("heard"))

    @property
    def may_be_lost(self) -> int:
        """Most messages that the server itself can have lost, because a busy machine cost it whole periods."""
        return FLOOD_PER_PERIOD * int(self._process.ask("lost_periods"))

    def connect(self, source: str, target: str) -> None:
        self._process.ask("connect", [source, target])

    def unplug(self) -> None:
        self._process.close()


class _Client:
    """The JACK client inside the process."""

    def __init__(self, name: str) -> None:
        import jack

        self._client = jack.Client(name, no_start_server=True, use_exact_name=True)
        self._out, self._in = self._client.midi_outports.register("out"), self._client.midi_inports.register("in")
        self._waiting: list[bytes] = []  # written by the main thread, emptied by the callback
        self._heard: list[list[int]] = []
        self._lost_periods = 0
        self._client.set_process_callback(self._process)
        self._client.set_xrun_callback(self._count_lost)
        self._client.activate()

    def answer(self, name: str, argument: Any) -> Any:
        return getattr(self, f"_do_{name}")(argument)

    def _process(self, _frames: int) -> None:
        self._out.clear_buffer()
        for _ in range(min(len(self._waiting), FLOOD_PER_PERIOD)):
            self._out.write_midi_event(0, self._waiting.pop(0))
        for _, data in self._in.incoming_midi_events():
            self._heard.append(list(bytes(data)))

    def _count_lost(self, _delay: float) -> None:
        self._lost_periods += 1

    def _do_lost_periods(self, _argument: None) -> int:
        return self._lost_periods

    def _do_send(self, messages: list[list[int]]) -> None:
        self._waiting += [bytes(message) for message in messages]

    def _do_heard(self, _argument: None) -> list[list[int]]:
        heard, self._heard = self._heard, []
        return heard

    def _do_connect(self, ports: list[str]) -> None:
        for _ in range(100):
            if {port.name for port in self._client.get_ports()} >= set(ports):
                break
            time.sleep(0.02)
        self._client.connect(*ports)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(_Client(sys.argv[1]).answer)
