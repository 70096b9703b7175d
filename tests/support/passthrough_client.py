"""Two audio processes side by side that note when they were called: a bare pass-through, and the real one. For
comparing late callbacks.

Run as a script this file is either of them: `passthrough_client.py TIMES INPUT OUTPUT` the pass-through,
`passthrough_client.py TIMES REQUEST` the audio process with a clock on its callback. Times go to a memory-mapped file,
because both end by being killed or by os._exit.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MOST_CALLS = 2**20
LATE = 1.5  # periods between two calls


def new_times(path: Path) -> Path:
    """An empty file of call times: [0] counts them, [1 …] are seconds of time.perf_counter."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(1 + MOST_CALLS,)).flush()
    return path


def call_times(path: Path) -> np.ndarray:
    """Of all calls so far, shape (calls,), seconds."""
    times = np.load(path, mmap_mode="r")
    return np.array(times[1 : 1 + int(times[0])])


def late_calls(times: np.ndarray, period_seconds: float) -> int:
    """How often more than one and a half periods lay between two calls."""
    return int(np.count_nonzero(np.diff(times) > LATE * period_seconds))


class PassThrough:
    """A process that hands its input to its output through PortAudio, as little Python as possible."""

    def __init__(self, times: Path, source: str, sink: str, environment: dict[str, str]) -> None:
        self.times = new_times(times)
        command = [sys.executable, __file__, str(times), source, sink]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def timed_audio_process(times: Path) -> list[str]:
    """The program of an audio process that notes its calls; the request is its last argument."""
    return [sys.executable, __file__, str(new_times(times))]


class _Clock:
    def __init__(self, path: str) -> None:
        self._times = np.lib.format.open_memmap(path, mode="r+")
        self._calls = 0

    def tick(self) -> None:  # audio thread
        if self._calls < MOST_CALLS:
            self._calls += 1
            self._times[self._calls] = time.perf_counter()
            self._times[0] = self._calls


def _pass_through(clock: _Clock, source: str, sink: str) -> None:
    import sounddevice

    def callback(block_in: np.ndarray, block_out: np.ndarray, _frames: int, _time: Any, _status: Any) -> None:
        clock.tick()
        block_out[:] = block_in

    with sounddevice.Stream(
        device=(source, sink), channels=(1, 2), dtype="float32", latency="low", blocksize=0, callback=callback
    ):
        while True:
            time.sleep(1)


def _audio_process(clock: _Clock) -> None:
    sys.path.insert(0, str(ROOT))
    from realtime.live import audio_process as stream
    from realtime.live import player
    from realtime.live.callback import Callback

    class Timed(Callback):
        def __call__(self, *arguments: Any) -> None:  # audio thread
            clock.tick()
            super().__call__(*arguments)

    player.Callback = Timed  # type: ignore[misc]
    del sys.argv[1]
    stream.main()


if __name__ == "__main__":
    if len(sys.argv) == 4:
        _pass_through(_Clock(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        _audio_process(_Clock(sys.argv[1]))
