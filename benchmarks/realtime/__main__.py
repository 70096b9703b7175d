"""python -m benchmarks.realtime: milliseconds per block against what a block lasts, at 32 … 2048 frames.

The shipped model and one of the size of Tanaka 2022 (random weights: only its speed is the question), both ways out,
with the knobs at rest and being turned so that every hop is edited. Writes report.md, report.json and figures.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.machine import machine, one_core
from benchmarks.realtime import report as realtime_report
from benchmarks.realtime.measure import measure
from benchmarks.realtime.subjects import SHIPPED, subjects
from realtime.bundle import BundleError, Precision
from realtime.hop.model import EngineError
from training.console import run_command
from training.data.options import Parser

REPORT, QUICK_REPORT = Path("benchmarks/reports/realtime"), Path("build/realtime/quick-report")
PAPER: tuple[Precision, ...] = ("fp32", "int8")
SHIPPED_SECONDS, PAPER_SECONDS, TURNS = 2.4, 0.9, 3  # per case, by the clock
QUICK_SECONDS = 0.15


def run(out: Path, provider: str, *, quick: bool) -> str:
    """Measure and write the report; returns its text."""
    started, load = time.monotonic(), [round(os.getloadavg()[0], 1)] if hasattr(os, "getloadavg") else []
    with subjects(PAPER[1:] if quick else PAPER) as played:
        seconds = {
            subject.name: QUICK_SECONDS if quick else SHIPPED_SECONDS if subject.name == SHIPPED else PAPER_SECONDS
            for subject in played
        }
        with one_core(collecting=True):
            cases = measure(played, seconds, 1 if quick else TURNS, provider)
    load += [round(os.getloadavg()[0], 1)] if load else []
    about = machine() | {"load": load, "seconds": round(time.monotonic() - started), "quick": quick}
    return realtime_report.write(out, cases, about)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.realtime", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds, one precision of the large model: to see whether it works"
    )
    parser.add_argument(
        "--provider",
        choices=("cpu", "cuda", "auto"),
        default="cpu",
        help="what the models run on; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, help=f"report; default: {REPORT}, with --quick {QUICK_REPORT}")
    options = parser.parse_args(arguments)
    out = options.out or (QUICK_REPORT if options.quick else REPORT)
    try:
        text = run(out, options.provider, quick=options.quick)
    except (BundleError, EngineError, OSError) as error:
        print(f"benchmarks.realtime: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(text)
    print(f"{out / 'report.md'} is written")
    return 0


if __name__ == "__main__":
    run_command(main)
