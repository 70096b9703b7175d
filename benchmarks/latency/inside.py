"""Latency without any device: blocks of every size through `Session.process_block`, in both ways out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.latency.measure import Delays, impulse_delays, onset_delays
from benchmarks.latency.sounds import MarkedSound, bursts, impulses, plucked
from realtime.bundle import Bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions

RANDOM = 0  # as a block size: another one for every block, 1 … 2048
LARGEST_RANDOM = 2048
USUAL_MS = 6.0  # of resynth, unless another latency is asked for


@dataclass(frozen=True)
class Way:
    """A way out, as it is listened to.

    knobs : what makes it so
    exact : an impulse's response has a place that is its own: its middle if it is `symmetric`, else its beginning
    """

    name: str
    knobs: dict[str, float]
    resynth: bool = False
    exact: bool = True
    symmetric: bool = False


REST = Way("morph, at rest", {})
EDITED = Way("morph, edited", {"preset": 41.0, "timbre[0]": 1.0})
INPUT_PHASE = Way("resynth, input phase", {"resynth": 1.0, "phase": 1.0}, resynth=True, symmetric=True)
INPUT_PHASE_EDITED = Way(
    "resynth, input phase, edited", {**INPUT_PHASE.knobs, **EDITED.knobs}, resynth=True, symmetric=True
)
REBUILT = Way("resynth, rebuilt phase", {"resynth": 1.0, "phase": 0.0}, resynth=True, exact=False)
REBUILT_EDITED = Way("resynth, rebuilt phase, edited", {**REBUILT.knobs, **EDITED.knobs}, resynth=True, exact=False)


@dataclass(frozen=True)
class Row:
    """One way out in one place.

    reported : samples, what the program says;  device : samples of it that are the device's fixed block
    impulse, burst, pluck : measured; None = not asked for
    """

    way: str
    place: str
    sample_rate: int
    block: str
    latency_ms: float | None
    reported: int
    device: int
    hop: float
    exact: bool
    impulse: Delays | None
    burst: Delays | None
    pluck: Delays | None

    @property
    def total(self) -> int:
        return self.reported + self.device

    @property
    def holds(self) -> bool:
        """Whether every impulse came exactly when reported.

        Where an impulse has no sample of its own, onsets must come when reported on average, within a hop.
        """
        onsets = [found for found in (self.burst, self.pluck) if found is not None]
        if any(found.lost for found in (*onsets, self.impulse) if found is not None):
            return False
        if self.exact and self.impulse is not None:
            return self.impulse.lowest == self.impulse.highest == self.total
        return all(abs(found.mean - self.total) <= self.hop and found.deviation <= self.hop for found in onsets)

    def as_dict(self) -> dict[str, Any]:
        found = {
            name: delays.as_dict() if delays else None
            for name, delays in (("impulse", self.impulse), ("burst", self.burst), ("pluck", self.pluck))
        }
        about = {
            name: getattr(self, name)
            for name in ("way", "place", "sample_rate", "block", "latency_ms", "reported", "device", "exact", "holds")
        }
        return about | found


def through(
    session: Session, sound: np.ndarray, block: int, rng: np.random.Generator, each: Callable[[int], None] | None = None
) -> np.ndarray:
    """What comes out, (samples,).  block : samples, or RANDOM
    each : called with the sample at which a block begins, before it
    """
    out, done = np.empty((len(sound), 1), np.float32), 0
    column = np.ascontiguousarray(sound, np.float32)[:, None]
    while done < len(sound):
        n = block or int(rng.integers(1, LARGEST_RANDOM + 1))
        if each is not None:
            each(done)
        session.process_block(column[done : done + n], out[done : done + n])
        done += n
    return out[:, 0]


def bank_with(bundle: Bundle, knobs: dict[str, float]) -> KnobBank:
    bank = KnobBank(bundle.manifest)
    for name, value in knobs.items():
        if name in bank.index:
            bank.set(name, min(value, bank.target(name).high))
    return bank


def measure(
    bundle: Bundle,
    way: Way,
    *,
    block: int,
    sample_rate: int,
    latency_ms: float,
    sounds: dict[str, MarkedSound],
    rng: np.random.Generator,
) -> Row:
    """One row.  sounds : by "impulse", "burst" and "pluck", those that are wanted, at the session's rate"""
    session = Session(
        bundle,
        bank_with(bundle, way.knobs),
        channels=1,
        sample_rate=sample_rate,
        options=SessionOptions(latency_ms=latency_ms),
    )
    features = bundle.manifest.features
    found: dict[str, Delays | None] = dict.fromkeys(("impulse", "burst", "pluck"))
    for kind, sound in sounds.items():
        session.reset()
        out = through(session, sound.samples, block, rng)
        if kind != "impulse":
            found[kind] = onset_delays(sound, out)
        elif way.exact:
            found[kind] = impulse_delays(sound, out, symmetric=way.symmetric)
    reported = session.latency_samples
    return Row(
        way=way.name,
        place="in process",
        sample_rate=sample_rate,
        block="random" if block == RANDOM else str(block),
        latency_ms=latency_ms if way.resynth else None,
        reported=reported,
        device=0,
        hop=features.hop_seconds * sample_rate,
        exact=way.exact,
        **found,
    )


def rows(
    bundle: Bundle,
    *,
    blocks: Sequence[int],
    rates: Sequence[int],
    latencies_ms: Sequence[float],
    count: int,
    seed: int = 0,
) -> Iterator[Row]:
    """Everything in process.

    Morph is measured at every block size and rate, resynth at every latency and, at one latency, at every block size.
    """
    for sample_rate in rates:
        rng = np.random.default_rng(seed)
        everything = {
            "impulse": impulses(rng, sample_rate, count),
            "burst": bursts(rng, sample_rate, count),
            "pluck": plucked(rng, sample_rate, count),
        }
        clicks = {"impulse": everything["impulse"]}
        onsets = {kind: everything[kind] for kind in ("burst", "pluck")}
        few = {"impulse": impulses(rng, sample_rate, max(2, count // 8))}

        def row(
            way: Way, block: int, latency_ms: float, sounds: dict[str, MarkedSound], rate: int = sample_rate
        ) -> Row:
            return measure(
                bundle,
                way,
                block=block,
                sample_rate=rate,
                latency_ms=latency_ms,
                sounds=sounds,
                rng=np.random.default_rng(seed),
            )

        own_rate = sample_rate == rates[0]
        for block in blocks if own_rate else (128, RANDOM):
            yield row(REST, block, USUAL_MS, few if block == 1 else clicks)
            if block != 1:
                yield row(EDITED, block, USUAL_MS, everything if block in (128, RANDOM) else clicks)
        for latency_ms in latencies_ms if own_rate else (USUAL_MS,):
            fewer = latency_ms != USUAL_MS
            yield row(INPUT_PHASE, 128, latency_ms, clicks if fewer else everything)
            yield row(REBUILT, 128, latency_ms, {"burst": everything["burst"]} if fewer else onsets)
        for block in (block for block in blocks if block not in (1, 128)) if own_rate else (RANDOM,):
            yield row(INPUT_PHASE, block, USUAL_MS, clicks)
        yield row(INPUT_PHASE_EDITED, 128, USUAL_MS, everything)
        yield row(REBUILT_EDITED, 128, USUAL_MS, onsets)
