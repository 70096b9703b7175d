"""The quality benchmark: the real note is at distance 0, its report says what is met, other models are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.__main__ import main
from benchmarks.quality.instrument import Instrument
from benchmarks.quality.measure import attack_ms, cents_off, multi_scale, weighted_db
from benchmarks.quality.proofs import pitch_kept
from benchmarks.quality.sources import plucked
from training.checkpoint import Checkpoint, save_slim
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE
from training.release import release

FEATURES = FeatureConfig(44100, 2048, 256, 1e-2, 100, normalisation="running")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
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
    released = path.with_name("released.pt")
    release(path, tiny_data, released, command=None, train_sounds=60, test_sounds=12, seconds=0.3, seed=0)
    return released


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
    words = [str(checkpoint), "--data", str(tiny_data), "--quick", "--out", str(tmp_path)]
    assert main(words) == 0
    for picture in ("distances.png", "transfer.png"):
        assert (tmp_path / picture).is_file()
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    bars = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["bars"]
    met = {bar["what"]: bar["met"] for bar in bars}
    assert met["morph at rest is the input, bit for bit"]
    assert not met["envelope distance, synth, preset, held-out notes"], "it was never trained"
    assert "pitch of synth, the demo's cello, median cents" in met
    assert all(f"| {bar['what']} |" in text for bar in bars)
    live = Path(__file__).parents[2] / "training/checkpoints/live.pt"
    assert main([str(live), "--data", str(tiny_data)]) == 2
    assert "perturbation_vae" in capsys.readouterr().err


def test_a_plucked_string_has_the_pitch_asked_for() -> None:
    for note in (45, 60, 76):
        sound = plucked(44100, note, seed=1)
        assert np.median(cents_off(sound, sound, note, 44100)) < 5
        assert np.std(sound[:10000]) > 3 * np.std(sound[60000:])


def test_figures_of_sounds_that_differ_in_one_way_only() -> None:
    time = np.arange(44100) / 44100
    sound = np.sin(2 * np.pi * 1000 * time) * np.minimum(1, time / 0.05)
    assert weighted_db(2 * sound, 44100) - weighted_db(sound, 44100) == pytest.approx(6.02, abs=0.01)
    assert multi_scale(sound, sound) == 0
    assert multi_scale(0.5 * sound, sound) > 0.2
    assert attack_ms(sound, 44100) == pytest.approx(40, abs=4)
    higher = np.sin(2 * np.pi * 1000 * 2 ** (20 / 1200) * time)
    assert np.median(pitch_kept(np.sin(2 * np.pi * 1000 * time), higher, 44100)) == pytest.approx(20, abs=4)
