"""python -m training.refine mine.pt --data DIR --out better.pt --minutes 12

Teaches the decoder of a causal model to follow knobs that are turned while it plays (`training.following`). The
encoders, and with them every latent, axis and preset, stay as they are to the bit. What the decoder draws is measured
anew by `training.release --keep-knobs`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_slim
from training.data.manifest import DataError
from training.data.options import number
from training.evaluation.measurement import read_matching
from training.evaluation.report import command_line
from training.following import Following
from training.models.perturbation import PerturbationVAE

LEARNING_RATE, LOWEST_RATE = 1e-3, 0.01  # and the share of it that is left at the end
WARM_UP_STEPS = 20
CLIP = 1.0  # of the gradient's norm
LINE_SECONDS = 60.0  # between lines of progress


@dataclass(frozen=True)
class Course:
    """How long is learnt: so many minutes, or so many steps, which with the same seed are the same steps every time."""

    minutes: float = 12.0
    steps: int = 0
    seed: int = 0
    learning_rate: float = LEARNING_RATE


def refine(source: Path, data: Path, out: Path, course: Course, *, command: str) -> dict[str, object]:
    """Write `out`; return what is told of the refinement in its `info`.

    Raises
    ------
    CheckpointError, DataError
        With one sentence; nothing was written then.
    """
    checkpoint = load_checkpoint(source)
    model = _refinable(checkpoint, source)
    sounds = read_matching(data, checkpoint).select(split="train", **checkpoint.selection)
    if len(sounds) < 2:
        raise DataError(
            f"{data} has {len(sounds)} training sounds for this model; timbres are switched between at least 2"
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


def _teach(lessons: Following, course: Course) -> int:
    """At least one step; returns how many it were.

    Raises
    ------
    CheckpointError
        If the loss is not a number.
    """
    optimizer = torch.optim.Adam(lessons.taught(), lr=course.learning_rate)
    started, said, steps, mean, done = time.monotonic(), 0.0, 0, 0.0, 0.0
    while done < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = course.learning_rate * min(1.0, (steps + 1) / WARM_UP_STEPS) * max(LOWEST_RATE, 1 - done)
        loss = lessons.loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(lessons.taught(), CLIP)
        optimizer.step()
        steps += 1
        mean += (float(loss.detach()) - mean) / min(steps, 100)
        if not mean < float("inf"):
            raise CheckpointError(
                f"the loss is {mean} after {steps} steps, so nothing was written; the checkpoint may be damaged"
            )
        seconds = time.monotonic() - started
        done = steps / course.steps if course.steps else seconds / (60 * course.minutes)
        if seconds - said >= LINE_SECONDS:
            said = seconds
            print(
                f"refining: {done:.0%} after {seconds / 60:.0f} min and {steps} steps, loss {mean:.4f}",
                file=sys.stderr,
                flush=True,
            )
    return steps


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m training.refine", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument(
        "--minutes",
        type=number(0.001, 7 * 24 * 60),
        default=Course.minutes,
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
        course = Course(options.minutes, options.steps, options.seed, options.learning_rate)
        about = refine(options.checkpoint, options.data, options.out, course, command=command)
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.refine: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {about['steps']} steps in {about['training_seconds']} s; the encoders are as they were")
    print(
        f"measure what it draws now with: python -m training.release {options.out} --data {options.data} --out "
        f"{options.out} --keep-knobs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
