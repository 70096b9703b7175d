"""The process of one controller of `midi_rig`: a JACK client with a MIDI port each way, told what to do line by
line.
"""

from __future__ import annotations

import json
import signal
import sys
import time

FLOOD_PER_PERIOD = 60  # messages; at 256 frames and 44.1 kHz that is 10,000 a second


class _Client:
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

    def serve(self) -> None:
        print("ready", flush=True)
        for line in sys.stdin:
            name, argument = json.loads(line)
            print(json.dumps(getattr(self, f"_do_{name}")(argument)), flush=True)

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
    _Client(sys.argv[1]).serve()
