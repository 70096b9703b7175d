"""The harmonic VAE: its spectrum is the formula and what its synthesizer sounds like, it streams, it trains."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.checkpoint import load_checkpoint
from training.dsp.f0 import track_pitch
from training.dsp.synthesis import filtered_noise, oscillators, partials, synthesise
from training.features import FeatureConfig, FeatureExtractor, RecipeError
from training.models.harmonic import Control, HarmonicConfig, HarmonicVAE, Voice, a_weighting, main_lobe, noise_level
from training.models.latents import Latents, parameters_of
from training.train import recipe

RATE, HOP = 44100, 256
SMALL = HarmonicConfig(
    timbre_dim=6, variation_dim=3, pitch_dim=4, hidden=12, decoder_hidden=16, fine_bands=12, envelope_coefficients=20
)
FEATURES = FeatureConfig(RATE, 2048, HOP, 1e-2, 100, normalisation="running")
FRAMES = 30


def model_of(config: HarmonicConfig = SMALL) -> HarmonicVAE:
    torch.manual_seed(4)
    return HarmonicVAE(config).eval()


def control_of(frames: int = FRAMES, f0: float = 300.0, voicing: float = 1.0, batch: int = 1) -> Control:
    torch.manual_seed(6)
    track = f0 * torch.exp2(0.1 * torch.randn(batch, frames))
    return Control(track, track, torch.full((batch, frames), voicing), 0.3 * torch.randn(batch, frames))


def latents_of(frames: int = FRAMES, batch: int = 1) -> Latents:
    torch.manual_seed(7)
    return Latents(*(torch.randn(batch, frames, size) for size in (6, 3, 4)))


def voice_of(bend: float = 0.0) -> Voice:
    """One frame: a sloping envelope, some offsets, little noise."""
    envelope, offsets = torch.zeros(1, 1, SMALL.envelope_cosines), torch.zeros(1, 1, SMALL.offsets)
    envelope[..., :3] = torch.tensor([1.0, 1.5, 0.4])
    offsets[..., :4] = torch.tensor([0.3, -0.5, 0.2, 0.1])
    noise = torch.zeros(1, 1, SMALL.noise_cosines)
    noise[..., 0] = -1.0
    return Voice(envelope, offsets, noise, torch.full((1, 1), bend))


@pytest.mark.parametrize(("f0", "bend", "voicing"), [(523.3, 0.0, 1.0), (130.8, 4e-4, 0.7), (52.0, 0.0, 1.0)])
@torch.no_grad()
def test_the_spectrum_is_the_formula(f0: float, bend: float, voicing: float) -> None:
    """Every harmonic added up by hand, its lobe about its own frequency."""
    model, voice = model_of(), voice_of(bend)
    track = torch.full((1, 1), f0)
    found = model.spectrum(voice, Control(track, track, torch.full((1, 1), voicing), torch.zeros(1, 1)))[0, 0].numpy()
    frequency = np.linspace(0, RATE / 2, SMALL.bins)
    warp = np.log1p(frequency / 700) / math.log1p(RATE / 2 / 700)
    envelope = 1.0 + 1.5 * np.cos(np.pi * warp) + 0.4 * np.cos(2 * np.pi * warp)
    offsets, power = [0.3, -0.5, 0.2, 0.1], np.zeros(SMALL.bins)
    for h in range(1, int(RATE / 2 / f0) + 3):
        distance = np.abs(frequency - h * f0 * math.sqrt(1 + bend * h * h)) * 2048 / RATE
        rest = np.where(np.abs(1 - distance**2) < 1e-6, 1e-6, 1 - distance**2)
        lobe = np.where(distance < 2, np.sinc(distance) / rest, 0)
        power += (np.exp(envelope + (offsets[h - 1] if h <= 4 else 0)) * lobe) ** 2
    wanted = 0.5 * np.log(voicing**2 * power + np.exp(2 * noise_level(model, voice)[0, 0].numpy()) + 1e-4)
    assert np.abs(found - wanted)[1:].max() < 2e-2


def test_the_lobe_is_that_of_the_window() -> None:
    place = torch.linspace(-1.9, 1.9, 39)
    window, n = np.hanning(2049)[:-1], np.arange(2048)
    wanted = [abs(np.sum(window * np.exp(2j * np.pi * d * n / 2048))) / window.sum() for d in place.tolist()]
    assert np.abs(main_lobe(place).numpy() - wanted).max() < 1e-3


def test_the_weighting_is_a() -> None:
    decibels = 20 * torch.log10(a_weighting(torch.tensor([100.0, 1000.0, 4000.0, 10000.0])))
    assert decibels.tolist() == pytest.approx([-19.1, 0.0, 1.0, -2.5], abs=0.1)  # IEC 61672, table 3


@torch.no_grad()
def test_streaming_equals_whole_and_the_future_does_not_leak() -> None:
    model, control, z = model_of(), control_of(), latents_of()
    whole, _ = model.stream_voice(z, control, model.decoder_state(1))
    state, parts, start = model.decoder_state(1), [], 0
    for size in itertools.cycle([1, 7, 3]):
        piece = slice(start, start + size)
        voice, state = model.stream_voice(
            Latents(**{name: value[:, piece] for name, value in z.items()}),
            Control(*(c[:, piece] for c in control)),
            state,
        )
        parts.append(voice)
        start += size
        if start >= FRAMES:
            break
    for name in Voice._fields:
        torch.testing.assert_close(torch.cat([getattr(part, name) for part in parts], 1), getattr(whole, name))
    changed = Control(*(torch.cat([c[:, :20], c[:, 20:] * 1.7], 1) for c in control))
    other, _ = model.stream_voice(z, changed, model.decoder_state(1))
    assert torch.equal(other.envelope[:, :20], whole.envelope[:, :20])
    assert not torch.allclose(other.envelope[:, 20:], whole.envelope[:, 20:])


@torch.no_grad()
def test_encoders_stream_too() -> None:
    model = model_of()
    torch.manual_seed(5)
    envelope, fine = torch.randn(1, FRAMES, SMALL.bins), torch.randn(1, FRAMES, SMALL.bins)
    whole = model.encode(envelope, fine, torch.ones(1, FRAMES)).latents
    z, _ = model.stream_encode(envelope, fine, torch.tensor(0.001), model.encoder_state(1))
    torch.testing.assert_close(z.timbre[:, -1], whole.timbre)
    torch.testing.assert_close(z.pitch, whole.pitch)


def test_the_recipe_is_small_and_bad_sizes_are_refused() -> None:
    assert parameters_of(HarmonicVAE(HarmonicConfig())) <= 1_000_000
    impossible: tuple[dict[str, Any], ...] = (
        {"timbre_dim": 0},
        {"offsets": 5000},
        {"layers": 1},
        {"lookahead": 2, "bidirectional": True},
    )
    for bad in impossible:
        with pytest.raises(RecipeError):
            dataclasses.replace(SMALL, **bad)


def test_gradients_are_finite_where_nothing_sounds_and_where_the_pitch_is_high() -> None:
    model, z = model_of(), latents_of()
    for control in (control_of(voicing=0.0), control_of(f0=4000.0), control_of(f0=25.0)):
        model.zero_grad()
        model.decode(z, control).square().mean().backward()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def cents(found: np.ndarray, wanted: float) -> np.ndarray:
    return np.abs(1200 * np.log2(found / wanted))


@pytest.mark.parametrize("f0", [55.0, 220.0, 1174.7])
@torch.no_grad()
def test_what_is_synthesised_has_the_pitch_the_level_and_the_spectrum(f0: float) -> None:
    model, frames = model_of(), 120
    voice = Voice(*(part.expand(1, frames, *part.shape[2:]) for part in voice_of()))
    track = torch.full((1, frames), f0)
    control = Control(track, track, torch.ones(1, frames), torch.zeros(1, frames))
    frequency, amplitude = partials(model, voice, control)
    sound = oscillators(frequency.numpy(), amplitude.numpy(), HOP, RATE, 4.0)
    pitch = track_pitch(0.01 * sound.astype(np.float32), RATE, HOP)
    assert cents(pitch.f0_hz[20:], f0).max() < 5
    spectrum = FeatureExtractor(FEATURES).amplitudes(torch.from_numpy(sound)[None]).amplitude[0, -1]
    drawn = torch.exp(model.spectrum(voice, control)[0, -1]).double()
    peak = torch.arange(1, 12) * f0 / (RATE / 2048)
    for place in peak.round().long():
        if place < SMALL.bins - 2 and f0 > 100:  # lower harmonics lie within one lobe, and their phases count
            assert spectrum[place] == pytest.approx(float(drawn[place]), rel=0.12)


def test_noise_has_the_spectrum_asked_for() -> None:
    wanted = np.exp(np.linspace(0, -4, 1025))[None].repeat(200, 0)
    sound = filtered_noise(wanted, HOP, 200 * HOP, 4.0, seed=1)
    amplitude = FeatureExtractor(FEATURES).amplitudes(torch.from_numpy(sound)[None]).amplitude[0, 20:]
    rms = amplitude.square().mean(0).sqrt().numpy()
    bands = [slice(start, start + 50) for start in range(10, 1000, 90)]
    assert [float(np.log(rms[band] / wanted[0, band]).mean()) for band in bands] == pytest.approx([0.0] * 11, abs=0.12)


@torch.no_grad()
def test_the_level_is_the_sounds_own_whatever_the_decoder_draws() -> None:
    model, features = model_of(), FeatureExtractor(FEATURES)
    seconds = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 330 * h * seconds + h * h) / h for h in range(1, 12)) * 0.1 * np.exp(-seconds)
    audio = torch.from_numpy(sound.astype(np.float32))[None]
    spectra, track = features(audio), track_pitch(audio[0].numpy(), RATE, HOP)
    z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    f0, confidence = (torch.from_numpy(part)[None] for part in (track.f0_hz, track.confidence))
    control = model.control(spectra.log_amplitude, f0, confidence, spectra.sounding, HOP)
    level = features.amplitudes(audio).amplitude.mean(-1) / features.linear(spectra.log_amplitude).mean(-1)
    level = level * model.weighted_level(spectra.log_amplitude)
    found = synthesise(model, z, control, level[0], HOP)
    weighted = []
    for one in (found, sound[: len(found)]):
        amplitude = features.amplitudes(torch.from_numpy(one)[None]).amplitude[0, 30:-10]
        weighted.append((amplitude * model.weighting).square().sum(-1).sqrt())
    assert 20 * abs(float(torch.log10(weighted[0] / weighted[1]).mean())) < 1


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = (sys.executable, "-m", *words)
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_it_trains_resumes_and_is_released(tiny_data: Path, tmp_path: Path) -> None:
    small = [f"--model.model.{name}={value}" for name, value in dataclasses.asdict(SMALL).items() if "dim" in name]
    options = ["--data.steps_per_epoch=6", "--data.batch_size=8", "--data.segment_seconds=0.3", "--data.workers=0"]
    options += ["--trainer.check_val_every_n_epoch=1", "--trainer.limit_val_batches=1", "--data.validation_sounds=8"]
    options += ["--data.held_out_instruments=null", "--data.sequences=null", "--model.compiled=false"]
    words = [
        "training.train",
        "fit",
        f"--config={recipe('harmonic')}",
        f"--data.directory={tiny_data}",
        *options,
        *small,
    ]
    words += [f"--trainer.default_root_dir={tmp_path}", "--model.model.hidden=24", "--model.preview_epochs=1"]
    done = run(*words, "--trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    last = next(tmp_path.glob("lightning_logs/version_0/checkpoints/last.pt"))
    model: Any = load_checkpoint(last).model
    assert isinstance(model, HarmonicVAE)
    assert model.config.window_samples == 2048
    assert run(*words, "--trainer.max_epochs=3", f"--ckpt_path={last}").returncode == 0
    released = tmp_path / "released.pt"
    sizes = ["--train-sounds=40", "--test-sounds=20", "--seconds=0.3"]
    done = run("training.release", str(last), "--data", str(tiny_data), "--out", str(released), *sizes)
    assert done.returncode == 0, done.stderr
    knobs: Any = load_checkpoint(released).knobs
    labelled = {axis["name"] for axis in knobs["axes"] if "correlation" in axis}
    assert labelled <= {"brightness", "noisiness", "odd_even"}, "loudness is given, so nothing moves the attack"
    assert "brightness" in labelled
    assert all(len(anchor["pitch"]) == SMALL.pitch_dim for one in knobs["presets"] for anchor in one["anchors"])
    assert knobs["pitch_anchors"] == []
