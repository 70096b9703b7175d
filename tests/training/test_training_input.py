"""Training on data sets as they come: few sounds, short ones, one instrument, no labels, no validation split, another
rate.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.checkpoint import load_checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import Sound, read_rows, write_manifest
from training.train import main, recipe

Change = Callable[[int, Sound], Sound]


def rewritten(data: Path, out: Path, change: Change, sample_rate: int = 44100) -> Path:
    """A data set of the same audio with other rows."""
    out.mkdir()
    for file in data.glob("*.i16"):
        (out / file.name).hardlink_to(file)
    rows = [change(number, row) for number, row in enumerate(read_rows(data / "manifest.csv"))]
    write_manifest(out, rows, sample_rate=sample_rate, about=json.loads((data / "dataset.json").read_text()))
    return out


def train(data: Path, root: Path, *more: str) -> int:
    words = [
        "fit",
        f"--config={recipe('smoke')}",
        f"--data.directory={data}",
        f"--trainer.default_root_dir={root}",
        *more,
    ]
    few = [
        "--data.steps_per_epoch=2",
        "--trainer.max_epochs=1",
        "--trainer.limit_val_batches=1",
        "--model.preview_epochs=0",
    ]
    return main([*words, *few, "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"])


def assert_trained(root: Path) -> None:
    """Two steps were made, and neither losses nor weights are NaN."""
    last = root / "lightning_logs/version_0/checkpoints/last.pt"
    content = torch.load(last, weights_only=True)
    assert content["global_step"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in content["state_dict"].values())
    [saved] = [state for name, state in content["callbacks"].items() if name.startswith("Best")]
    assert math.isfinite(float(saved["current_score"]))
    load_checkpoint(last)


def test_one_instrument_and_fewer_sounds_than_a_batch(tiny_data: Path, tmp_path: Path) -> None:
    assert train(tiny_data, tmp_path, "--data.programs=[40]", "--data.batch_size=64") == 0
    assert_trained(tmp_path)


def _short(number: int, row: Sound) -> Sound:
    return dataclasses.replace(row, length=1 + 6 * number)


def _unlabelled(number: int, row: Sound) -> Sound:
    return dataclasses.replace(row, instrument=UNLABELLED, family=UNLABELLED, pitch=None, velocity=0, program=-1)


@pytest.mark.parametrize("change", [_short, _unlabelled])
def test_sounds_shorter_than_a_window_and_sounds_without_labels(
    tiny_data: Path, tmp_path: Path, change: Change
) -> None:
    """From one sample to 955, where a window has 1024; and neither instrument nor pitch."""
    assert train(rewritten(tiny_data, tmp_path / "data", change), tmp_path) == 0
    assert_trained(tmp_path)


def _all_training(_: int, row: Sound) -> Sound:
    return dataclasses.replace(row, split="train")


def _as_it_is(_: int, row: Sound) -> Sound:
    return row


@pytest.mark.parametrize(
    ("change", "rate", "words"),
    [
        (_all_training, 44100, ["has no validation sounds"]),
        (_as_it_is, 22050, ["is at 22050 Hz, the recipe at 44100 Hz", "model.features.sample_rate"]),
    ],
)
def test_unusable_data_ends_in_a_sentence(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, rate: int, words: list[str]
) -> None:
    assert train(rewritten(tiny_data, tmp_path / "data", change, rate), tmp_path) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("training.train: ")
    assert all(word in message for word in words), message
    assert not (tmp_path / "lightning_logs").exists()


def test_data_are_refused_before_the_model_is_shown_and_nothing_is_left_behind(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = rewritten(tiny_data, tmp_path / "bare", _unlabelled)
    for data, words, sentence in (
        (tmp_path / "none", [], "none does not exist; make one with: python -m training.data.soundfont --out"),
        (bare, ["--data.families=[piano]"], "it has unlabelled; choose among these with --data.families, or null"),
        (tiny_data, ["--data.group=4", "--data.batch_size=6"], "make it a multiple of 4"),
    ):
        assert train(data, tmp_path / "runs", *words) == 2
        said = capsys.readouterr()
        assert sentence in said.err.strip().splitlines()[-1]
        assert "Total params" not in said.out + said.err
        assert not (tmp_path / "runs").exists()
