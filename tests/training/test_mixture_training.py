"""S3 as a user runs it: training, drawing notes, evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from training import evaluate, sample
from training.checkpoint import load_checkpoint
from training.data.manifest import read_dataset
from training.evaluation.mixture.measures import read_notes, scores, train_classifiers
from training.features import FeatureExtractor
from training.models.mixture import MixtureVAE
from training.train import recipe

OVERRIDES = {
    "model.features.sample_rate": 44100,
    "model.features.window_samples": 2048,
    "model.features.hop_samples": 1024,
    "model.model.mel_bands": 96,
    "model.model.filters": 48,
    "model.model.hidden": 64,
    "model.model.frames": 20,
    "model.preview_epochs": 1,
    "data.instruments": "null",
    "data.segment_seconds": 0.5,
    "data.start_fraction": 1.0,
    "data.batch_size": 16,
    "data.steps_per_epoch": 75,
    "data.validation_sounds": 32,
    "trainer.max_epochs": 2,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 5,
}


def train(data: Path, root: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    options = [f"--{name}={value}" for name, value in OVERRIDES.items()]
    arguments = [
        f"--config={recipe('luo2019-small')}",
        f"--data.directory={data}",
        f"--trainer.default_root_dir={root}",
        *options,
        *extra,
    ]
    command = [sys.executable, "-m", "training.train", "fit", *arguments]
    return subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixture")
    done = train(tiny_data, root)
    assert done.returncode == 0, done.stderr
    return root / "lightning_logs/version_0"


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Path:
    return run / "checkpoints/last.pt"


def test_it_learns_on_real_notes_and_shows_what_it_draws(run: Path, checkpoint: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run))
    log.Reload()
    losses = [point.value for point in log.Scalars("train/loss")]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    accuracy = [point.value for point in log.Scalars("train/instrument_accuracy")]
    assert np.mean(accuracy[-5:]) > np.mean(accuracy[:5])
    assert {"spectrograms", "drawn"} <= set(log.Tags()["images"])
    assert any(tag.startswith("drawn_") for tag in log.Tags()["audio"])
    loaded = load_checkpoint(checkpoint)
    assert isinstance(loaded.model, MixtureVAE)
    assert loaded.model.config.instruments[0] == "Acoustic Grand Piano"
    assert len(loaded.model.config.instruments) == 8
    assert loaded.info["label_portion"] == 1.0


def test_resuming_and_label_portion_from_the_command_line(tiny_data: Path, tmp_path: Path, checkpoint: Path) -> None:
    short = [
        "--data.steps_per_epoch=2",
        "--trainer.max_epochs=3",
        "--model.preview_epochs=0",
        "--model.label_portion=0.25",
    ]
    done = train(tiny_data, tmp_path, *short, f"--ckpt_path={checkpoint}")
    assert done.returncode == 0, done.stderr
    [last] = tmp_path.glob("lightning_logs/version_*/checkpoints/last.pt")
    assert load_checkpoint(last).info["label_portion"] == 0.25
    assert load_checkpoint(last).info["epoch"] == 2


def test_one_instrument_is_refused_in_one_sentence(tiny_data: Path, tmp_path: Path) -> None:
    done = train(tiny_data, tmp_path, "--data.instruments=[Violin]")
    assert done.returncode == 2
    assert "1 labelled instrument" in done.stderr
    assert "Traceback" not in done.stderr


def test_typical_notes_have_the_pitch_and_the_instrument_that_were_asked_for(checkpoint: Path, tiny_data: Path) -> None:
    """After 150 steps: what classifiers trained on the real notes hear in the means of the components is well above
    chance (1/10 and 1/8).
    """
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    assert isinstance(model, MixtureVAE)
    notes = read_notes(loaded, read_dataset(tiny_data).select(split="train"))
    classifiers = train_classifiers(notes, seed=0)
    asked = [(i, pitch) for i in range(8) for pitch in range(60, 79, 2)]
    instruments, pitches = [i for i, _ in asked], [pitch for _, pitch in asked]
    with torch.no_grad():
        mel = model.decode_mel(sample.draw_latents(model, instruments, pitches, seed=0, spread=0.0))
    found = scores(classifiers, mel, {"instrument": np.array(instruments), "pitch": np.array(pitches)}, seed=0)
    assert found["pitch"].low > 0.15
    assert found["instrument"].low > 0.18


def test_a_drawn_note_is_written_and_follows_from_its_seed(checkpoint: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.wav" for i in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        assert (
            sample.main(
                [str(checkpoint), "--instrument", "Violin", "--pitch", "64", "--out", str(file), "--seed", str(seed)]
            )
            == 0
        )
    sounds = [soundfile.read(file)[0] for file in files]
    assert np.isfinite(sounds[0]).all()
    assert np.abs(sounds[0]).max() == pytest.approx(sample.PEAK, abs=1e-3)
    assert len(sounds[0]) == pytest.approx(20 * 1024, abs=2048)
    assert np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[0], sounds[2])


def test_what_cannot_be_drawn_is_said_in_one_sentence(
    checkpoint: Path, smoke_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.wav")
    assert sample.main([str(checkpoint), "--instrument", "Kazoo", "--pitch", "60", "--out", out]) == 2
    assert sample.main([str(checkpoint), "--instrument", "Violin", "--pitch", "12", "--out", out]) == 2
    assert sample.main([str(smoke_checkpoint), "--instrument", "Violin", "--pitch", "60", "--out", out]) == 2
    assert (
        sample.main(
            [str(checkpoint), "--instrument", "Violin", "--pitch", "60", "--out", str(tmp_path / "no" / "x.wav")]
        )
        == 2
    )
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 4
    assert "it knows Acoustic Grand Piano, " in lines[0]
    assert "24 … 105" in lines[1]
    assert "perturbation_vae" in lines[2]
    assert not Path(out).exists()


def test_evaluation_writes_tables_figures_and_sounds(checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert evaluate.main([str(checkpoint), "--data", str(tiny_data), "--out", str(out), "--test-sounds", "40"]) == 0
    text, content = (out / "report.md").read_text(), json.loads((out / "report.json").read_text())
    [row] = content["results"]["mixture_vae"].values()
    assert row["f_scores"]["originals"]["instrument"]["value"] > 0.7
    assert (
        row["f_scores"]["drawn"]["pitch"]["low"]
        <= row["f_scores"]["drawn"]["pitch"]["value"]
        <= row["f_scores"]["drawn"]["pitch"]["high"]
    )
    assert len(row["transfer"]) == 56
    assert len(row["dimensions"]) == 16
    assert sum(row["figures"][f"authority of {name}"]["value"] for name in ("timbre", "pitch")) > 0.5
    for name in ("transfer", "traversal", "spaces"):
        assert (out / f"last-{name}.png").stat().st_size > 20_000
        assert f"last-{name}.png" in text
    for file in out.glob("*.ogg"):
        assert np.isfinite(soundfile.read(file)[0]).all()
        assert file.name in text
    assert len(list(out.glob("last-dimension-*.ogg"))) == 4


def test_features_and_model_agree_on_a_real_note(checkpoint: Path, tiny_data: Path) -> None:
    """`encode` from envelope and fine structure is what training makes from the log-amplitude."""
    loaded = load_checkpoint(checkpoint)
    notes = read_notes(loaded, read_dataset(tiny_data).select(split="validation"))
    features = FeatureExtractor(loaded.features)
    sounds = read_dataset(tiny_data).select(split="validation")
    from training.evaluation.probes import batches

    _, audio = next(iter(batches(sounds, 20 * 1024 / 44100)))
    found = features(audio)
    with torch.no_grad():
        z = loaded.model.encode(found.envelope, found.fine, found.sounding).latents
    torch.testing.assert_close(z.timbre, notes.latents.timbre[: len(audio)], atol=1e-3, rtol=1e-3)
