"""Distilling a causal student for some minutes (docs/architecture.md): shows progress, resumes, keeps the best weights.

`export.causal.lessons` and `export.causal.student` say what is learnt; this is the loop around them.
"""

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
CHECKS = 20  # how often, in all, the held-out loss is measured and the state kept
LONGEST_MINUTES = 7 * 24 * 60
LINE_SECONDS = 60.0  # between lines where there is no terminal to draw a bar on


class Lessons(Protocol):
    """A student, the sounds it learns from, and its losses."""

    learning_rate: float

    @property
    def student(self) -> Any:
        """The module that learns, a `TimbreVAE` too."""
        ...

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that change."""
        ...

    def batches(self, random: torch.Generator) -> Iterator[Tensor]:
        """Every sound once, in batches of row numbers, in a random order."""
        ...

    def loss(self, rows: Tensor) -> Tensor:
        """The loss of one batch."""
        ...

    def held_out_loss(self) -> float:
        """The loss on held-out sounds."""
        ...


@dataclass(frozen=True)
class DistillationPlan:
    """minutes : in all, earlier runs included
    state_file : where an unfinished distillation keeps its state; None to keep none
    fingerprint : what is distilled and from what; a state with another fingerprint is not resumed
    """

    minutes: float
    state_file: Path | None = None
    fingerprint: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """loss_before, loss_after : on held-out sounds;  steps, seconds : in all"""

    loss_before: float
    loss_after: float
    steps: int
    seconds: float


def check_minutes(minutes: float) -> None:
    """Raises ExportError unless a distillation can take so long."""
    if not 0 <= minutes <= LONGEST_MINUTES:
        raise ExportError(f"--distil-minutes {minutes:g} must lie in 0 … {LONGEST_MINUTES} (a week)")


def teach(lessons: Lessons, plan: DistillationPlan) -> Outcome:
    """Train for the plan's minutes, at least one step. The student ends with the weights of the lowest held-out loss,
    those from before training among them.

    Raises
    ------
    ExportError
        If the loss is not a number, or the state cannot be written.
    """
    total = 60 * plan.minutes
    schedule = Schedule(lessons.learning_rate, LOWEST_RATE, WARM_UP_STEPS)
    loop = TimedLoop(lessons.trainable(), Budget(total), schedule, clip=CLIP)
    random = torch.Generator().manual_seed(plan.seed)
    before = lessons.held_out_loss()
    best = Best(before, lessons.student)
    if plan.state_file and load_state(plan.state_file, plan.fingerprint, loop, lessons.student, best):
        told = f"going on with the student of {plan.state_file}, taught for {loop.seconds / 60:.1f} min"
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
                _keep(loop, lessons, best, plan)
                raise
            with loop.timed():
                lessons.student.eval()
                best.offer(_checked_loss(lessons, loop), lessons.student)
            _keep(loop, lessons, best, plan)
    lessons.student.load_state_dict(best.weights)
    return Outcome(before, best.loss, loop.steps, loop.seconds)


def remove_state(plan: DistillationPlan) -> None:
    """Remove the state of a distillation that has led to a bundle."""
    if plan.state_file:
        plan.state_file.unlink(missing_ok=True)


def _checked_loss(lessons: Lessons, loop: TimedLoop) -> float:
    found = lessons.held_out_loss()
    if not found < float("inf"):
        raise ExportError(
            f"the student's loss is {found} after {loop.steps} steps: distillation failed; export without "
            "--distil-minutes"
        )
    return found


def _endless(lessons: Lessons, random: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from lessons.batches(random)


def _keep(loop: TimedLoop, lessons: Lessons, best: Best, plan: DistillationPlan) -> None:
    if plan.state_file is None:
        return
    try:
        save_state(plan.state_file, plan.fingerprint, loop, lessons.student, best)
    except OSError as error:
        raise ExportError(
            f"cannot keep the student's state in {plan.state_file} ({error.strerror or error}); free some space or "
            "choose another --output"
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
