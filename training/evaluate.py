"""python -m training.evaluate ckpt.pt [more.pt …] --data DIR --out DIR: the tables and figures of the papers, for
models of any system.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser, number
from training.evaluation.report import command_line, environment, short_names, write_report

ONLY_S1 = ("split", "train_sounds", "seconds", "sequences")


@dataclass(frozen=True)
class System:
    """Who evaluates a kind of model: `function` of the module, called with checkpoints, data, out, and these
    options.
    """

    title: str
    module: str
    function: str
    options: tuple[str, ...] = ("seed", "test_sounds")
    needs_folder: bool = True  # for its figures, even if nobody keeps them


SYSTEMS = {
    "perturbation_vae": System(
        "S1, random perturbation (Tanaka 2022)",
        "training.evaluation.perturbation.evaluate",
        "evaluate_perturbation",
        options=("seed", "test_sounds", *ONLY_S1),
        needs_folder=False,
    ),
    "metric_vae": System("S2, metric learning (Tanaka 2021)", "training.evaluation.metric.evaluate", "evaluate_metric"),
    "mixture_vae": System(
        "S3, Gaussian mixtures (Luo 2019)", "training.evaluation.mixture.evaluate", "evaluate_mixture"
    ),
}


def evaluate(
    checkpoints: dict[str, Checkpoint], data: Path, out: Path | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Every system's models in one table of its own.

    Raises
    ------
    DataError
        With one sentence.
    """
    text, results = "", {}
    for kind in dict.fromkeys(checkpoint.model.KIND for checkpoint in checkpoints.values()):
        system = SYSTEMS[kind]
        chosen = {name: checkpoint for name, checkpoint in checkpoints.items() if kind == checkpoint.model.KIND}
        function = getattr(importlib.import_module(system.module), system.function)
        with tempfile.TemporaryDirectory() as unkept:
            folder = Path(unkept) if out is None and system.needs_folder else out
            section, results[kind] = function(chosen, data, folder, **{name: options[name] for name in system.options})
        text += f"# {system.title}\n\n{section}\n"
    return text, results


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options that say how much is measured."""
    parser.add_argument(
        "--train-sounds",
        type=number(1, 10**7, int),
        default=6000,
        metavar="N",
        help="neighbours to compare with, at most (6000)",
    )
    parser.add_argument("--test-sounds", type=number(1, 10**7, int), default=1500, metavar="N", help="at most (1500)")
    parser.add_argument(
        "--seconds", type=number(0.01, 60), default=2.0, metavar="S", help="of every sound, from its beginning (2)"
    )
    parser.add_argument(
        "--seed",
        type=number(0, 2**32 - 1, int),
        default=0,
        metavar="N",
        help="of every draw: sounds, pairs, bootstrap (0)",
    )


def sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Those options, as keyword arguments."""
    return {name: getattr(options, name) for name in ("train_sounds", "test_sounds", "seconds", "seed")}


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    started = time.monotonic()
    try:
        if options.out and options.out.exists() and not options.out.is_dir():
            raise DataError(f"{options.out} is a file; give --out a folder")
        if options.device == "cuda" and not torch.cuda.is_available():
            raise DataError("there is no CUDA device here; leave --device out, or give --device cpu")
        checkpoints = _load(options.checkpoints, options.device)
        text, results = evaluate(checkpoints, options.data, options.out, vars(options))
        about = {
            "command": command_line("python -m training.evaluate", words),
            "data": options.data.resolve().name,
            "split": options.split,
        }
        about |= {**sizes(options), "machine": environment() | {"device": options.device}}
        about["duration_seconds"] = round(time.monotonic() - started, 1)
        text += (
            f"\nData {about['data']}, split {options.split}, seed {options.seed}; {about['duration_seconds']} s: "
            f"`{about['command']}`\n"
        )
        if options.out:
            write_report(options.out, text, about | {"results": results})
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.evaluate: {error}", file=sys.stderr)
        return 2
    print("\n".join(line for line in text.splitlines() if not line.startswith("![")))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument(
        "--out", type=Path, help="writes report.md, report.json and figures there; without it, prints the tables only"
    )
    parser.add_argument(
        "--split", choices=("validation", "test"), default="test", help="which sounds S1 is measured on (test)"
    )
    parser.add_argument(
        "--sequences", type=Path, metavar="DIR", help="phrases with pitch tracks: S1's table on them too"
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default, help=f"for S1's models ({default} here)")
    add_sizes(parser)
    return parser


def _load(paths: list[Path], device: str) -> dict[str, Checkpoint]:
    """By the shortest names that tell them apart."""
    checkpoints = {}
    for name, path in zip(short_names(paths), paths, strict=True):
        checkpoint = load_checkpoint(path)
        if checkpoint.model.KIND not in SYSTEMS:
            raise CheckpointError(
                f"{path} is of kind {checkpoint.model.KIND}, which has no evaluation; there is one for "
                f"{', '.join(SYSTEMS)}"
            )
        if checkpoint.model.KIND == "perturbation_vae":
            assert isinstance(checkpoint.model, torch.nn.Module)
            checkpoint.model.to(device)
        checkpoints[name] = checkpoint
    return checkpoints


if __name__ == "__main__":
    run_command(main)
