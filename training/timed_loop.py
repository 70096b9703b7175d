"""Gradient steps for a set time or number of steps: learning-rate schedule, clipping, best weights, kept state."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training.data.manifest import replace_file


@dataclass(frozen=True)
class Budget:
    """How long a loop runs.

    Parameters
    ----------
    seconds : time in all, earlier runs included; a loop takes at least one step, even if this is 0
    steps : if given, this many steps instead of the time
    """

    seconds: float = 0.0
    steps: int | None = None

    def used(self, steps: int, seconds: float) -> float:
        """Share of the budget that is used up after this many steps and seconds; 1 or more ends the loop."""
        if self.steps is not None:
            return steps / self.steps if self.steps else 1.0
        if self.seconds:
            return seconds / self.seconds
        return 1.0 if steps else 0.0


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a budget: a linear warm-up, then a decay.

    Parameters
    ----------
    learning_rate : Adam's, at its highest
    lowest : share of the learning rate that the decay does not go below
    warm_up_steps : steps over which the rate rises; 0 for none
    decay : "linear" or along half a "cosine", to zero at the end of the budget
    """

    learning_rate: float
    lowest: float = 0.0
    warm_up_steps: int = 0
    decay: Literal["linear", "cosine"] = "linear"

    def rate(self, steps: int, used: float) -> float:
        """The learning rate of the next step, after `steps` steps that used this share of the budget."""
        warm = min(1.0, (steps + 1) / self.warm_up_steps) if self.warm_up_steps else 1.0
        left = 1 - used if self.decay == "linear" else (1 + math.cos(math.pi * used)) / 2
        return self.learning_rate * warm * max(self.lowest, left)


class TimedLoop:
    """Adam steps on some parameters until a budget is used up.

    Only the gradients of `parameters` are computed, so a model that takes part in the loss keeps its own.

    Parameters
    ----------
    parameters : what is trained
    budget, schedule : how long, and how fast
    clip : largest norm of the gradient; None does not clip

    Attributes
    ----------
    steps, seconds : taken so far, earlier runs included
    """

    def __init__(
        self, parameters: Iterable[Tensor], budget: Budget, schedule: Schedule, *, clip: float | None = None
    ) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.budget, self.schedule, self.clip = budget, schedule, clip
        self.optimizer = torch.optim.Adam(self.parameters, lr=schedule.learning_rate)
        self.steps, self.seconds = 0, 0.0

    @property
    def used(self) -> float:
        """Share of the budget that is used up."""
        return self.budget.used(self.steps, self.seconds)

    def run(
        self,
        loss: Callable[[], Tensor],
        *,
        after_step: Callable[[float], None] = lambda value: None,
        pause_after: float | None = None,
    ) -> None:
        """Take steps until the budget is used up.

        Parameters
        ----------
        loss : the loss of the next batch
        after_step : called with the loss of every step
        pause_after : return after this many seconds, but not before one step; None does not pause
        """
        before = self.seconds
        started = time.monotonic()
        while self.used < 1:
            value = self._step(loss)
            self.seconds = before + time.monotonic() - started
            after_step(value)
            if pause_after is not None and self.seconds - before >= pause_after:
                return

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What happens inside counts as time of the loop."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started

    def _step(self, loss: Callable[[], Tensor]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.steps, self.used)
        value = loss()
        gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        self.steps += 1
        return float(value.detach())


class Best:
    """The weights of a module that had the least loss so far; of equal ones the first.

    Attributes
    ----------
    loss : that loss
    weights : the module's state dict at that time
    """

    def __init__(self, loss: float, module: nn.Module) -> None:
        self.loss, self.weights = loss, _copied(module)

    def offer(self, loss: float, module: nn.Module) -> None:
        """Keep the module's weights if this loss is less than the least so far."""
        if loss < self.loss:
            self.loss, self.weights = loss, _copied(module)


class Interval:
    """Says when so many seconds have passed since it last said so."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, 0.0

    def due(self, now: float) -> bool:
        """Whether it is time again.  now : seconds since the beginning"""
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def save_state(path: Path, of: str, loop: TimedLoop, module: nn.Module, best: Best) -> None:
    """Write what `load_state` needs to go on. A kill while it is written leaves the old file or the new one.

    Parameters
    ----------
    of : what the loop trains, so that the state of another loop is not taken up
    """
    progress = {"steps": loop.steps, "seconds": loop.seconds, "best": best.loss, "weights": best.weights}
    content: dict[str, Any] = {"of": of, "state": progress, "student": module.state_dict()}
    buffer = io.BytesIO()
    torch.save(content | {"optimizer": loop.optimizer.state_dict()}, buffer)
    replace_file(path, buffer.getbuffer())


def load_state(path: Path, of: str, loop: TimedLoop, module: nn.Module, best: Best) -> bool:
    """Go on from a file of `save_state`: fills in loop, module and best.

    Returns
    -------
    bool
        False if there is no readable state of this very loop; the loop then begins anew.
    """
    if not path.is_file():
        return False
    try:
        content = torch.load(path, weights_only=True)
        if content["of"] != of:
            return False
        progress = content["state"]
        steps, seconds = int(progress["steps"]), float(progress["seconds"])
        loss, weights = float(progress["best"]), dict(progress["weights"])
        module.load_state_dict(content["student"])
        loop.optimizer.load_state_dict(content["optimizer"])
    except Exception:  # torch raises many kinds for a torn file; the loop then begins anew
        return False
    loop.steps, loop.seconds, best.loss, best.weights = steps, seconds, loss, weights
    return True


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
