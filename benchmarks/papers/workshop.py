"""Where the papers' models are made: the data sets, and a training for every row."""

from __future__ import annotations

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

from benchmarks.papers.rows import PHRASES, PROGRAMS, SAMPLE_RATE, VELOCITIES, Row
from training.checkpoint import load_checkpoint
from training.data.manifest import read_dataset, replace_file
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
    # Begun with another recipe or other options, or not at all.
    if not started_as.is_file() or started_as.read_text(encoding="utf-8") != wanted:
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
