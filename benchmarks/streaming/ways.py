"""What `benchmarks.streaming` compares: the models, and the ways in which each of them streams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.weights import FAR_BYTES
from export.fallbacks import Wanted
from export.systems import system_of
from training.checkpoint import Checkpoint

LOOKAHEADS = (1, 2, 4)  # frames
WINDOW_SECONDS = 1.0  # of the windowed original, as long as the sounds that it is measured on
WINDOW_LOOKAHEAD = 4  # of its second row, frames


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    train_sounds, test_sounds : at most, for the quality
    windowed_sounds : test and training sounds of the windowed original, a window per frame
    calibration, lessons : sounds at most, to fit on and to teach with;  hops : timed ones of each form
    memory_bytes, memory_seconds : of the buffer to measure the memory's bandwidth on, and for how long
    compiler : whether torch.compile has its row
    """

    train_sounds: int = 4000
    test_sounds: int = 1500
    windowed_sounds: tuple[int, int] = (300, 800)
    calibration: int = 600
    lessons: int = 12000
    hops: int = 5000
    memory_bytes: int = FAR_BYTES
    memory_seconds: float = 1.0
    compiler: bool = True
    seed: int = 0


QUICK = Effort(train_sounds=300, test_sounds=120, windowed_sounds=(16, 40), calibration=64, lessons=64, hops=200)


@dataclass(frozen=True)
class Subject:
    """One model.

    name : "s1", …;  title : for people
    source : the checkpoint's file; None for random weights, whose quality means nothing
    distil_minutes : of its student;  lookahead_minutes : of each student that looks ahead, 0 for none of these
    """

    name: str
    title: str
    checkpoint: Checkpoint
    source: Path | None
    distil_minutes: float = 0.0
    lookahead_minutes: float = 0.0

    @property
    def hop_ms(self) -> float:
        """What a hop lasts."""
        return 1000 * self.checkpoint.features.hop_samples / self.checkpoint.features.sample_rate

    @property
    def rate(self) -> float:
        """Smallest update weight of the running means, as the runtime's time constant of 2 s has it."""
        return self.hop_ms / 2000

    @property
    def bidirectional(self) -> bool:
        return system_of(self.checkpoint.model).recurrent and self.checkpoint.model.config.bidirectional


ORIGINAL, DROPPED, WINDOWED, SLIDING, FOLDED, DISTILLED, STUDENT, AS_IT_IS = (
    *(
        "original, whole sounds",
        "dropped",
        "windowed",
        "sliding window, exact",
        "folded",
        "distilled",
        "distilled student",
        "as it is",
    ),
)


@dataclass(frozen=True)
class Way:
    """One way of streaming a model.

    name : as the report calls it
    wanted : what is asked of `export.fallbacks`, None for the original and the dropped model
    """

    name: str
    wanted: Wanted | None = None

    @property
    def windowed(self) -> bool:
        return self.wanted is not None and self.wanted.window_frames > 0

    @property
    def key(self) -> str:
        """For file names."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split())


def ways(subject: Subject) -> tuple[Way, ...]:
    """All of a model, the original first; a model that is causal already has one only."""
    if not system_of(subject.checkpoint.model).recurrent:
        sliding = Way(SLIDING, Wanted())
        return (Way(ORIGINAL), sliding, Way(STUDENT, Wanted(subject.distil_minutes))) if subject.source else (sliding,)
    if not subject.bidirectional:
        return (Way(AS_IT_IS, Wanted()),)
    frames = max(WINDOW_LOOKAHEAD + 2, round(1000 * WINDOW_SECONDS / subject.hop_ms))
    window = Wanted(window_frames=frames), Wanted(window_frames=frames, lookahead=WINDOW_LOOKAHEAD)
    windowed = (
        Way(f"{WINDOWED}, {frames} frames", window[0]),
        Way(f"{WINDOWED}, {frames} frames, lookahead {WINDOW_LOOKAHEAD}", window[1]),
    )
    found = [
        Way(ORIGINAL),
        *windowed,
        Way(DROPPED),
        Way(FOLDED, Wanted()),
        Way(DISTILLED, Wanted(subject.distil_minutes)),
    ]
    found += [Way(f"{FOLDED}, lookahead {k}", Wanted(lookahead=k)) for k in LOOKAHEADS]
    if subject.lookahead_minutes:
        found += [Way(f"{DISTILLED}, lookahead {k}", Wanted(subject.lookahead_minutes, k)) for k in LOOKAHEADS]
    return tuple(found)


def best_way(subject: Subject) -> Way:
    """The form that a musician would play, whose precisions and backends are compared."""
    return next((way for way in ways(subject) if way.name in (DISTILLED, STUDENT)), ways(subject)[0])
