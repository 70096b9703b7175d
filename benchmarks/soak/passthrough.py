"""python -m benchmarks.soak.passthrough MIC SPEAKER: what a stream costs that only copies.

It uses PortAudio with a Python callback, as Neiro does. It answers every JSON line with its counts (see
`benchmarks.jack.lines`) and ends with its standard input.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from typing import Any

import numpy as np

from benchmarks.jack.lines import serve

SWITCH_SECONDS = 0.0005  # as in Neiro's audio process


class PassThrough:
    """The callback, which counts what Neiro's counts."""

    def __init__(self, sample_rate: float) -> None:
        self._sample_seconds = 1 / sample_rate
        self.blocks = self.xruns = self.late_blocks = 0
        self.longest = 0.0  # s, of the callback itself

    def __call__(self, block_in: np.ndarray, block_out: np.ndarray, frames: int, _time: Any, status: Any) -> None:
        started = time.perf_counter()
        if status.input_overflow or status.output_underflow or status.input_underflow or status.output_overflow:
            self.xruns += 1
        block_out[:] = block_in
        self.blocks += 1
        seconds = time.perf_counter() - started
        self.longest = max(self.longest, seconds)
        self.late_blocks += seconds > frames * self._sample_seconds

    def counts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("blocks", "xruns", "late_blocks", "longest")}


def main() -> None:
    import sounddevice

    source, sink = sys.argv[1:3]
    names = {device["name"]: number for number, device in enumerate(sounddevice.query_devices())}
    rate = sounddevice.query_devices(names[source])["default_samplerate"]
    callback = PassThrough(rate)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    stream = sounddevice.Stream(
        device=(names[source], names[sink]),
        samplerate=rate,
        blocksize=0,
        channels=1,
        dtype="float32",
        latency="low",
        callback=callback,
    )
    with stream:
        serve(lambda _name, _argument: callback.counts() | {"active": bool(stream.active)})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
