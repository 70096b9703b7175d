"""python -m benchmarks.jack.clients mic spk keys: JACK clients that play, record and send MIDI, exact to the sample.

`benchmarks.jack.rig.Clients` starts this process. The clients live in it so that neither a dying server nor the work of
the measuring program disturbs anything.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.jack.lines import serve
from benchmarks.jack.server import PATIENCE

SWITCH_SECONDS = 0.0005  # the longest the main thread may hold a callback up


class Clients:
    """The named clients.

    `mic` loops a sound, `duo` has a silent channel and one like the microphone's, `spk` records two channels once a
    sound plays, `ear` only listens, `keys` sends MIDI.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._sound = np.zeros(1, np.float32)
        # Server time of the sound's first sample. Writers: the callback of `mic` or `duo`; the main thread clears it.
        self._start: int | None = None
        self._wanted = False  # writer: the main thread sets, the callback clears
        self._blocks: list[tuple[int, np.ndarray]] = []
        self._messages: deque[bytes] = deque()
        self._timed: deque[tuple[int, bytes]] = deque()
        self._clients: dict[str, Any] = {}
        for name in names:
            self._do_plug(name)

    def answer(self, name: str, argument: Any) -> Any:
        return getattr(self, f"_do_{name}")(argument)

    def _prepare_mic(self, client: Any) -> None:
        port = client.outports.register("out")
        client.set_process_callback(lambda frames: self._sing(client, port, frames))

    def _prepare_duo(self, client: Any) -> None:
        silent, port = (client.outports.register(f"out{i}") for i in (1, 2))

        def sing(frames: int) -> None:
            silent.get_array().fill(0)
            self._sing(client, port, frames)

        client.set_process_callback(sing)

    def _sing(self, client: Any, port: Any, frames: int) -> None:
        now = client.last_frame_time
        if self._wanted:
            self._start, self._wanted = now, False
        block, start = port.get_array(), self._start
        if start is None:
            block.fill(0)
        else:
            np.take(self._sound, np.arange(now - start, now - start + frames), mode="wrap", out=block)

    def _prepare_spk(self, client: Any) -> None:
        ports = [client.inports.register(f"in{i}") for i in (1, 2)]

        def listen(_frames: int) -> None:
            if self._start is not None:
                self._blocks.append((client.last_frame_time, np.stack([port.get_array() for port in ports])))

        client.set_process_callback(listen)

    def _prepare_ear(self, client: Any) -> None:
        client.inports.register("in1")
        client.set_process_callback(lambda _frames: None)

    def _prepare_keys(self, client: Any) -> None:
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

    def _do_plug(self, name: str) -> None:
        import jack

        client = jack.Client(name, no_start_server=True, use_exact_name=True)
        getattr(self, f"_prepare_{name}")(client)
        client.activate()
        self._clients[name] = client

    def _do_unplug(self, name: str) -> None:
        client = self._clients.pop(name)
        client.deactivate()
        client.close()

    def _do_load(self, path: str) -> None:
        self._start = None
        self._sound = np.load(path)

    def _do_play(self, _argument: None) -> None:
        self._start = None
        self._blocks = []
        self._wanted = True
        end = time.monotonic() + PATIENCE / 2
        while self._wanted:
            if time.monotonic() > end:
                raise TimeoutError("the server does not call the microphone")
            time.sleep(0.002)

    def _do_midi(self, message: list[int]) -> None:
        self._messages.append(bytes(message))

    def _do_midi_at(self, events: list[tuple[int, list[int]]]) -> None:
        self._start = None
        self._timed = deque((when, bytes(message)) for when, message in events)

    def _do_freewheel(self, on: bool) -> None:
        self._any_client().set_freewheel(on)

    def _do_period(self, samples: int) -> None:
        self._any_client().blocksize = samples

    def _do_elapsed(self, _argument: None) -> int:
        start, blocks = self._start, self._blocks
        return blocks[-1][0] + blocks[-1][1].shape[1] - start if blocks and start is not None else 0

    def _do_level(self, _argument: None) -> float:
        if not self._blocks:
            return 0.0
        count = self._any_client().samplerate // 10 // self._blocks[-1][1].shape[1] + 1
        recent = self._blocks[-count:]
        return float(np.sqrt(np.mean(np.concatenate([block for _, block in recent], axis=1) ** 2)))

    def _do_save(self, path: str) -> None:
        blocks, start = self._blocks[:], self._start or 0
        times = [np.arange(when - start, when - start + block.shape[1]) for when, block in blocks]
        np.savez(path, times=np.concatenate(times), samples=np.concatenate([block for _, block in blocks], axis=1))

    def _any_client(self) -> Any:
        return next(iter(self._clients.values()))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that measures; this one ends with it
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    serve(Clients(sys.argv[1:]).answer)
