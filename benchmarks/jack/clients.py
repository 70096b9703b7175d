"""python -m benchmarks.jack.clients mic spk keys: JACK clients that play, record and send MIDI to the sample. For
`benchmarks.jack.rig`.

Commands come as JSON lines on standard input, one answer each on standard output. They live in a process of their own
so that neither a dying server nor the measuring program's work disturbs anything.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

SWITCH_SECONDS = 0.0005  # the longest the main thread may hold a callback up


class Clients:
    """Those that are named: `mic` loops a sound, `spk` records its first channel once a sound plays, `ear` only
    listens, `keys` sends MIDI.
    """

    def __init__(self, names: Sequence[str]) -> None:
        import jack

        self._sound = np.zeros(1, np.float32)
        self._start: int | None = (
            None  # server time of the sound's first sample; writer: the callback of `mic`, or of `spk` without it
        )
        self._wanted = False  # writer: the main thread sets, the callback clears
        self._blocks: deque[tuple[int, np.ndarray]] = deque()
        self._messages: deque[bytes] = deque()
        self._timed: deque[tuple[int, bytes]] = deque()
        self._clients = {name: jack.Client(name, no_start_server=True, use_exact_name=True) for name in names}
        for name, client in self._clients.items():
            getattr(self, f"_prepare_{name}")(client)
        for client in self._clients.values():
            client.activate()

    def serve(self) -> None:
        print("ready", flush=True)
        for line in sys.stdin:
            name, argument = json.loads(line)
            print(json.dumps(getattr(self, f"_do_{name}")(argument)), flush=True)

    def _prepare_mic(self, client) -> None:  # type: ignore[no-untyped-def]  # a jack.Client, imported late
        port = client.outports.register("out")

        def sing(frames: int) -> None:
            now = client.last_frame_time
            if self._wanted:
                self._start, self._wanted = now, False
            if self._start is None:
                port.get_array().fill(0)
            else:
                np.take(
                    self._sound,
                    np.arange(now - self._start, now - self._start + frames),
                    mode="wrap",
                    out=port.get_array(),
                )

        client.set_process_callback(sing)

    def _prepare_spk(self, client) -> None:  # type: ignore[no-untyped-def]
        ports = [client.inports.register(f"in{i}") for i in (1, 2)]

        def listen(_frames: int) -> None:
            if self._start is not None:
                self._blocks.append((client.last_frame_time, ports[0].get_array().copy()))

        client.set_process_callback(listen)

    def _prepare_ear(self, client) -> None:  # type: ignore[no-untyped-def]
        client.inports.register("in1")
        client.set_process_callback(lambda _frames: None)

    def _prepare_keys(self, client) -> None:  # type: ignore[no-untyped-def]
        port = client.midi_outports.register("out")

        def press(frames: int) -> None:
            port.clear_buffer()
            while self._messages:
                port.write_midi_event(0, self._messages.popleft())
            passed = client.last_frame_time - self._start if self._start is not None else None
            while self._timed and passed is not None and self._timed[0][0] < passed + frames:
                when, message = self._timed.popleft()
                if when >= passed:  # else the server lost its time
                    port.write_midi_event(when - passed, message)

        client.set_process_callback(press)

    def _do_load(self, path: str) -> None:
        self._start = None
        self._sound = np.load(path)

    def _do_play(self, _argument: None) -> None:
        self._start = None
        self._blocks.clear()
        self._wanted = True
        while self._wanted:
            time.sleep(0.002)

    def _do_midi(self, message: list[int]) -> None:
        self._messages.append(bytes(message))

    def _do_midi_at(self, events: list[tuple[int, list[int]]]) -> None:
        self._start = None
        self._timed = deque((when, bytes(message)) for when, message in events)

    def _do_freewheel(self, on: bool) -> None:
        next(iter(self._clients.values())).set_freewheel(on)

    def _do_period(self, samples: int) -> None:
        next(iter(self._clients.values())).blocksize = samples

    def _do_elapsed(self, _argument: None) -> int:
        start = self._start
        return self._blocks[-1][0] + len(self._blocks[-1][1]) - start if self._blocks and start is not None else 0

    def _do_save(self, path: str) -> None:
        blocks, start = list(self._blocks), self._start or 0
        times = [np.arange(when - start, when - start + len(block)) for when, block in blocks]
        np.savez(path, times=np.concatenate(times), samples=np.concatenate([block for _, block in blocks]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that measures; this one ends with it
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    Clients(sys.argv[1:]).serve()
