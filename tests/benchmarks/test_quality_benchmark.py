"""The quality benchmark: the real note is at distance 0, its report says what is met, other models are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.__main__ import main
from benchmarks.quality.instrument import Instrument
from benchmarks.quality.measure import cents_off
from training.checkpoint import Checkpoint, save_slim
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE

FEATURES = FeatureConfig(44100, 2048, 256, 1e-2, 100, normalisation="running")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with little noise: what it draws is nonsense, its pitch and level are right all the same."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("quality") / "untrained.pt"
    model = HarmonicVAE(config := HarmonicConfig(hidden=16, decoder_hidden=16))
    last = model.decoder_output[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.bias[1] = 3.0  # of the envelope: falls towards high frequencies
        last.bias[config.envelope_cosines + config.offsets] = -5.0
    save_slim(Checkpoint(FEATURES, model, {}), path)  # type: ignore[arg-type]  # it draws with a pitch only
    return path


def test_pitch_and_level_are_the_sounds_own(checkpoint: Path, tiny_data: Path) -> None:
    instrument, sounds = Instrument(checkpoint), read_dataset(tiny_data)
    row = int(np.flatnonzero((sounds.instrument == "Clarinet") & (sounds.pitch == 66))[0])
    sound = SoundStore(sounds).read(row, 0, 44100)
    played = instrument.sound_of(instrument.analyse(sound))
    assert np.isfinite(played).all()
    assert np.median(cents_off(played, sound, 66, 44100)) < 20
    assert 0.05 < np.std(played) / np.std(sound) < 20


def test_the_command_writes_its_report(
    checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(checkpoint), "--data", str(tiny_data), "--pairs", "2", "--per-class", "2", "--out", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "distances.png").is_file()
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| envelope distance to a preset | ≤ 0.25 |" in text
    assert "✗" in text
    live = Path(__file__).parents[2] / "training/checkpoints/live.pt"
    assert main([str(live), "--data", str(tiny_data)]) == 2
    assert "perturbation_vae" in capsys.readouterr().err
