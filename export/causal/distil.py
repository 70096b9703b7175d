"""Teaching a causal student for some minutes (docs/architecture.md): shows how far it is, can be stopped and taken up
again, keeps the best.

What is learnt is the lessons' business (`export.causal.lessons`, `export.causal.student`); this is the loop around
them.
"""

from __future__ import annotations

import io
import sys
import time
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
from training.data.manifest import replace_file

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
class Course:
    """minutes : in all, earlier runs included
    keep : file for the state of an unfinished course, None for none
    of : what the course is of, so that another's state is not taken up
    """

    minutes: float
    keep: Path | None = None
    of: str = ""
    seed: int = 0


@dataclass
class _State:
    """steps, seconds : done so far;  best : the least loss when examined, and the weights that had it"""

    steps: int
    seconds: float
    best: float
    weights: dict[str, Tensor]


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


def teach(lessons: Lessons, course: Course) -> Outcome:
    """Train for the course's minutes, at least one step; the student is then the best one that was examined, the first
    among them.

    Raises
    ------
    ExportError
        If the loss is not a number, or the state cannot be written.
    """
    optimizer = torch.optim.Adam(lessons.taught(), lr=lessons.learning_rate)
    random = torch.Generator().manual_seed(course.seed)
    before = lessons.examine()
    state = _taken_up(lessons, optimizer, course) or _State(0, 0.0, before, _copied(lessons.student))
    total = 60 * course.minutes
    rows = _endless(lessons, random)
    with _progress(total) as show:
        show(state.seconds, state.best)
        while state.seconds < total or not state.steps:
            until = min(total, state.seconds + total / CHECKS)
            try:
                _study(lessons, optimizer, state, rows, until, total, show)
            except KeyboardInterrupt:
                _keep(lessons, optimizer, state, course)
                raise
            started = time.monotonic()
            _examine(lessons, state)
            state.seconds += time.monotonic() - started
            _keep(lessons, optimizer, state, course)
    lessons.student.load_state_dict(state.weights)
    return Outcome(before, state.best, state.steps, state.seconds)


def forget(course: Course) -> None:
    """Remove what was kept of a course that has led to a bundle."""
    if course.keep:
        course.keep.unlink(missing_ok=True)


def _study(
    lessons: Lessons,
    optimizer: torch.optim.Optimizer,
    state: _State,
    rows: Iterator[Tensor],
    until: float,
    total: float,
    show: Any,
) -> None:
    """Steps until so many seconds of the course have passed, at least one."""
    lessons.student.train()
    started, already = time.monotonic(), state.seconds
    while True:
        warm = min(1.0, (state.steps + 1) / WARM_UP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = lessons.learning_rate * warm * max(LOWEST_RATE, 1 - state.seconds / total if total else 1.0)
        optimizer.zero_grad()
        loss = lessons.loss(next(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(lessons.taught(), CLIP)
        optimizer.step()
        state.steps += 1
        state.seconds = already + time.monotonic() - started
        show(state.seconds, state.best)
        if state.seconds >= until:
            break
    lessons.student.eval()


def _examine(lessons: Lessons, state: _State) -> None:
    found = lessons.examine()
    if not found < float("inf"):
        raise ExportError(
            f"the student's loss is {found} after {state.steps} steps: distillation failed; export without "
            "--distil-minutes"
        )
    if found < state.best:
        state.best, state.weights = found, _copied(lessons.student)


def _endless(lessons: Lessons, random: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from lessons.batches(random)


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _keep(lessons: Lessons, optimizer: torch.optim.Optimizer, state: _State, course: Course) -> None:
    """Written beside, then renamed: a kill leaves the old state or the new one."""
    if course.keep is None:
        return
    buffer = io.BytesIO()
    torch.save(
        {
            "of": course.of,
            "state": vars(state),
            "student": lessons.student.state_dict(),
            "optimizer": optimizer.state_dict(),
        },
        buffer,
    )
    try:
        replace_file(course.keep, buffer.getbuffer())
    except OSError as error:
        raise ExportError(
            f"cannot keep the student's state in {course.keep} ({error.strerror or error}); free some space or choose "
            "another --output"
        ) from None


def _taken_up(lessons: Lessons, optimizer: torch.optim.Optimizer, course: Course) -> _State | None:
    """The state of an earlier run of this very course, if there is one that can be read."""
    if course.keep is None or not course.keep.is_file():
        return None
    try:
        kept = torch.load(course.keep, weights_only=True)
        if kept["of"] != course.of:
            return None
        state = _State(**kept["state"])
        lessons.student.load_state_dict(kept["student"])
        optimizer.load_state_dict(kept["optimizer"])
    except Exception:  # torch raises many kinds for a torn file; the course then begins anew
        return None
    print(f"going on with the student of {course.keep}, taught for {state.seconds / 60:.1f} min", file=sys.stderr)
    return state


@contextmanager
def _progress(total: float) -> Iterator[Any]:
    """A bar on a terminal, a line now and then elsewhere. Yields `show(seconds, best)`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said = [0.0]

        def line(seconds: float, best: float) -> None:
            if seconds - said[0] >= LINE_SECONDS:
                said[0] = seconds
                print(
                    f"distilling: {seconds / 60:.0f} of {total / 60:g} min, best loss {best:.4f}",
                    file=sys.stderr,
                    flush=True,
                )

        yield line
        return
    columns = (TextColumn("distilling"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("distilling", total=total, told="")
        yield lambda seconds, best: progress.update(task, completed=min(seconds, total), told=f"best loss {best:.4f}")
