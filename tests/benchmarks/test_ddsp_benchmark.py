"""The benchmark of models of one instrument: pitch and level are the sound's own, its report holds what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.ddsp import ROWS, main
from training.checkpoint import Checkpoint, save_slim
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE

FEATURES = FeatureConfig(44100, 2048, 256, 1e-2, 100, normalisation="running")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model that draws falling harmonics and little noise, whatever it is told."""
    torch.manual_seed(1)
    config = HarmonicConfig(hidden=16, decoder_hidden=16, factors=("timbre",), one_timbre=True)
    model, path = HarmonicVAE(config), tmp_path / "untrained.pt"
    last = model.decoder_output[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[1] = 3.0
        last.bias[config.envelope_cosines + config.offsets] = -5.0
    save_slim(Checkpoint(FEATURES, model, {"selection": {"instruments": ["Flute"]}}), path)  # type: ignore[arg-type]
    return path


def test_the_report_holds_what_was_found(
    checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    words = ["--instrument", str(checkpoint), str(tiny_data), "--players", str(tiny_data), "--notes", "4"]
    assert main([*words, "--out", str(out)]) == 0
    found = json.loads((out / "report.json").read_text())[tiny_data.name]
    assert set(ROWS) <= set(found)
    assert found["cents"][0] < 20
    assert found["level_db"][0] < 1
    assert found["another take"][0] < found["spectral"][0]
    for _, low, high in (found[name] for name in ROWS):
        assert low <= high
    assert (out / "spectrograms.png").stat().st_size > 1000
    text = (out / "report.md").read_text()
    assert all(f"| {label} | " in text for label in ROWS.values())
    assert text.strip() in capsys.readouterr().out


def test_what_cannot_be_measured_is_said_in_a_sentence(
    checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, data in ((tmp_path / "nothing.pt", tiny_data), (checkpoint, tmp_path)):
        assert main(["--instrument", str(path), str(data)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("benchmarks.ddsp: ")
        assert said.count("\n") == 1
