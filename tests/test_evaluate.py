"""What evaluation measures, checked where the answer is known, and the two commands as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training import evaluate, release
from training.checkpoint import load_checkpoint
from training.data.manifest import read_dataset
from training.features import FeatureExtractor
from training.probes import authority, knn_accuracy

SMALL = ["--train-sounds", "120", "--test-sounds", "40", "--seconds", "0.5"]


def test_knn_finds_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    apart = 10 * np.eye(4)[labels] + rng.standard_normal((120, 4))
    shuffled = rng.permutation(120)
    assert knn_accuracy(apart[::2], labels[::2], apart[1::2], labels[1::2]) == 1.0
    assert knn_accuracy(apart[shuffled][::2], labels[::2], apart[shuffled][1::2], labels[1::2]) < 0.5


def test_authority_is_all_or_nothing_where_the_decoder_reads_one_latent(smoke_checkpoint: Path, tiny_data: Path) -> None:
    """A decoder whose first layer is deaf to variation and pitch: swapping the timbre is swapping everything."""
    checkpoint = load_checkpoint(smoke_checkpoint)
    with torch.no_grad():
        checkpoint.model.decoder_stack.body.get_parameter("weight_ih_l0")[:, checkpoint.model.config.timbre_dim :] = 0
    shares = authority(checkpoint.model, FeatureExtractor(checkpoint.features), read_dataset(tiny_data).select(split="test"), 0.5)
    assert shares["timbre"] == pytest.approx(1.0, abs=1e-6)
    assert shares["variation"] == shares["pitch"] == 0.0


def test_release_and_evaluate_agree(smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The card's figures are those that evaluating the released checkpoint gives; knobs travel in it."""
    out = tmp_path / "mine.pt"
    assert release.main([str(smoke_checkpoint), "--data", str(tiny_data), "--out", str(out), "--command", "as said", *SMALL]) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    released = load_checkpoint(out)
    assert card["command"] == released.info["command"] == "as said"
    assert released.knobs is not None
    assert len(released.knobs["presets"]) == 8
    assert out.stat().st_size < 0.6 * smoke_checkpoint.stat().st_size
    assert evaluate.main([str(out), "--data", str(tiny_data), "--out", str(tmp_path / "report"), *SMALL]) == 0
    [found] = json.loads((tmp_path / "report/report.json").read_text()).values()
    assert {name: round(value, 4) for name, value in found.items()} == card["held_out"]
    assert "| timbre |" in (tmp_path / "report/report.md").read_text()


def test_missing_data_and_checkpoints_are_one_sentence(
    smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([str(smoke_checkpoint), "--data", str(tmp_path / "none")]) == 2
    assert evaluate.main([str(tmp_path / "none.pt"), "--data", str(tiny_data)]) == 2
    assert release.main([str(smoke_checkpoint), "--data", str(tmp_path / "none"), "--out", str(tmp_path / "x.pt")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3
    assert all("none" in line for line in lines)
    assert not (tmp_path / "x.pt").exists()
