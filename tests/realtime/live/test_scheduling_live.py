"""The audio process keeps its time on a real server, whatever the control process does."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from benchmarks.jack.rig import PERIOD, RATE, JackRig
from benchmarks.jack.server import environment, wait_until
from tests.support.control import control
from tests.support.passthrough_client import PassThrough, call_times, late_calls, timed_audio_process

pytestmark = pytest.mark.jack


def test_a_busy_control_process_does_not_make_callbacks_late(rig: JackRig, bundle: Path, tmp_path: Path) -> None:
    """Side by side: the audio process of a busy control process, and a bare pass-through client."""

    def late() -> tuple[int, int, int]:
        beside = PassThrough(tmp_path / "bare.npy", "mic", "spk", environment())
        busy = threading.Event()
        try:
            with control(bundle, program=timed_audio_process(tmp_path / "real.npy")) as live:
                live.bank.set("timbre[0]", 1.0)
                wait_until(lambda: len(call_times(beside.times)) > 100, "the pass-through client")
                loop = threading.Thread(target=_count_for_ever, args=(busy,), daemon=True)
                loop.start()
                start = time.perf_counter()
                time.sleep(4.0)
                busy.set()
                end = time.perf_counter()
                both = [call_times(tmp_path / name) for name in ("bare.npy", "real.npy")]
        finally:
            busy.set()
            beside.close()
        times = [taken[(taken > start) & (taken < end)] for taken in both]
        return late_calls(times[0], PERIOD / RATE), late_calls(times[1], PERIOD / RATE), len(times[1])

    bare, real, calls = late()
    if real > bare + 0.01 * calls:
        bare, real, calls = late()  # once more if another program was in the way
    assert calls > 0.8 * 4.0 * RATE / PERIOD
    assert real <= bare + 0.01 * calls, f"{real} late callbacks of {calls}, the pass-through client had {bare}"


@pytest.mark.parametrize("worker", [False, True])
def test_threads_that_share_the_interpreter_with_the_callback_have_its_scheduling_a_priority_lower(
    rig: JackRig, bundle: Path, worker: bool
) -> None:
    with control(bundle, worker=worker) as live:
        live.bank.set("timbre[0]", 1.0)

        def scheduling() -> dict[int, tuple[int, int]]:
            threads = [int(path.name) for path in Path(f"/proc/{live.pid}/task").iterdir()]
            return {
                thread: (
                    os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK,
                    os.sched_getparam(thread).sched_priority,
                )
                for thread in threads
            }

        # JACK's thread; ordinary where the system allows no other.
        callback = max(scheduling().values(), key=lambda found: found[1])
        expected = (callback[0], max(callback[1] - 1, os.sched_get_priority_min(callback[0])))
        wait_until(lambda: scheduling()[live.pid] == expected, "the main thread to follow")
        wait_until(lambda: list(scheduling().values()).count(expected) >= 1 + worker, "the worker to follow")


def _count_for_ever(enough: threading.Event) -> None:
    count = 0
    while not enough.is_set():
        for _ in range(100000):
            count += 1
