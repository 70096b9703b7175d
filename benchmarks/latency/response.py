"""Parameters' response in process: knob to audible change, to its whole change, and an instrument to its new timbre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.latency.inside import RANDOM, bank_with, through
from benchmarks.latency.measure import Delays, delays_of, first_departure, spectral_share
from benchmarks.latency.sounds import PIANO, VIOLIN, melody, steady
from realtime.bundle import Bundle
from realtime.hop.published import new_published
from realtime.session import Session

SETTLED_SECONDS, AFTERWARDS_SECONDS = 0.6, 0.2  # the sound goes on so long before and after a knob moves
LONG_BEFORE_SECONDS, LONG_AFTERWARDS_SECONDS = 2.0, 2.5
END_SECONDS = 0.5  # how a moved knob ends is heard for so long
ARRIVED = 0.9
TRACKED = (0.63, 0.9)
KNOBS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "gain_db": ({}, {"gain_db": -12.0}),
    "timbre[0]": ({}, {"timbre[0]": 2.0}),
    "preset, from your own timbre": ({}, {"preset": 41.0}),
    "preset, from another one": ({"preset": 57.0}, {"preset": 41.0}),
}


@dataclass(frozen=True)
class Response:
    """A knob, moved at random moments.

    departure : samples from the moment to the first sample that differs
    limit : samples that this may take: one hop and one block, and what the way out itself is late by
    """

    knob: str
    place: str
    block: str
    sample_rate: int
    departure: Delays
    limit: float
    within: float  # share of departures within the limit
    unusable: int = 0  # moments at which nothing could be measured, since the audio server lost time

    @property
    def holds(self) -> bool:
        return self.departure.count > 0 and self.departure.lost == 0 and self.within == 1.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"departure": self.departure.as_dict(), "holds": self.holds}


@dataclass(frozen=True)
class Settling:
    """A knob, moved while notes are played.

    seconds : until the spectrum has made 90 % of the change it makes in `LONG_AFTERWARDS_SECONDS`
    reached : that change, as a share of the one heard where the knob has stood there from the start
    shares : the way there, one value per hop from the moment on
    """

    knob: str
    seconds: float | None
    reached: float
    hop_seconds: float
    shares: list[float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"shares": [round(share, 3) for share in self.shares]}


@dataclass(frozen=True)
class Tracking:
    """How fast z^t follows a change of instrument.

    seconds : from the first violin note after a piano's until z^t has gone a share of its way, by share; None = never
    """

    timbre_seconds: float
    seconds: dict[str, float | None]


class KnobMove:
    """One session, played again and again with a knob here, there, or moved from here to there.

    sound : (n,), what is played
    """

    def __init__(
        self, bundle: Bundle, knob: str, sound: np.ndarray, sample_rate: int, block: int, also: Mapping[str, float]
    ) -> None:
        old, new = KNOBS[knob]
        self._old, self._new = (bank_with(bundle, {**old, **also}).values, bank_with(bundle, {**new, **also}).values)
        self._sound, self._block = sound, block
        self.session = Session(bundle, bank_with(bundle, {**old, **also}), channels=1, sample_rate=sample_rate)
        self.before, self.after = (self._play(values) for values in (self._old, self._new))

    def at(self, moment: int) -> np.ndarray:
        """Moved at that sample: the session hears of it with the first block that begins then or later."""
        return self._play(self._old, moment)

    def _play(self, values: np.ndarray, moment: int | None = None) -> np.ndarray:
        knobs = self.session.knobs.values
        knobs[:] = values
        self.session.reset()

        def turn(start: int) -> None:
            if moment is not None and start >= moment:
                knobs[:] = self._new

        return through(self.session, self._sound, self._block, np.random.default_rng(self._block), turn)


def knob_response(
    bundle: Bundle,
    knob: str,
    *,
    block: int,
    count: int,
    also: Mapping[str, float] | None = None,
    sample_rate: int | None = None,
) -> Response:
    """Of one of `KNOBS`.  also : knobs that stand somewhere else all the time"""
    features = bundle.manifest.features
    rate = sample_rate or features.sample_rate
    rng = np.random.default_rng(len(knob) + block)
    moved = KnobMove(bundle, knob, steady(rng, rate, SETTLED_SECONDS + AFTERWARDS_SECONDS), rate, block, also or {})
    departures = []
    for _ in range(count):
        moment = round(SETTLED_SECONDS * rate) + int(rng.integers(0, round(8 * features.hop_seconds * rate)))
        departures.append(first_departure(moved.at(moment), moved.before, moment, 1e-7))
    limit = features.hop_seconds * rate + (block or 2048) + moved.session.latency_samples
    within = float(np.mean([value is not None and value <= limit for value in departures]))
    title = knob + (", resynth" if (also or {}).get("resynth") else "")
    found = delays_of([None if value is None else float(value) for value in departures])
    return Response(title, "in process", "random" if block == RANDOM else str(block), rate, found, limit, within)


def settling(bundle: Bundle, knob: str, *, count: int, also: Mapping[str, float] | None = None) -> Settling:
    """Of one of `KNOBS`, moved at several moments while a violin plays; the median of them."""
    features = bundle.manifest.features
    rate, hop = features.sample_rate, features.hop_samples
    sound = melody(VIOLIN, rate, LONG_BEFORE_SECONDS + 1 + LONG_AFTERWARDS_SECONDS)
    moved = KnobMove(bundle, knob, sound, rate, 128, also or {})
    hops, curves = round(LONG_AFTERWARDS_SECONDS / features.hop_seconds), []
    for k in range(count):
        moment = round((LONG_BEFORE_SECONDS + k / count) * rate / hop) * hop
        shares = spectral_share(moved.at(moment), moved.before, moved.after, hop)
        curves.append(shares[moment // hop :][:hops])
    curve = np.median([shares[: min(map(len, curves))] for shares in curves], axis=0)
    reached = float(curve[-round(END_SECONDS / features.hop_seconds) :].mean())
    arrived = np.flatnonzero(curve >= ARRIVED * reached)
    seconds = float(arrived[0] * features.hop_seconds) if len(arrived) and reached > 0 else None
    title = knob + (", resynth" if (also or {}).get("resynth") else "")
    return Settling(title, seconds, reached, features.hop_seconds, curve.tolist())


def tracking(bundle: Bundle, timbre_seconds: float) -> Tracking:
    """A piano, then a violin: how long z^t takes to come along."""
    features = bundle.manifest.features
    rate, hop = features.sample_rate, features.hop_samples
    piano_seconds, violin_seconds = 4.0, max(4.0, 6 * timbre_seconds)
    sound = np.concatenate([melody(PIANO, rate, piano_seconds), melody(VIOLIN, rate, violin_seconds)])
    published = new_published(bundle.manifest)
    session = Session(
        bundle, bank_with(bundle, {"timbre_seconds": timbre_seconds}), channels=1, sample_rate=rate, published=published
    )
    path, column, out = [], sound[:, None].astype(np.float32), np.empty((hop, 1), np.float32)
    for start in range(0, len(sound) - hop, hop):
        session.process_block(column[start : start + hop], out)
        path.append(published["timbre"].copy())
    timbre, change = np.array(path), round(piano_seconds / features.hop_seconds)
    around = max(1, round(0.5 / features.hop_seconds))  # a note: z^t moves a little with every one
    first, last = timbre[change - around : change].mean(0), timbre[-2 * around :].mean(0)
    share = (timbre[change:] - first) @ (last - first) / max(1e-12, float((last - first) @ (last - first)))
    seconds: dict[str, float | None] = {}
    for level in TRACKED:
        reached = np.flatnonzero(share >= level)
        seconds[f"{level:.0%}"] = float(reached[0] * features.hop_seconds) if len(reached) else None
    return Tracking(timbre_seconds, seconds)
