"""One block of 128 frames through the whole session on one core.

Run: `python -m pytest benchmarks/bench_session.py --benchmark-only`

Blocks with and without a hop take turns, so the mean says what a hop costs. All sizes, and percentiles:
`python -m benchmarks.realtime`
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.realtime.measure import STATES, WAYS
from benchmarks.realtime.subjects import SHIPPED, KnobMotion, Subject, session_of, sound_of
from realtime.bundle import embedded_bundle, load_bundle

FRAMES = 128


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("way", WAYS)
def test_one_block(benchmark: Any, way: str, state: str) -> None:
    subject = Subject(SHIPPED, "shipped model", load_bundle(embedded_bundle()))
    features = subject.bundle.manifest.features
    motion = KnobMotion(subject.bundle)
    motion.take(resynth=way == "resynth", turning=state == "turned")
    session, sound, out = session_of(subject, motion, "cpu"), sound_of(features), np.empty((FRAMES, 1), np.float32)
    at = 0

    def block() -> None:
        nonlocal at
        at = at + FRAMES if at + 2 * FRAMES <= len(sound) else 0
        motion.move(at / features.sample_rate)
        session.process_block(sound[at : at + FRAMES], out)

    for _ in range(300):
        block()
    benchmark.extra_info |= {"block_ms": 1000 * FRAMES / features.sample_rate}
    benchmark.pedantic(block, rounds=20, iterations=200)
    assert np.isfinite(out).all()
    assert session.meters["failed_hops"] == 0
