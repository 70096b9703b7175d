"""How long every block took: `benchmarks.realtime` plays all cases in turns, so that each meets the same machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.realtime.subjects import KnobMotion, Subject, session_of, sound_of
from realtime.hop.meters import STAGES

BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048)
WAYS, STATES = ("morph", "resynth"), ("at rest", "turned")
WARM_UP_SECONDS = 0.2  # of sound, before each turn
FEWEST_FOR = {"p99": 200, "p99.9": 2000}  # blocks, below which a percentile would be the luck of one or two


@dataclass
class Case:
    """One model, way out and state of the knobs at one block size, and what was measured.

    wall_ms : milliseconds of every block;  turns : index of each turn's first block
    cpu_seconds : processor time of the blocks;  stage_seconds : by `STAGES`;  hops : model steps made
    """

    subject: Subject
    way: str
    state: str
    frames: int
    sample_rate: int
    wall_ms: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0
    stage_seconds: np.ndarray = field(default_factory=lambda: np.zeros(len(STAGES)))
    hops: int = 0
    provider: str = ""

    @property
    def budget_ms(self) -> float:
        return 1000 * self.frames / self.sample_rate

    def figures(self) -> dict[str, Any]:
        """What report.json says. A percentile that too few blocks speak for is None."""
        times = np.array(self.wall_ms)
        turns = [float(np.mean(turn)) for turn in np.split(times, self.turns[1:])]
        busy, stages = float(times.sum()) / 1000, self.stage_seconds
        found: dict[str, Any] = {
            "budget_ms": self.budget_ms,
            "blocks": len(times),
            "median_ms": float(np.median(times)),
        }
        for name, fewest in FEWEST_FOR.items():
            found[f"{name}_ms"] = float(np.percentile(times, float(name[1:]))) if len(times) >= fewest else None
        found |= {"max_ms": float(times.max()), "over_budget": int((times > self.budget_ms).sum())}
        found |= {
            "real_time_factor": self.budget_ms / float(times.mean()),
            "quietest_turn": self.budget_ms / min(turns),
        }
        found |= {
            "by_processor_time": len(times) * self.budget_ms / 1000 / self.cpu_seconds,
            "waited": max(0.0, 1 - self.cpu_seconds / busy),
        }
        found["ms_per_hop"] = 1000 * busy / self.hops
        found["stage_share"] = {name: float(seconds) / busy for name, seconds in zip(STAGES, stages, strict=True)}
        found["stage_share"]["the rest"] = max(0.0, 1 - float(stages.sum()) / busy)
        return found


def measure(subjects: list[Subject], seconds: dict[str, float], turns: int, provider: str) -> list[Case]:
    """Every case of every subject.

    seconds : by subject, how long each of its cases is played, all turns together, by the clock
    """
    motions = [KnobMotion(subject.bundle) for subject in subjects]
    sessions = [session_of(subject, motion, provider) for subject, motion in zip(subjects, motions, strict=True)]
    sounds = [sound_of(subject.bundle.manifest.features) for subject in subjects]
    cases = [
        [
            Case(subject, way, state, frames, subject.bundle.manifest.features.sample_rate, provider=session.provider)
            for frames in BLOCK_SIZES
        ]
        for subject, session in zip(subjects, sessions, strict=True)
        for way in WAYS
        for state in STATES
    ]
    for turn in range(turns):
        for i, members in enumerate(cases):
            player = i // (len(WAYS) * len(STATES))
            first = turn % len(members)
            for case in members[first:] + members[:first]:
                play(sessions[player], motions[player], case, sounds[player], seconds[case.subject.name] / turns)
    return [case for members in cases for case in members]


def play(session: Any, motion: KnobMotion, case: Case, sound: np.ndarray, seconds: float) -> None:
    """Blocks for so many seconds by the clock, after a short warm-up that does not count."""
    frames, rate, meters = case.frames, case.sample_rate, session.meters
    motion.take(resynth=case.way == "resynth", turning=case.state == "turned")
    session.reset()
    out, at = np.empty((frames, sound.shape[1]), np.float32), 0

    def block() -> float:
        nonlocal at
        at = at if at + frames <= len(sound) else 0
        motion.move(at / rate)
        start = time.perf_counter()
        session.process_block(sound[at : at + frames], out)
        taken = time.perf_counter() - start
        at += frames
        return 1000 * taken

    for _ in range(max(1, round(WARM_UP_SECONDS * rate / frames))):
        block()
    case.turns.append(len(case.wall_ms))
    hops, stages = int(meters["hops"]), meters["stage_seconds"].copy()
    processor, times = time.thread_time(), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        times.append(block())
    # the loop around the blocks is this thread's, too: its share is that of the clock
    inside = sum(times) / 1000 / (time.perf_counter() - end + seconds)
    case.cpu_seconds += (time.thread_time() - processor) * inside
    case.wall_ms += times
    case.hops += int(meters["hops"]) - hops
    case.stage_seconds += meters["stage_seconds"] - stages
