"""python -m benchmarks.soak.hops --hops N --json FILE: a session that plays much longer than any concert, faster than
real time.

Knobs of all kinds are turned meanwhile, both ways out are played. What is asked: does its memory stay as it is, do its
Python objects stay as many, and does the same sound give the same bits after a reset as on the first day?
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import time
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.soak.memory import private_kib
from realtime.bundle import Bundle, embedded_bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions
from training.console import run_command
from training.data.options import Parser

PHRASE = Path(__file__).parents[1] / "demo/phrase.flac"
# Knobs while the bits are compared: both ways out are heard.
EDITED = {"preset": 41.0, "timbre[0]": 1.0, "resynth": 0.5, "phase": 0.5}
WARM_UP = 0.1  # of the hops: what grows in it does not count
SAMPLES = 400  # looks at the memory, evenly
TURN_SECONDS = 1.0  # on average, between two moves of the knobs
TRACED = 0.005  # of the hops, the last ones, have every allocation traced
LINES = 8  # of the program, that hold more memory at the end
MEASURING = (__file__, tracemalloc.__file__, "*soak/memory.py", "*pathlib*", "*linecache*")


@dataclass(frozen=True)
class EndlessResult:
    """What came of it.

    hops, seconds, sound_seconds : hops made, time they took, sound they were
    at_hop : the hop of each look at: private memory, KiB; Python's allocated blocks
    traced_hops, traced_kib, grown : the last hops, every allocation traced: memory gained, and the lines that hold more
        in the end
    digests : of the output of the same sound: first, after everything and a reset, and of a new session
    block_us : time of a block: median, 99 %, 99.9 %, longest
    """

    hops: int
    seconds: float
    sound_seconds: float
    block: int
    at_hop: list[int]
    private_kib: list[int]
    allocated_blocks: list[int]
    collections: list[int]
    traced_hops: int
    traced_kib: float
    grown: list[str]
    digests: tuple[str, str, str]
    failed_hops: int
    block_us: dict[str, float]

    @property
    def warm(self) -> int:
        """The first look after the warm-up."""
        return int(np.searchsorted(self.at_hop, WARM_UP * self.hops))


class KnobTurner:
    """Moves knobs at random, the same way every time."""

    def __init__(self, bank: KnobBank, seed: int) -> None:
        self._bank, self._rng = bank, np.random.default_rng(seed)
        self._rest = bank.values.copy()
        self._low, self._high = (np.array([getattr(target, end) for target in bank.targets]) for end in ("low", "high"))
        self._whole = np.array([target.whole for target in bank.targets])

    def turn(self) -> None:
        """Home, with a chance of one in four; else some knobs anywhere in their ranges, and one of the ways out."""
        rng, values = self._rng, self._bank.values
        values[:] = self._rest
        if rng.random() < 0.25:
            return
        chosen = rng.choice(len(values), 6, replace=False)
        there = self._low + rng.random(len(values)) * (self._high - self._low)
        values[chosen] = np.where(self._whole, np.round(there), there)[chosen]
        values[self._bank.index["resynth"]] = rng.choice([0.0, 0.0, 1.0, rng.random()])


class Player:
    """One session and its sound, in blocks of `block` samples without end."""

    def __init__(self, bundle: Bundle, block: int) -> None:
        features = bundle.manifest.features
        self.block, self.rate, self._hop = block, features.sample_rate, features.hop_samples
        self._sound = material(self.rate)
        self._out = np.empty((block, 1), np.float32)
        self.bank = KnobBank(bundle.manifest)
        self.rest = self.bank.values.copy()
        self.session = Session(bundle, self.bank, channels=1, sample_rate=self.rate, options=SessionOptions(limit=True))
        self._turner = KnobTurner(self.bank, seed=0)
        self._turn_every = max(1, round(TURN_SECONDS * self.rate / block))
        self._played, self._position = 0, 0
        # The latest. All pages are written at once, since the session would seem to grow with them otherwise.
        self.block_seconds = np.full(2**20, np.nan)

    @property
    def hops(self) -> int:
        """Played so far."""
        return self._played * self.block // self._hop

    @property
    def sound_seconds(self) -> float:
        return self._played * self.block / self.rate

    def play(self, hops: int) -> None:
        """Until there are so many hops in all."""
        while self.hops < hops:
            if self._played % self._turn_every == 0:
                self._turner.turn()
            if self._position + self.block > len(self._sound):
                self._position = 0
            before = time.perf_counter()
            self.session.process_block(self._sound[self._position : self._position + self.block], self._out)
            self.block_seconds[self._played % len(self.block_seconds)] = time.perf_counter() - before
            self._played += 1
            self._position += self.block

    def digest(self, seconds: float) -> str:
        """Of what comes out of the beginning of the sound, edited, after a reset."""
        self.bank.values[:] = self.rest
        for name, value in EDITED.items():
            if name in self.bank.index:
                self.bank.set(name, min(value, self.bank.target(name).high))
        self.session.reset()  # it begins as the knobs stand now
        sound = self._sound[: round(seconds * self.rate)]
        out = np.empty_like(sound)
        for start in range(0, len(sound), self.block):
            self.session.process_block(sound[start : start + self.block], out[start : start + self.block])
        self.bank.values[:] = self.rest
        return hashlib.sha256(out.tobytes()).hexdigest()


def endless(bundle: Bundle, hops: int, *, block: int = 128, compared_seconds: float = 10.0) -> EndlessResult:
    """Play `hops` hops of the demo's phrase, noise and silence, again and again."""
    player = Player(bundle, block)
    first = player.digest(compared_seconds)
    started = time.perf_counter()
    traced_from = round((1 - TRACED) * hops)
    gc.collect()
    gc.freeze()  # as the audio process does
    looks, parent = MemorySamples(), os.getppid()
    for target in range(0, traced_from + 1, max(1, hops // SAMPLES)):
        player.play(target)
        looks.look(player.hops)
        if os.getppid() != parent:
            raise KeyboardInterrupt  # nobody waits for us any more
    player.play(traced_from)
    grown = _traced(player, hops)
    looks.look(player.hops)
    seconds = time.perf_counter() - started
    again, new = player.digest(compared_seconds), Player(bundle, block).digest(compared_seconds)
    times = 1e6 * player.block_seconds[player.block_seconds > 0]
    return EndlessResult(
        hops=player.hops,
        seconds=seconds,
        sound_seconds=player.sound_seconds,
        block=block,
        at_hop=looks.seen[0, : looks.count].tolist(),
        private_kib=looks.seen[1, : looks.count].tolist(),
        allocated_blocks=looks.seen[2, : looks.count].tolist(),
        collections=[generation["collections"] for generation in gc.get_stats()],
        traced_hops=player.hops - traced_from,
        traced_kib=grown[0],
        grown=grown[1],
        digests=(first, again, new),
        failed_hops=int(player.session.meters["failed_hops"]),
        block_us={
            name: float(np.percentile(times, q))
            for name, q in (("median", 50), ("p99", 99), ("p99.9", 99.9), ("max", 100))
        },
    )


def _traced(player: Player, hops: int) -> tuple[float, list[str]]:
    """The last hops with every allocation traced, which is slow.

    Gives the KiB gained and the lines of the program that hold more than before.
    """
    tracemalloc.start(1)
    player.play(player.hops + (hops - player.hops) // 4)
    gc.collect()
    before, snapshot = tracemalloc.get_traced_memory()[0], _snapshot()
    player.play(hops)
    gc.collect()
    gained = (tracemalloc.get_traced_memory()[0] - before) / 1024
    differences = [line for line in _snapshot().compare_to(snapshot, "lineno") if line.size_diff > 1024]
    tracemalloc.stop()
    return gained, [
        f"{Path(line.traceback[0].filename).name}:{line.traceback[0].lineno} +{line.size_diff / 1024:.1f} KiB"
        for line in differences[:LINES]
    ]


def _snapshot() -> tracemalloc.Snapshot:
    """Without what the measuring itself keeps."""
    return tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(inclusive=False, filename_pattern=name) for name in MEASURING]
    )


class MemorySamples:
    """Memory readings, which take no memory themselves.

    seen : (3, readings): hop, private KiB, Python's allocated blocks
    """

    def __init__(self) -> None:
        self.seen = np.zeros((3, 2 * SAMPLES + 2), np.int64)
        self.count = 0

    def look(self, hop: int) -> None:
        gc.collect()
        self.seen[:, self.count] = hop, private_kib(), sys.getallocatedblocks()
        self.count += 1


def material(rate: int) -> np.ndarray:
    """A cello, noise, silence: (n, 1), float32."""
    phrase, own_rate = soundfile.read(PHRASE, dtype="float32")
    if own_rate != rate:
        raise ValueError(f"{PHRASE} has {own_rate} Hz, the model {rate} Hz; soak with a bundle of {own_rate} Hz")
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    return np.concatenate([phrase, noise, np.zeros(2 * rate, np.float32)])[:, None]


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.soak.hops", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--hops", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args(arguments)
    found = endless(load_bundle(options.bundle or embedded_bundle()), options.hops)
    options.json.write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main)
