"""python -m benchmarks.papers: the papers' tables on a public data set, on two CPU cores.

Renders FluidR3 GM (or the SoundFont there is), trains a small model for every row, evaluates them all and writes
report.md with the papers' figures beside ours. Whatever was finished before is kept: a run that was stopped continues
with the row, and within it with the epoch, that is missing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.papers.report import report
from benchmarks.papers.rows import rows
from benchmarks.papers.workshop import PapersError, Workshop, render, train_all
from training.checkpoint import CheckpointError
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.papers", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--work", type=Path, default=Path("build/papers"), help="data and models; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/reports/papers"), help="report; default: %(default)s"
    )
    parser.add_argument(
        "--soundfont", type=Path, help="default: FluidR3 GM if installed, else the small one inside pretty_midi"
    )
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="rows trained at a time; default: %(default)s"
    )
    parser.add_argument("--rows", help="only these, separated by commas; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the evaluation")
    options = parser.parse_args(arguments)
    known = {row.name: row for row in rows()}
    names = options.rows.split(",") if options.rows else list(known)
    unknown = [name for name in names if name not in known]
    if unknown or options.jobs < 1:
        reason = (
            f"there is no row {unknown[0]!r}; there are {', '.join(known)}"
            if unknown
            else f"--jobs {options.jobs} must be at least 1"
        )
        print(f"benchmarks.papers: {reason}", file=sys.stderr)
        return 2
    shop, chosen = Workshop(options.work), [known[name] for name in names]
    try:
        render(shop, options.soundfont)
        train_all(shop, chosen, options.jobs)
        report(shop, chosen, options.out, seed=options.seed)
    except (PapersError, DataError, CheckpointError, OSError) as error:
        print(f"benchmarks.papers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    print(f"{options.out / 'report.md'} is written")
    return 0


if __name__ == "__main__":
    run_command(main)
