"""DDSP for one instrument: the sound in training is the sound that is played, it learns it, and from any folder."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from training.checkpoint import load_checkpoint
from training.data.manifest import DataError, read_dataset
from training.dsp.differentiable import noise_samples, render
from training.dsp.f0 import track_pitch
from training.dsp.synthesis import synthesise
from training.features import FeatureConfig, RecipeError
from training.losses import SPECTRAL_FLOOR, multiscale_spectral
from training.models.harmonic import Control, HarmonicConfig, HarmonicVAE, Voice
from training.models.latents import Latents
from training.tasks.ddsp import DDSPTask
from training.train import recipe

RATE = 44100
SMALL = HarmonicConfig(
    timbre_dim=4,
    hidden=12,
    decoder_hidden=24,
    fine_bands=12,
    envelope_coefficients=20,
    centred_loudness=True,
    factors=("timbre",),
    one_timbre=True,
)
FEATURES = FeatureConfig(RATE, 2048, 256, 1e-2, 100, normalisation="running")


def saw(f0: float, seconds: float = 0.5, harmonics: tuple[int, ...] = (1, 3, 5, 7, 9)) -> np.ndarray:
    """A tone of some harmonics that fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f0 * h * time + h) / h for h in harmonics)
    sound: np.ndarray = (0.2 * tone * np.exp(-time)).astype(np.float32)
    return sound


def batch_of(*sounds: np.ndarray) -> dict[str, torch.Tensor]:
    tracks = [track_pitch(sound, RATE, 256) for sound in sounds]
    return {
        "audio": torch.from_numpy(np.stack(sounds)),
        "f0_hz": torch.from_numpy(np.stack([track.f0_hz for track in tracks])),
        "confidence": torch.from_numpy(np.stack([track.confidence for track in tracks])),
        "draw": torch.arange(len(sounds)),
    }


@pytest.mark.parametrize(("hop", "lowest"), [(256, 200.0), (441, 900.0), (512, 60.0)])
@torch.no_grad()
def test_what_is_compared_in_training_is_what_is_played(hop: int, lowest: float) -> None:
    """Sample by sample, the noise too, for it is made of the same random numbers; frames without voice among them."""
    torch.manual_seed(3)
    model, frames = HarmonicVAE(SMALL).eval(), 30
    f0 = lowest * torch.exp2(0.2 * torch.rand(2, frames).cumsum(1) / 4)
    voicing = (torch.rand(2, frames) * 1.5 - 0.3).clamp(0, 1)
    voice = Voice(
        0.3 * torch.randn(2, frames, 64),
        0.3 * torch.randn(2, frames, 32),
        0.3 * torch.randn(2, frames, 24),
        3e-4 * torch.rand(2, frames),
    )
    control, level = Control(f0, f0, voicing, torch.zeros(2, frames)), 0.1 * torch.rand(2, frames)
    level[:, :4] = 0
    source = np.random.default_rng(0).standard_normal(noise_samples(model, frames, hop))
    found = render(model, voice, control, level, hop, torch.from_numpy(source).float().expand(2, -1))
    for i in range(2):
        one = Voice(*(part[i : i + 1] for part in voice))
        model.voice = lambda *_, one=one: one  # type: ignore[method-assign, misc]
        wanted = synthesise(model, Latents(), Control(*(c[i : i + 1] for c in control)), level[i], hop, seed=0)
        assert np.abs(found[i].numpy() - wanted).max() < 2e-4 * np.abs(wanted).max()


