"""S2 as a user trains it, on real notes and on data it refuses."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from training.checkpoint import load_checkpoint
from training.models.metric import MetricVAE
from training.train import main, recipe


def arguments(data: Path, root: Path, *more: str) -> list[str]:
    options = {
        "directory": data,
        "segment_seconds": 0.4,
        "steps_per_epoch": 4,
        "pitches": "[60, 78]",
        "held_out_instruments": "[2, 2]",
        "programs": "null",
    }
    model = {"hidden": 12, "decoder_hidden": 12, "shared": 10, "latent_dim": 4}
    words = [f"--data.{key}={value}" for key, value in options.items()] + [
        f"--model.model.{key}={value}" for key, value in model.items()
    ]
    trainer = [
        f"--trainer.default_root_dir={root}",
        "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.accelerator=cpu",
    ]
    return [
        "fit",
        f"--config={recipe('tanaka2021-small')}",
        "--model.features.sample_rate=44100",
        "--model.alpha=0.8",
        "--model.beta=0.8",
        *words,
        *trainer,
        *more,
    ]


def test_the_recipe_trains_and_its_checkpoint_reads(tiny_data: Path, tmp_path: Path) -> None:
    assert main(arguments(tiny_data, tmp_path)) == 0
    checkpoint = load_checkpoint(tmp_path / "lightning_logs/version_0/checkpoints/last.pt")
    assert isinstance(checkpoint.model, MetricVAE)
    assert checkpoint.model.config.log_floor == checkpoint.features.log_floor
    assert checkpoint.features.level == "power"
    assert checkpoint.info["alpha"] > 0
    assert checkpoint.selection["held_out_instruments"] == [2, 2]


def unlabelled(data: Path, out: Path, column: str, value: str) -> Path:
    """A copy of a data set in which every third sound lacks a label."""
    shutil.copytree(data, out)
    with (out / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::3]:
        row[column] = value
    with (out / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return out


def test_wrong_data_ends_in_a_sentence(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ("--data.pitches=null", "--data.held_out_instruments=null")
    cases: list[tuple[Path, tuple[str, ...], list[str]]] = [
        (tiny_data, (*whole, "--data.instruments=[Violin]"), ["all training sounds are of Violin", "two instruments"]),
        (
            unlabelled(tiny_data, tmp_path / "a", "pitch", ""),
            whole,
            ["sounds have no pitch", "alpha=0.8", "data.pitches"],
        ),
        (
            unlabelled(tiny_data, tmp_path / "b", "instrument", "unlabelled"),
            whole,
            ["sounds have no instrument", "beta=0.8"],
        ),
        (tiny_data, ("--data.held_out_instruments=[4, 4]",), ["held_out_instruments=[4, 4]", "hold out fewer"]),
    ]
    for data, more, words in cases:
        assert main(arguments(data, tmp_path / "run", *more)) == 2
        told = capsys.readouterr().err.strip()
        assert told.count("\n") == 0
        assert all(word in told for word in words), told


def test_the_vanilla_row_needs_no_labels(tiny_data: Path, tmp_path: Path) -> None:
    data = unlabelled(tiny_data, tmp_path / "data", "pitch", "")
    plain = (
        "--model.alpha=0",
        "--model.beta=0",
        "--data.pitches=null",
        "--data.held_out_instruments=null",
        "--trainer.max_epochs=1",
    )
    assert main(arguments(data, tmp_path / "run", *plain)) == 0
