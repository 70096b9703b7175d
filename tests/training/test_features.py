"""Frames, levels and the cepstral split against direct numpy; the pitch shift against librosa's."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor, shift_pitch

LIVE = FeatureConfig(44100, 1024, 256, 1e-2, 60, "running", 0.1, -70.0)
PAPER = FeatureConfig(44100, 2048, 441, 1e-3, 100, "sound")


def note(data: Path, row: int, seconds: float = 0.6) -> np.ndarray:
    return SoundStore(read_dataset(data)).read(row, 0, round(seconds * 44100)).astype(np.float64)


def directly(audio: np.ndarray, config: FeatureConfig) -> dict[str, np.ndarray]:
    """Section IV-A, written out frame by frame."""
    n, hop = config.window_samples, config.hop_samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    padded = np.concatenate([np.zeros(n - hop), audio])
    frames = [padded[t * hop : t * hop + n] * window for t in range(len(audio) // hop)]
    amplitude = np.array([np.abs(np.fft.rfft(frame)) * 2 / window.sum() for frame in frames])
    sounding = np.array(
        [10 * np.log10(np.sum(frame**2) / np.sum(window**2) + 1e-30) >= config.silence_dbfs for frame in frames]
    )
    level, count, levels = 0.0, 0, []
    for mean, sounds in zip(amplitude.mean(1), sounding, strict=True):
        if sounds:
            count += 1
            level += max(1 / count, hop / (config.sample_rate * config.level_seconds)) * (mean - level)
        levels.append(level)
    if config.normalisation == "sound":
        levels = [amplitude.mean(1)[sounding].mean()] * len(frames)
    scaled = [a / value if value > 0 else 0 * a for a, value in zip(amplitude, levels, strict=True)]
    log_amplitude = np.log(np.array(scaled) + config.log_floor)
    cepstrum = np.fft.irfft(log_amplitude, n)
    cepstrum[:, config.cutoff_quefrency : n - config.cutoff_quefrency + 1] = 0
    return {"log_amplitude": log_amplitude, "envelope": np.fft.rfft(cepstrum).real, "sounding": sounding}


@pytest.mark.parametrize("config", [LIVE, PAPER], ids=["running", "sound"])
def test_features_are_the_papers(tiny_data: Path, config: FeatureConfig) -> None:
    audio = np.concatenate([np.zeros(3000), note(tiny_data, 3), np.zeros(5000), 0.2 * note(tiny_data, 90)])
    wanted = directly(audio, config)
    found = FeatureExtractor(config)(torch.from_numpy(audio)[None])
    assert 10 < wanted["sounding"].sum() < len(wanted["sounding"])
    np.testing.assert_array_equal(found.sounding[0].numpy(), wanted["sounding"])
    np.testing.assert_allclose(found.log_amplitude[0].numpy(), wanted["log_amplitude"], atol=1e-8)
    np.testing.assert_allclose(found.envelope[0].numpy(), wanted["envelope"], atol=1e-8)
    np.testing.assert_allclose((found.envelope + found.fine).numpy(), found.log_amplitude.numpy(), atol=1e-12)


def test_average_amplitude_is_one(tiny_data: Path) -> None:
    spectra = FeatureExtractor(PAPER)(torch.from_numpy(note(tiny_data, 7))[None])
    amplitude = torch.exp(spectra.log_amplitude[spectra.sounding]) - PAPER.log_floor
    assert float(amplitude.mean()) == pytest.approx(1.0, abs=1e-9)


def test_frames_do_not_see_the_future(tiny_data: Path) -> None:
    audio = torch.from_numpy(note(tiny_data, 11))[None]
    changed = audio.clone()
    changed[:, 40 * LIVE.hop_samples :] = 0.5
    features = FeatureExtractor(LIVE)
    before, after = features(audio), features(changed)
    assert torch.equal(before.log_amplitude[:, :40], after.log_amplitude[:, :40])
    assert not torch.equal(before.log_amplitude[:, 40:42], after.log_amplitude[:, 40:42])


@pytest.mark.parametrize("semitones", [-7, -3, 4, 7])
def test_pitch_shift_has_librosas_envelope(tiny_data: Path, semitones: int) -> None:
    """Within the frequencies both keep, the two ways of shifting agree on the envelope far better than not shifting
    would.
    """
    audio = note(tiny_data, 105)
    features = FeatureExtractor(PAPER)

    def envelope(amplitude: torch.Tensor) -> np.ndarray:
        mean = amplitude[0, 20:50].mean(0)
        smooth, _ = features.split(torch.log(mean + 1e-4 * mean.max())[None])
        top = int(PAPER.bins * 0.4)
        return (smooth - smooth[:, 4:top].mean())[0, 4:top].numpy()  # the level is normalised later in any case

    clean = features.amplitudes(torch.from_numpy(audio)[None]).amplitude
    ours = envelope(shift_pitch(clean, torch.tensor([float(semitones)], dtype=torch.float64)))
    theirs = envelope(
        features.amplitudes(
            torch.from_numpy(librosa.effects.pitch_shift(audio, sr=44100, n_steps=semitones))[None]
        ).amplitude
    )
    apart = np.abs(envelope(clean) - theirs).mean()
    assert np.abs(ours - theirs).mean() < 0.5 * apart


def test_pitch_shift_by_nothing_changes_nothing(tiny_data: Path) -> None:
    clean = FeatureExtractor(PAPER).amplitudes(torch.from_numpy(note(tiny_data, 5))[None]).amplitude
    assert torch.equal(shift_pitch(clean, torch.zeros(1)), clean)


def test_pitch_shift_moves_the_fundamental(tiny_data: Path) -> None:
    features = FeatureExtractor(PAPER)
    clean = features.amplitudes(torch.from_numpy(note(tiny_data, 45))[None]).amplitude[:, 30:31]
    octave = shift_pitch(clean, torch.full((1,), 12.0, dtype=torch.float64))
    assert abs(int(octave.argmax()) - 2 * int(clean.argmax())) <= 1
