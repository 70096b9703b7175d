"""python -m benchmarks.pipeline --data DIR --out DIR: does the input pipeline keep up with training, and with a GPU?

*Loading* is what the loader's workers do: read and crop, distort, draw the model's noise, collate. *Training* is
features (pitch shift by frequency warp, STFT, cepstral split), the model forward and backward, and the optimiser's
update. *Straightforward* is the same input made sound by sound with librosa's pitch_shift and STFT and a cepstrum by
FFT, with the same effects, in one process.

Costs are processor time per example in one thread, all parts taking turns, so that ratios hold on a busy machine; rates
by the clock beside them depend on what else runs. A recipe takes the data set of its rate, so `--data` may name
several. Where other work keeps the machine busy, set OMP_WAIT_POLICY=PASSIVE: threads that spin while they wait for
each other spend their time.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks.pipeline.measured import PAPER_SIZE, RECIPES, Measured, measure
from benchmarks.pipeline.precision import Precision, compare_precision
from benchmarks.pipeline.report import as_markdown
from training.console import run_command
from training.data.manifest import DataError, read_dataset
from training.data.options import Parser, number
from training.evaluation.report import command_line, environment, write_report
from training.features import RecipeError
from training.train import recipe


def data_of(name: str, directories: list[Path]) -> Path:
    """The data set of the recipe's rate."""
    wanted = yaml.safe_load(recipe(name).read_text(encoding="utf-8"))["model"]["init_args"]["features"]["sample_rate"]
    rates = {directory: read_dataset(directory).sample_rate for directory in directories}
    for directory, rate in rates.items():
        if rate == wanted:
            return directory
    found = ", ".join(f"{directory} {rate} Hz" for directory, rate in rates.items())
    raise DataError(
        f"{name} needs a data set at {wanted} Hz, given: {found}; add one to --data, or choose other --recipes"
    )


def as_json(measured: dict[str, Measured], precision: Precision | None) -> dict[str, Any]:
    """Everything that was measured."""
    recipes = {name: asdict(found) for name, found in measured.items()}
    return {"recipes": recipes, "precision": asdict(precision) if precision else None}


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m benchmarks.pipeline", description="The input pipeline and the training step, side by side."
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="data sets, one per sample rate of the recipes"
    )
    parser.add_argument("--out", type=Path, help="folder for report.md and report.json")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument(
        "--rounds",
        type=number(1, 1000, int),
        default=6,
        help="measured batches per part, a third for the paper-size model",
    )
    parser.add_argument(
        "--batches", type=number(2, 10000, int), default=24, help="measured batches of the loader alone"
    )
    parser.add_argument("--batch", type=number(1, 1024, int), help="sounds per measured step; default: the recipe's")
    parser.add_argument(
        "--paper-batch", type=number(1, 1024, int), default=2, help="sounds per step of the paper-size model"
    )
    parser.add_argument(
        "--seeds",
        type=number(0, 100, int),
        default=3,
        help="pairs of trainings that compare float32 and bfloat16; 0 none",
    )
    options = parser.parse_args(arguments)
    started, load = time.monotonic(), [os.getloadavg()]
    try:
        places = {name: data_of(name, options.data) for name in options.recipes}
        measured = {name: measure(name, place, options) for name, place in places.items()}
        precision = compare_precision("smoke", data_of("smoke", options.data), options.seeds) if options.seeds else None
    except (DataError, RecipeError, OSError) as error:
        print(f"benchmarks.pipeline: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    load.append(os.getloadavg())
    about = environment() | {
        "command": command_line("python -m benchmarks.pipeline", arguments if arguments is not None else sys.argv[1:]),
        "seconds": round(time.monotonic() - started),
        "load_before": round(load[0][0], 1),
        "load_after": round(load[1][0], 1),
    }
    paper = measured.get(PAPER_SIZE)
    text = as_markdown(__doc__ or "", about, measured, paper, precision)
    if options.out:
        write_report(options.out, text, {"about": about} | as_json(measured, precision))
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
