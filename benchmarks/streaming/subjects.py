"""The models of `benchmarks.streaming`: small trained ones, the shipped one, and those of the papers' sizes.

The small ones are trained if they are missing.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.papers.rows import rows
from benchmarks.papers.workshop import PapersError, Workshop, render, train_all
from benchmarks.streaming.ways import Subject
from training.checkpoint import SYSTEMS, Checkpoint, load_checkpoint
from training.data.manifest import read_dataset
from training.features import FeatureConfig
from training.models.metric import MetricVAE
from training.models.perturbation import PerturbationVAE
from training.train import recipe

LIVE = Path(__file__).resolve().parents[2] / "training/checkpoints/live.pt"
LIVE_SOUNDS = (
    "--sample-rate=44100",
    f"--notes={','.join(map(str, range(36, 85, 4)))}",
    "--velocities=60,110",
    "--split=0.6,0.1,0.3",
)


@dataclass(frozen=True)
class Trained:
    """A system's row of `benchmarks.papers.rows`.  share, lookahead_share : of the minutes asked for"""

    title: str
    row: str
    share: float
    lookahead_share: float = 0.0


TRAINED = {
    "s1": Trained("S1 (2022), small", "s1-three-pitched", 1.0, 0.2),
    "s2": Trained("S2 (2021), small", "s2-metric", 0.4),
    "s3": Trained("S3 (2019), small", "s3-all-labels", 1.0),
}
PAPERS = {  # title, kind, recipe
    "paper": ("S1 (2022), the paper's size", PerturbationVAE.KIND, "tanaka2022"),
    "s2-paper": ("S2 (2021), the paper's size", MetricVAE.KIND, "tanaka2021"),
}
NAMES = (*TRAINED, "live", *PAPERS)


def prepare(shop: Workshop, names: tuple[str, ...], minutes: float, soundfont: Path | None, jobs: int) -> list[Subject]:
    """Sounds and models, rendered and trained if they are not there.  minutes : of the longest distillation"""
    known = {row.name: row for row in rows()}
    trained = {name: TRAINED[name] for name in names if name in TRAINED}
    if trained:
        render(shop, soundfont)
        train_all(shop, [known[one.row] for one in trained.values()], jobs)
    found = []
    for name in names:
        if name in trained:
            one, path = trained[name], shop.checkpoint(known[trained[name].row])
            checkpoint = _on_sounds(load_checkpoint(path), shop.sounds)
            found.append(Subject(name, one.title, checkpoint, path, one.share * minutes, one.lookahead_share * minutes))
        elif name in PAPERS:
            title, kind, config = PAPERS[name]
            found.append(Subject(name, title, untrained(kind, config), None))
        else:
            found.append(
                Subject(name, "S1, shipped", _on_sounds(load_checkpoint(LIVE), _live_sounds(shop, soundfont)), LIVE)
            )
    return found


def _on_sounds(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with its data set where it is now."""
    return replace(checkpoint, info=checkpoint.info | {"data": str(folder)})


def _live_sounds(shop: Workshop, soundfont: Path | None) -> Path:
    """A small data set at the shipped model's rate."""
    out = shop.folder / "sounds-44100"
    command = [sys.executable, "-m", "training.data.soundfont", f"--out={out}", "--no-percussion", *LIVE_SOUNDS]
    command += [f"--soundfont={soundfont}"] if soundfont else []
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise PapersError(f"rendering {out} failed (exit code {done.returncode}); see above")
    read_dataset(out)
    return out


def untrained(kind: str, name: str) -> Checkpoint:
    """A recipe's model with random weights; the causal one where it could be bidirectional."""
    settings: dict[str, Any] = yaml.safe_load(recipe(name).read_text(encoding="utf-8"))
    arguments = settings["model"]["init_args"]
    features = FeatureConfig(**arguments["features"])
    given = {key: getattr(features, key) for key in ("bins", "sample_rate", "log_floor")} | {"bidirectional": False}
    make_config, make_model = SYSTEMS[kind]
    fields = make_config.__dataclass_fields__
    torch.manual_seed(0)
    model = make_model(
        make_config(**arguments["model"] | {key: value for key, value in given.items() if key in fields})
    )
    return Checkpoint(features, model.eval(), {})