def test_the_distance_is_the_formula() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, 3, 4096)) * 0.1
    found = multiscale_spectral(torch.from_numpy(one), torch.from_numpy(other), sizes=(512, 64))
    for row in range(3):
        wanted = 0.0
        for size in (512, 64):
            window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
            starts = range(0, 4096 - size + 1, size // 4)
            a, b = (np.abs([np.fft.rfft(x[row, s : s + size] * window) for s in starts]) for x in (one, other))
            floor = SPECTRAL_FLOOR * size / 4
            wanted += np.abs(a - b).mean() + np.abs(np.log(a + floor) - np.log(b + floor)).mean()
        assert float(found[row]) == pytest.approx(wanted, rel=1e-6)


def test_equal_sounds_have_no_distance_and_further_ones_more() -> None:
    sound = torch.from_numpy(saw(300.0))[None]
    assert float(multiscale_spectral(sound, sound)) == 0.0
    silence = torch.zeros_like(sound, requires_grad=True)
    distances = [float(multiscale_spectral(gain * sound, sound)) for gain in (0.9, 0.5, 0.1)]
    assert 0 < distances[0] < distances[1] < distances[2]
    distance = multiscale_spectral(silence, sound)
    distance.sum().backward()
    assert float(distance.detach()) > distances[2]
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


@torch.no_grad()
def test_one_timbre_is_the_same_whatever_is_heard() -> None:
    torch.manual_seed(5)
    model = HarmonicVAE(dataclasses.replace(SMALL, factors=("variation", "timbre")))
    assert list(model.latent_sizes) == ["timbre", "variation"]
    envelope, fine = torch.randn(3, 20, SMALL.bins), torch.randn(3, 20, SMALL.bins)
    z = model.encode(envelope, fine, torch.ones(3, 20)).latents
    assert torch.equal(z.timbre[0], z.timbre[1])
    assert not torch.equal(z.variation[0], z.variation[1])
    assert z.timbre.std() > 0
    streamed, _ = model.stream_encode(envelope, fine, torch.tensor(0.01), model.encoder_state(3))
    torch.testing.assert_close(streamed.timbre, z.timbre[:, None].expand(-1, 20, -1))


def test_it_learns_a_toy_and_no_gradient_breaks() -> None:
    torch.manual_seed(1)
    task = DDSPTask(SMALL, FEATURES, learning_rate=2e-2)
    noise = (0.05 * np.random.default_rng(0).standard_normal(RATE // 2)).astype(np.float32)
    batch = batch_of(saw(220.0), saw(330.0), noise, np.zeros_like(noise))
    held_out = batch_of(saw(277.0))
    optimizer = task.optimizer()
    with torch.no_grad():
        before = {name: float(value) for name, value in task.terms(held_out, training=False).items()}
        assert task.terms(held_out, training=False) == before
    for _ in range(30):
        optimizer.zero_grad()
        task.terms(batch, training=True)["loss"].backward()
        assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)
        optimizer.step()
    with torch.no_grad():
        after = task.terms(held_out, training=False)
    assert float(after["spectral"]) < 0.5 * before["spectral"]
    assert float(after["mse"]) < 0.5 * before["mse"]
    timbre = task.model.head("timbre").mean
    assert not timbre.weight.any()
    assert timbre.bias.grad is not None
    assert timbre.bias.grad.any()


@torch.no_grad()
def test_a_told_pitch_that_is_off_leaves_the_partials_where_they_are() -> None:
    torch.manual_seed(2)
    plain, jittered = DDSPTask(SMALL, FEATURES), DDSPTask(SMALL, FEATURES, jitter_semitones=4.0)
    jittered.load_state_dict(plain.state_dict())
    batch = batch_of(saw(220.0), saw(330.0))
    assert jittered.terms(batch, training=False) == plain.terms(batch, training=False)
    assert jittered.terms(batch, training=True) == jittered.terms(batch, training=True)
    assert jittered.terms(batch, training=True) != plain.terms(batch, training=True)
    heard = jittered._heard(batch, 4.0)
    assert torch.equal(heard.control.f0, batch["f0_hz"])
    assert not torch.equal(heard.voice.envelope, plain._heard(batch).voice.envelope)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(RecipeError, match="one_timbre=False"):
        DDSPTask(dataclasses.replace(SMALL, one_timbre=False), FEATURES)
    for factors in ((), ("variation",), ("timbre", "tempo")):
        with pytest.raises(RecipeError, match="factors="):
            dataclasses.replace(SMALL, factors=factors)
    with pytest.raises(DataError, match=r"segment_seconds at least 0\.046"):
        DDSPTask(SMALL, FEATURES).terms(batch_of(saw(300.0, 0.04)), training=True)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = (sys.executable, "-m", *words)
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)


def converted(folder: Path, recordings: dict[str, np.ndarray]) -> Path:
    """A folder of recordings, and the data set that the command makes of it."""
    (folder / "source").mkdir(parents=True)
    for name, sound in recordings.items():
        soundfile.write(folder / "source" / name, sound, RATE)
    done = run("training.data.folder", "--source", str(folder / "source"), "--out", str(folder / "data"))
    assert done.returncode == 0, done.stderr
    return folder / "data"


def test_from_a_folder_to_a_model(tmp_path: Path) -> None:
    """The only recording, of several notes, shares out its pieces; it trains and resumes; noise is refused."""
    rest = np.zeros(RATE // 4, np.float32)
    melody = [part for f0 in (220.0, 277.0, 330.0, 247.0, 294.0, 370.0) for part in (saw(f0), rest)]
    data = converted(tmp_path / "one", {"take.wav": np.concatenate(melody)})
    assert set(read_dataset(data).split) == {"train", "validation", "test"}
    options = ["--data.steps_per_epoch=3", "--data.batch_size=2", "--data.segment_seconds=0.3", "--data.workers=0"]
    options += ["--trainer.check_val_every_n_epoch=1", "--model.model.hidden=12", "--model.model.decoder_hidden=16"]
    options += [f"--trainer.default_root_dir={tmp_path}", "--model.preview_epochs=1"]
    words = ["training.train", "fit", f"--config={recipe('ddsp')}", f"--data.directory={data}", *options]
    done = run(*words, "--trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    last = next(tmp_path.glob("lightning_logs/version_0/checkpoints/last.pt"))
    model: Any = load_checkpoint(last).model
    assert isinstance(model, HarmonicVAE)
    assert list(model.latent_sizes) == ["timbre"]
    assert run(*words, "--trainer.max_epochs=3", f"--ckpt_path={last}").returncode == 0
    rng = np.random.default_rng(0)
    noises = {f"noise {i}.wav": 0.1 * rng.standard_normal(RATE // 2) for i in range(6)}
    words[3] = f"--data.directory={converted(tmp_path / 'noise', noises)}"
    refused = run(*words)
    assert refused.returncode == 2
    assert refused.stderr.removeprefix("Seed set to 1\n").count("\n") == 1
    assert "no pitched sound" in refused.stderr
