"""The loop that distils: the best student is kept, and a run goes on where it stopped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from export.causal.distil import DistillationPlan, teach


class Line:
    """Lessons in fitting one number; its examination can be made to get worse."""

    learning_rate = 0.05

    def __init__(self, spoil_after: int = 10**9) -> None:
        self.student = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.student.weight, 3.0)
        self.spoil_after, self.losses = spoil_after, []  # type: ignore[var-annotated]

    def trainable(self) -> list[torch.nn.Parameter]:
        return list(self.student.parameters())

    def batches(self, random: torch.Generator):  # type: ignore[no-untyped-def]
        time.sleep(0.001)
        yield torch.zeros(1, dtype=torch.long)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        self.losses.append(0)
        target = 0.0 if len(self.losses) < self.spoil_after else 50.0
        return (self.student.weight - target).square().sum()

    def held_out_loss(self) -> float:
        return float(self.student.weight.detach().square())


def test_the_best_student_is_kept_not_the_last() -> None:
    lessons = Line(spoil_after=150)
    outcome = teach(lessons, DistillationPlan(0.02))
    assert outcome.steps > 200
    assert lessons.held_out_loss() == pytest.approx(outcome.loss_after)
    assert outcome.loss_after < 9.0
    assert abs(float(lessons.student.weight.detach())) < 3.0


def test_a_course_goes_on_where_it_was_and_only_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "student.pt"
    first = teach(Line(), DistillationPlan(0.01, keep, "this"))
    capsys.readouterr()
    lessons = Line()
    longer = teach(lessons, DistillationPlan(0.03, keep, "this"))
    assert "going on with the student" in capsys.readouterr().err
    assert longer.steps > first.steps
    assert longer.seconds >= 1.8
    other = Line()
    teach(other, DistillationPlan(0.002, keep, "another"))
    assert "going on" not in capsys.readouterr().err
    keep.write_bytes(b"torn")
    teach(Line(), DistillationPlan(0.002, keep, "this"))
    assert "going on" not in capsys.readouterr().err
