"""Teaching a causal student for some minutes (docs/architecture.md): shows how far it is, can be stopped and taken up
again, keeps the best.

`export.causal.lessons` and `export.causal.student` say what is learnt; this is the loop around them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from export.errors import ExportError
from training.timed_loop import Best, Budget, Interval, Schedule, TimedLoop, load_state, save_state

CLIP = 1.0  # of the gradient's norm
LOWEST_RATE = 0.02  # share of the learning rate at the end
WARM_UP_STEPS = 20
CHECKS = 20  # how often, in all, the student is examined and its state kept
LONGEST_MINUTES = 7 * 24 * 60
LINE_SECONDS = 60.0  # between lines where there is no terminal to draw a bar on


class Lessons(Protocol):
    """A student and what it learns from."""

    learning_rate: float

    @property
    def student(self) -> Any:
        """The module that learns, a `TimbreVAE` too."""
        ...

    def taught(self) -> list[nn.Parameter]:
        """What may change."""
        ...

    def batches(self, random: torch.Generator) -> Iterator[Tensor]:
        """Every sound once, in batches of row numbers, in a random order."""
        ...

    def loss(self, rows: Tensor) -> Tensor:
        """Of one batch."""
        ...

    def examine(self) -> float:
        """The loss on sounds that are not learnt from."""
        ...


@dataclass(frozen=True)
class DistillationPlan:
    """minutes : in all, earlier runs included
    keep : file for the state of an unfinished course, None for none
    of : what the course is of, so that another's state is not taken up
    """

    minutes: float
    keep: Path | None = None
    of: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """loss_before, loss_after : on sounds not learnt from;  steps, seconds : in all"""

    loss_before: float
    loss_after: float
    steps: int
    seconds: float


def check_minutes(minutes: float) -> None:
    """Raises ExportError unless a course can be so long."""
    if not 0 <= minutes <= LONGEST_MINUTES:
        raise ExportError(f"--distil-minutes {minutes:g} must lie in 0 … {LONGEST_MINUTES} (a week)")


def teach(lessons: Lessons, course: DistillationPlan) -> Outcome:
    """Train for the course's minutes, at least one step; the student is then the best one that was examined, the first
    among them.

    Raises
    ------
    ExportError
        If the loss is not a number, or the state cannot be written.
    """
    total = 60 * course.minutes
    schedule = Schedule(lessons.learning_rate, LOWEST_RATE, WARM_UP_STEPS)
    loop = TimedLoop(lessons.taught(), Budget(total), schedule, clip=CLIP)
    random = torch.Generator().manual_seed(course.seed)
    before = lessons.examine()
    best = Best(before, lessons.student)
    if course.keep and load_state(course.keep, course.of, loop, lessons.student, best):
        told = f"going on with the student of {course.keep}, taught for {loop.seconds / 60:.1f} min"
        print(told, file=sys.stderr)
    rows = _endless(lessons, random)
    with _progress(total) as show:
        show(loop.seconds, best.loss)
        while loop.used < 1:
            lessons.student.train()
            try:
                loop.run(
                    lambda: lessons.loss(next(rows)),
                    after_step=lambda loss: show(loop.seconds, best.loss),
                    pause_after=total / CHECKS,
                )
            except KeyboardInterrupt:
                _keep(loop, lessons, best, course)
                raise
            with loop.timed():
                lessons.student.eval()
                best.offer(_examined(lessons, loop), lessons.student)
            _keep(loop, lessons, best, course)
    lessons.student.load_state_dict(best.weights)
    return Outcome(before, best.loss, loop.steps, loop.seconds)


def forget(course: DistillationPlan) -> None:
    """Remove what was kept of a course that has led to a bundle."""
    if course.keep:
        course.keep.unlink(missing_ok=True)


def _examined(lessons: Lessons, loop: TimedLoop) -> float:
    found = lessons.examine()
    if not found < float("inf"):
        raise ExportError(
            f"the student's loss is {found} after {loop.steps} steps: distillation failed; export without "
            "--distil-minutes"
        )
    return found


def _endless(lessons: Lessons, random: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from lessons.batches(random)


def _keep(loop: TimedLoop, lessons: Lessons, best: Best, course: DistillationPlan) -> None:
    if course.keep is None:
        return
    try:
        save_state(course.keep, course.of, loop, lessons.student, best)
    except OSError as error:
        raise ExportError(
            f"cannot keep the student's state in {course.keep} ({error.strerror or error}); free some space or choose "
            "another --output"
        ) from None


@contextmanager
def _progress(total: float) -> Iterator[Any]:
    """A bar on a terminal, a line now and then elsewhere. Yields `show(seconds, best)`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        line_interval = Interval(LINE_SECONDS)

        def line(seconds: float, best: float) -> None:
            if line_interval.due(seconds):
                told = f"distilling: {seconds / 60:.0f} of {total / 60:g} min, best loss {best:.4f}"
                print(told, file=sys.stderr, flush=True)

        yield line
        return
    columns = (TextColumn("distilling"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("distilling", total=total, told="")
        yield lambda seconds, best: progress.update(task, completed=min(seconds, total), told=f"best loss {best:.4f}")
