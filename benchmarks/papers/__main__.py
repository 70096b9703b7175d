"""python -m benchmarks.papers: the papers' tables on a public data set, on two CPU cores.

Renders FluidR3 GM (or the SoundFont there is), trains a small model for every row, evaluates them all and writes
report.md with the papers' figures beside ours. Whatever was finished before is kept: a run that was stopped continues
with the row, and within it with the epoch, that is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.papers.report import report
from benchmarks.papers.rows import PHRASES, PROGRAMS, SAMPLE_RATE, VELOCITIES, Row, rows
from training.checkpoint import CheckpointError, load_checkpoint
from training.data.manifest import DataError, read_dataset, replace_file
from training.train import recipe


class PapersError(Exception):
    """A step that failed; the message says which and where its log is."""


@dataclass(frozen=True)
class Workshop:
    """Where data and models are made; everything in it can be made again."""

    folder: Path

    @property
    def sounds(self) -> Path:
        return self.folder / "sounds"

    @property
    def phrases(self) -> Path:
        return self.folder / "phrases"

    def row_folder(self, name: str) -> Path:
        return self.folder / "rows" / name

    def row(self, row: Row) -> Path:
        return self.row_folder(row.name)

    def checkpoint(self, row: Row) -> Path:
        return self.row(row) / "checkpoints/best.pt"

    def finished(self, row: Row) -> bool:
        """Whether this row was trained to its end, as it is asked for now."""
        record = self.row(row) / "done.json"
        return (
            self.checkpoint(row).is_file()
            and record.is_file()
            and json.loads(record.read_text(encoding="utf-8")).get("row") == described(row)
        )


def described(row: Row) -> dict[str, Any]:
    """What a trained row depends on, beside the data; a recipe's comments do not count."""
    return {
        "recipe": yaml.safe_load(recipe(row.recipe).read_text(encoding="utf-8")),
        "options": list(row.options),
        "phrases": row.phrases,
    }


def render(shop: Workshop, soundfont: Path | None) -> None:
    """The two data sets; those that are complete cost nothing."""
    font = [f"--soundfont={soundfont}"] if soundfont else []
    common = [f"--programs={PROGRAMS}", f"--sample-rate={SAMPLE_RATE}", *font]
    for module, out, options in (
        ("training.data.soundfont", shop.sounds, [f"--velocities={VELOCITIES}"]),
        ("training.data.sequences", shop.phrases, [f"--phrases={PHRASES}"]),
    ):
        done = subprocess.run([sys.executable, "-m", module, f"--out={out}", *common, *options], check=False)
        if done.returncode:
            raise PapersError(f"python -m {module} failed (exit code {done.returncode}); see above")
        read_dataset(out)


def train(shop: Workshop, row: Row, threads: int) -> None:
    """Train one row to its end, from where it was."""
    if shop.finished(row):
        return
    folder = shop.row(row)
    folder.mkdir(parents=True, exist_ok=True)
    started_as, last = folder / "row.json", folder / "checkpoints/last.pt"
    wanted = json.dumps(described(row))
    if (
        not started_as.is_file() or started_as.read_text(encoding="utf-8") != wanted
    ):  # begun as something else, or not at all
        for old in (folder / "checkpoints").glob("*.pt"):
            old.unlink()
        replace_file(started_as, wanted.encode())
    command = [
        sys.executable,
        "-m",
        "training.train",
        "fit",
        f"--config={recipe(row.recipe)}",
        f"--data.directory={shop.sounds}",
        *row.options,
    ]
    command += [
        f"--trainer.default_root_dir={folder}",
        "--trainer.logger=false",
        "--trainer.enable_progress_bar=false",
        "--data.workers=0",
    ]
    command += [f"--data.sequences={shop.phrases}"] if row.phrases else []
    command += [f"--ckpt_path={last}"] if last.is_file() else []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with (folder / "train.log").open("ab") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise PapersError(f"training {row.name} failed (exit code {done.returncode}); see {folder / 'train.log'}")
    info = load_checkpoint(last).info
    took = {"steps": info["step"], "training_seconds": info["training_seconds"]}
    replace_file(folder / "done.json", json.dumps({"row": described(row), **took}).encode())


def train_all(shop: Workshop, chosen: Iterable[Row], jobs: int) -> None:
    """All rows, several at a time, one thread each where there are several."""
    missing = [row for row in chosen if not shop.finished(row)]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    started, done = time.monotonic(), 0
    with ThreadPoolExecutor(jobs) as pool:
        for row, _ in zip(missing, pool.map(lambda row: train(shop, row, threads), missing), strict=True):
            done += 1
            print(
                f"{row.name}: trained ({done} of {len(missing)}, {(time.monotonic() - started) / 60:.0f} min)",
                flush=True,
            )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers", description=(__doc__ or "").partition("\n\n")[2]
    )
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
    sys.exit(main())
