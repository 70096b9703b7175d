"""Is this machine fast enough for this model on the audio thread? Tried on noise before the sound starts."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np

from realtime.bundle import Bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions

BUDGET_SHARE = 0.6  # of a hop's duration; a step that needs more leaves the rest of a block too little
ROUNDS = 2  # the better one counts
ROUND_HOPS = 1000  # whose p99.9 is sought
LONGEST_SECONDS = 0.3  # of a round; of a slow model fewer hops say enough
WARM_HOPS = 8  # not counted


def too_slow(bundle: Bundle, sample_rate: float, provider: str) -> bool:
    return slow_hop_seconds(bundle, sample_rate, provider) > BUDGET_SHARE * bundle.manifest.features.hop_seconds


def slow_hop_seconds(bundle: Bundle, sample_rate: float, provider: str) -> float:
    """p99.9 of the time a hop of sound takes, s, at work: with the timbre edited, so that nothing is left out."""
    features = bundle.manifest.features
    bank = KnobBank(bundle.manifest)
    bank.values[: len(bundle.manifest.axes)] = 0.5
    session = Session(bundle, bank, channels=1, sample_rate=sample_rate, options=SessionOptions(provider=provider))
    noise = 0.1 * np.random.default_rng(0).standard_normal((math.ceil(features.hop_seconds * sample_rate), 1)).astype(
        np.float32
    )
    best = min(_round(session, noise, _clock(session.provider)) for _ in range(ROUNDS))
    session.close()
    return best


def _clock(provider: str) -> Callable[[], float]:
    """The clock that times a hop.

    The processor time of this thread where the CPU does all the work: the audio thread runs before other programs, this
    thread does not yet.
    """
    return time.perf_counter if provider != "cpu" or sys.platform == "win32" else time.thread_time


def _round(session: Session, noise: np.ndarray, clock: Callable[[], float]) -> float:
    times: list[float] = []
    out, end = np.zeros_like(noise), time.perf_counter() + LONGEST_SECONDS
    while len(times) < WARM_HOPS + ROUND_HOPS and (len(times) <= WARM_HOPS or time.perf_counter() < end):
        started = clock()
        session.process_block(noise, out)
        times.append(clock() - started)
    return float(np.percentile(times[WARM_HOPS:], 99.9))
