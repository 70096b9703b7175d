"""The timed loop: budgets, the learning rate over them, clipping, best weights, and a state to go on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.timed_loop import Best, Budget, Schedule, TimedLoop, load_state, save_state


class _Line(nn.Module):
    """One weight, whose loss is least at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def loss(self) -> Tensor:
        return (self.weight - 3).square().sum()


@pytest.mark.parametrize("steps", [0, 1, 25])
def test_a_budget_of_steps_takes_exactly_these(steps: int) -> None:
    line = _Line()
    loop = TimedLoop(line.parameters(), Budget(steps=steps), Schedule(0.1))
    loop.run(line.loss)
    assert loop.steps == steps


def test_a_budget_of_seconds_takes_at_least_one_step() -> None:
    line = _Line()
    for seconds in (0.0, 0.2):
        loop = TimedLoop(line.parameters(), Budget(seconds), Schedule(0.1))
        loop.run(line.loss)
        assert loop.steps >= 1
        assert loop.seconds >= seconds
    assert loop.steps > 10


def test_the_rate_warms_up_and_decays() -> None:
    linear, cosine = Schedule(0.2, 0.1, 4), Schedule(0.2, decay="cosine")
    assert [linear.rate(step, 0.0) for step in range(5)] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2])
    assert [linear.rate(9, used) for used in (0.5, 0.95, 1.0)] == pytest.approx([0.1, 0.02, 0.02])
    assert [cosine.rate(0, used) for used in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.1, 0.0])


def test_cosine_decay_is_torchs() -> None:
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], 0.1)
    torchs, ours = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 30), Schedule(0.1, decay="cosine")
    for step in range(30):
        assert adam.param_groups[0]["lr"] == pytest.approx(ours.rate(step, step / 30))
        adam.step()
        torchs.step()


def test_gradients_are_clipped_and_stay_out_of_what_is_not_trained() -> None:
    line, other = _Line(), nn.Parameter(torch.ones(1))
    loop = TimedLoop(line.parameters(), Budget(steps=1), Schedule(0.1), clip=0.5)
    loop.run(lambda: line.loss() * 100 + other.sum())
    assert line.weight.grad is not None
    assert float(line.weight.grad.norm()) == pytest.approx(0.5, rel=1e-4)
    assert other.grad is None


def test_the_best_weights_are_the_first_with_the_least_loss() -> None:
    line = _Line()
    best = Best(9.0, line)
    for weight, loss in ((1.0, 4.0), (2.0, 1.0), (4.0, 1.0), (5.0, 4.0)):
        with torch.no_grad():
            line.weight.fill_(weight)
        best.offer(loss, line)
    assert (best.loss, best.weights["weight"].item()) == (1.0, 2.0)


def test_a_kept_state_continues_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def fresh() -> tuple[_Line, TimedLoop, Best]:
        line = _Line()
        return line, TimedLoop(line.parameters(), Budget(steps=20), Schedule(0.1, warm_up_steps=5)), Best(9.0, line)

    line, whole, _ = fresh()
    whole.run(line.loss)
    first, loop, best = fresh()
    path = tmp_path / "kept.pt"

    def stop(value: float) -> None:
        if loop.steps == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(first.loss, after_step=stop)
    best.offer(2.0, first)
    save_state(path, "this", loop, first, best)
    second, loop, best = fresh()
    assert not load_state(path, "another", loop, second, best)
    assert not load_state(tmp_path / "none.pt", "this", loop, second, best)
    assert load_state(path, "this", loop, second, best)
    assert (loop.steps, best.loss) == (8, 2.0)
    loop.run(second.loss)
    assert torch.equal(second.weight, line.weight)
    path.write_bytes(b"torn")
    assert not load_state(path, "this", loop, second, best)
