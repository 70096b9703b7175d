"""Minutes on a JACK server at 128 samples while the other core is busy.

Neiro plays with its knobs being turned, beside a stream that only copies.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jack.lines import LineProcess
from benchmarks.jack.performance import Performance
from benchmarks.jack.rig import Clients
from benchmarks.jack.server import jack_server, start
from benchmarks.soak.hops import material
from benchmarks.soak.memory import private_kib
from benchmarks.soak.peek import SharedMemoryView
from realtime.bundle import Bundle

PERIOD = 128
LOOK_SECONDS = 2.0
TURN_SECONDS = 0.05  # between two messages
CONTROLLERS = tuple(range(20, 32))  # of the built-in map: timbre, mix, gain, the ways out
ALONE_SHARE, ALONE_SECONDS = 0.1, 60.0  # the copying stream is first measured alone for so long, at most
HOP_MS_EDGES = np.geomspace(0.05, 50, 91)  # of the histogram


@dataclass
class PerformanceRecord:
    """What was seen, look by look.

    alone : counts of the copying stream before Neiro started, and the seconds
    neiro, copy : counts in the end;  account : what --json wrote
    seconds, control_kib, audio_kib, late : of each look
    hop_ms : hops by their time, between `HOP_MS_EDGES`
    """

    alone: dict[str, Any] = field(default_factory=dict)
    neiro: dict[str, int] = field(default_factory=dict)
    copy: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    messages: int = 0
    restarts: int = 0
    seconds: list[float] = field(default_factory=list)
    control_kib: list[int] = field(default_factory=list)
    audio_kib: list[int] = field(default_factory=list)
    # Xruns and late blocks, Neiro's and the copying stream's.
    late: list[tuple[int, int, int, int]] = field(default_factory=list)
    hop_ms: list[int] = field(default_factory=lambda: [0] * (len(HOP_MS_EDGES) - 1))


class CopyingStream:
    """`benchmarks.soak.passthrough` in a process of its own."""

    def __init__(self) -> None:
        self._process = LineProcess("the stream that only copies", ["-m", "benchmarks.soak.passthrough", "mic", "ear"])

    def __enter__(self) -> CopyingStream:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.close()

    def counts(self) -> dict[str, Any]:
        return dict(self._process.ask("counts"))


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A loop without end, pinned to the last core, that takes what others there leave."""
    process = start([sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"])
    try:
        pin(process.pid)
        yield
    finally:
        process.kill()
        process.wait()


def pin(pid: int) -> None:
    """To the last core."""
    os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})


def perform(bundle: Bundle, seconds: float, say: Any) -> PerformanceRecord:
    """The stream that copies alone, then Neiro beside it for so many seconds."""
    rate = bundle.manifest.features.sample_rate
    found = PerformanceRecord()
    with (
        tempfile.TemporaryDirectory() as place,
        jack_server(rate, PERIOD),
        Clients(Path(place), ("mic",)) as mic,
        Clients(Path(place), ("ear", "spk", "keys")) as keys,
        CopyingStream() as copying,
    ):
        mic.load(material(rate)[: 19 * rate, 0])  # without the silence: the model is always at work
        mic.play()
        alone = min(ALONE_SHARE * seconds, ALONE_SECONDS)
        before = copying.counts()
        time.sleep(alone)
        found.alone = _since(before, copying.counts()) | {"seconds": alone}
        say(f"a stream that only copies, alone: {found.alone['xruns']} xruns in {alone:.0f} s")
        with Performance(
            Path(place), "--bundle", str(bundle.path.resolve()), "--seconds", str(2 * seconds + 600)
        ) as performance:
            performance.wait_for("MIDI input: keys")
            performance.wait_for("playing ")
            _watch(found, bundle, performance, copying, keys, seconds)
            found.account = performance.end()
    return found


def _watch(
    found: PerformanceRecord,
    bundle: Bundle,
    performance: Performance,
    copying: CopyingStream,
    keys: Clients,
    seconds: float,
) -> None:
    """Turn knobs, look now and then."""
    peek, audio = SharedMemoryView(performance.process.pid, bundle.manifest), performance.audio_process
    time.sleep(1.0)  # starting is not playing
    peek.new_hop_ms()
    ours, theirs = peek.counts(), copying.counts()
    rng, started = np.random.default_rng(0), time.monotonic()
    next_look, hop_ms = started, np.zeros(len(HOP_MS_EDGES) - 1, int)
    while (now := time.monotonic()) < started + seconds:
        _turn(keys, rng)
        found.messages += 1
        if now >= next_look:
            next_look += LOOK_SECONDS
            hop_ms += np.histogram(np.clip(peek.new_hop_ms(), HOP_MS_EDGES[0], HOP_MS_EDGES[-1]), HOP_MS_EDGES)[0]
            neiro, copy = _since(ours, peek.counts()), _since(theirs, copying.counts())
            found.seconds.append(now - started)
            found.control_kib.append(private_kib(performance.process.pid))
            found.audio_kib.append(private_kib(audio))
            found.late.append((neiro["xruns"], neiro["late_blocks"], copy["xruns"], copy["late_blocks"]))
        time.sleep(TURN_SECONDS)
    found.neiro, found.copy = _since(ours, peek.counts()), _since(theirs, copying.counts())
    found.hop_ms = hop_ms.tolist()


def _turn(keys: Clients, rng: np.random.Generator) -> None:
    if rng.random() < 0.02:
        keys.midi(0xC0, int(rng.integers(0, 20)))
    else:
        keys.midi(0xB0, int(rng.choice(CONTROLLERS)), int(rng.integers(0, 128)))


def _since(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was counted in between; what is no count stays."""
    return {
        name: value - before[name] if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in after.items()
    }
