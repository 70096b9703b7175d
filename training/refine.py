"""python -m training.refine mine.pt --data DIR --out better.pt --minutes 12

Teaches the decoder of a causal model to follow knobs that are turned while it plays (`training.following`). The
encoders, and with them every latent, axis and preset, stay as they are to the bit. What the decoder draws is measured
anew by `training.release --keep-knobs`.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_slim
from training.console import run_command, typed
from training.data.manifest import DataError
from training.data.options import Parser, number
from training.evaluation.measurement import known_to, read_matching
from training.evaluation.report import command_line
from training.following import Following
from training.models.perturbation import PerturbationVAE
from training.timed_loop import Budget, Interval, Schedule, TimedLoop

LEARNING_RATE = 1e-3
LOWEST_RATE = 0.01  # share of the learning rate at the end
WARM_UP_STEPS = 20
CLIP = 1.0  # of the gradient's norm
LINE_SECONDS = 60.0  # between lines of progress


@dataclass(frozen=True)
class RefinementPlan:
    """How long is learnt: so many minutes, or so many steps, which with the same seed are the same steps every time."""

    minutes: float = 12.0
    steps: int = 0
    seed: int = 0
    learning_rate: float = LEARNING_RATE


def refine(source: Path, data: Path, out: Path, course: RefinementPlan, *, command: str) -> dict[str, object]:
    """Write `out`; return what is told of the refinement in its `info`.

    Raises
    ------
    CheckpointError, DataError
        With one sentence; nothing was written then.
    """
    checkpoint = load_checkpoint(source)
    model = _refinable(checkpoint, source)
    sounds = known_to(checkpoint, read_matching(data, checkpoint), "train")
    if len(sounds) < 2:
        raise DataError(
            f"{data} has {len(sounds)} training sounds for this model; timbres are switched between at "
            "least 2, so make the data set from more sounds"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    steps = _teach(Following(model, checkpoint.features, sounds, checkpoint.knobs, course.seed), course)
    about: dict[str, object] = {
        "command": command,
        "seed": course.seed,
        "steps": steps,
        "training_seconds": round(time.monotonic() - started, 1),
    }
    about |= {"torch": str(torch.__version__)} | (
        {"after": earlier} if (earlier := checkpoint.info.get("refinement")) else {}
    )
    save_slim(dataclasses.replace(checkpoint, info=checkpoint.info | {"refinement": about}), out)
    load_checkpoint(out)  # it must come back, without running code
    return about


def _refinable(checkpoint: Checkpoint, source: Path) -> PerturbationVAE:
    model = checkpoint.model
    if not isinstance(model, PerturbationVAE) or model.config.bidirectional or "timbre" not in model.latent_sizes:
        raise CheckpointError(
            f"{source} is no causal random-perturbation VAE with a timbre latent, so its decoder cannot be refined; "
            "export it as it is"
        )
    return model


def _teach(lessons: Following, course: RefinementPlan) -> int:
    """Train the decoder for the course; returns the number of steps.

    Raises
    ------
    CheckpointError
        If the loss is not a number.
    """
    budget = Budget(60 * course.minutes, course.steps or None)
    schedule = Schedule(course.learning_rate, LOWEST_RATE, WARM_UP_STEPS)
    loop = TimedLoop(lessons.taught(), budget, schedule, clip=CLIP)
    line, mean = Interval(LINE_SECONDS), 0.0

    def after_step(loss: float) -> None:
        nonlocal mean
        mean += (loss - mean) / min(loop.steps, 100)
        if not mean < float("inf"):
            raise CheckpointError(
                f"the loss is {mean} after {loop.steps} steps, so nothing was written; the checkpoint may be damaged"
            )
        if line.due(loop.seconds):
            told = f"{loop.used:.0%} after {loop.seconds / 60:.0f} min and {loop.steps} steps, loss {mean:.4f}"
            print(f"refining: {told}", file=sys.stderr, flush=True)

    loop.run(lessons.loss, after_step=after_step)
    return loop.steps


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m training.refine", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument(
        "--minutes",
        type=number(0.001, 7 * 24 * 60),
        default=RefinementPlan.minutes,
        metavar="M",
        help="how long it learns (%(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=number(1, 10**9, int),
        default=0,
        metavar="N",
        help="instead: so many steps, the same every time",
    )
    parser.add_argument(
        "--seed",
        type=number(0, 2**32 - 1, int),
        default=0,
        metavar="N",
        help="of sounds, switches and noise (%(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=number(1e-7, 1),
        default=LEARNING_RATE,
        metavar="R",
        help="Adam's, at the beginning (%(default)s)",
    )
    options = parser.parse_args(words)
    command = command_line("python -m training.refine", words)
    try:
        course = RefinementPlan(options.minutes, options.steps, options.seed, options.learning_rate)
        about = refine(options.checkpoint, options.data, options.out, course, command=command)
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.refine: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {about['steps']} steps in {about['training_seconds']} s; the encoders are as they were")
    again = ("training.release", options.out, "--data", options.data, "--out", options.out, "--keep-knobs")
    print(f"measure what it draws now with: {typed('python', '-m', *again)}")
    return 0


if __name__ == "__main__":
    run_command(main)
