"""The frames of the stage are those of training, however they arrive; the note estimate is right on real notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from realtime.bundle import Features
from realtime.dsp.fourier import RealFourier
from realtime.dsp.pitch import PitchTracker
from realtime.dsp.spectrum import FrameAnalyser
from training.data.manifest import SoundSet, read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor

CONFIG = FeatureConfig(
    window_samples=2048,
    hop_samples=256,
    log_floor=1e-2,
    cutoff_quefrency=100,
    normalisation="running",
    silence_dbfs=-60.0,
)
PARTS = ("log_amplitude", "envelope", "fine")


def features_of(config: FeatureConfig) -> Features:
    names = (
        "sample_rate",
        "window_samples",
        "hop_samples",
        "log_floor",
        "cutoff_quefrency",
        "level_seconds",
        "silence_dbfs",
    )
    return Features(**{name: getattr(config, name) for name in names})


def frames_of(config: FeatureConfig, sound: np.ndarray) -> dict[str, np.ndarray]:
    analyser, hop = FrameAnalyser(features_of(config)), config.hop_samples
    rows: dict[str, list] = {name: [] for name in (*PARTS, "sounding")}
    for start in range(0, len(sound) - hop + 1, hop):
        analyser.push(sound[None, start : start + hop].astype(float))
        for name, row in rows.items():
            row.append(np.copy(getattr(analyser, name)))
    return {name: np.array(row) for name, row in rows.items()}


@pytest.fixture(scope="module")
def dataset(tiny_data: Path) -> SoundSet:
    return read_dataset(tiny_data)


@pytest.fixture(scope="module")
def phrase(dataset: SoundSet) -> np.ndarray:
    """Silence, then three real notes, one very soft, with silence between."""
    store, gap = SoundStore(dataset), np.zeros(9000, np.float32)
    notes = [
        store.read(int(np.flatnonzero(dataset.program == program)[4]), 0, 30000) * gain
        for program, gain in ((0, 1.0), (40, 0.01), (56, 0.7))
    ]
    return np.concatenate([gap, *(part for note in notes for part in (note, gap))]).astype(float)


@pytest.mark.parametrize(
    "change", [{}, {"window_samples": 1024, "hop_samples": 441, "cutoff_quefrency": 512}, {"level_seconds": 0.05}]
)
def test_frames_are_those_of_training(phrase: np.ndarray, change: dict) -> None:
    config = replace(CONFIG, **change)
    mine, reference = frames_of(config, phrase), FeatureExtractor(config)(torch.from_numpy(phrase)[None])
    sounding = reference.sounding[0].numpy()
    assert np.array_equal(mine["sounding"], sounding)
    assert 0.2 < sounding.mean() < 0.95
    assert not sounding[0]
    for name in PARTS:
        assert np.abs(mine[name] - getattr(reference, name)[0].numpy()).max() < 1e-5, name


def test_silence_leaves_the_level_alone(phrase: np.ndarray) -> None:
    """The same note, once straight away, once after a minute of hiss below the threshold, reads the same."""
    note = phrase[9000:20000]
    hiss = np.random.default_rng(0).standard_normal(256 * 2000) * 1e-5
    straight, later = frames_of(CONFIG, note), frames_of(CONFIG, np.concatenate([hiss, note]))
    assert not later["sounding"][:2000].any()
    behind = CONFIG.window_samples // CONFIG.hop_samples
    assert np.abs(later["log_amplitude"][2000 + behind :] - straight["log_amplitude"][behind:]).max() < 0.01


@pytest.mark.parametrize("level", ["amplitude", "power"])
def test_another_analyser_goes_on_at_the_level(phrase: np.ndarray, level: str) -> None:
    """After a restart the frames are again what they would have been, as soon as the window is full; and a level that
    is none is not taken.
    """
    features = features_of(CONFIG).model_copy(update={"level": level})
    straight, resumed = FrameAnalyser(features), FrameAnalyser(features)
    assert (straight.level, straight.level_state) == (0.0, (0.0, 0.0))
    restart, behind = 80, CONFIG.window_samples // CONFIG.hop_samples
    for i in range(120):
        hop = phrase[None, 256 * i : 256 * (i + 1)]
        if i >= restart:
            resumed.push(hop)
        # From here both have heard the same window; the level of the first hops was that of a window half empty.
        if i == restart + behind:
            resumed.restore(*straight.level_state)
        straight.push(hop)
        if i > restart + behind:
            assert np.abs(resumed.log_amplitude - straight.log_amplitude).max() < 0.02
    assert straight.level > 0
    running = straight.level_state[0]
    assert straight.level == pytest.approx(running if level == "amplitude" else running**0.5)
    for bad in ((np.nan, 5.0), (np.inf, 5.0), (-1.0, 5.0), (1.0, 0.0), (1.0, np.nan)):
        resumed.restore(*bad)
        assert resumed.level_state == (0.0, 0.0)
        assert np.isfinite(resumed.log_amplitude).all()


def test_a_sound_that_fades_below_all_numbers_leaves_no_tiny_ones() -> None:
    """Numbers near 1e-310 take the CPU a hundred times longer; a decaying sound must not fill frames with them."""
    analyser, tracker = FrameAnalyser(features_of(CONFIG)), PitchTracker(features_of(CONFIG))
    tone = np.sin(2 * np.pi * 440 * np.arange(256 * 400) / 44100)
    decaying = tone * 10.0 ** (-310 * np.arange(len(tone)) / len(tone))
    for start in range(0, len(tone), 256):
        analyser.push(decaying[None, start : start + 256])
        if analyser.sounding:
            tracker.update(analyser.amplitude)
        for part in (analyser.amplitude, analyser.log_amplitude, analyser.envelope, analyser.fine):
            assert np.isfinite(part).all()
            assert not ((part != 0) & (np.abs(part) < np.finfo(part.dtype).tiny)).any()
    assert not analyser.amplitude.any()


@pytest.mark.parametrize("samples", [64, 882, 1280, 2048])
@pytest.mark.parametrize(("real", "limit"), [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_both_ways_of_a_transform_are_numpys(
    samples: int, real: type, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loops beneath numpy's functions, and the functions where a numpy has no such loops."""
    signal = np.random.default_rng(0).standard_normal((3, samples))
    wanted = np.fft.rfft(signal)
    size = np.abs(wanted).max()
    for without in (False, True):
        if without:
            monkeypatch.delattr(np.fft, "_pocketfft_umath", raising=False)
        fourier = RealFourier(samples, real)
        spectrum: np.ndarray = np.empty(wanted.shape, np.result_type(real, 1j))
        back: np.ndarray = np.empty(signal.shape, real)
        fourier.forward(signal.astype(real), spectrum)
        fourier.inverse(spectrum, back)
        assert np.abs(spectrum - wanted).max() < limit * size
        assert np.abs(back - signal).max() < limit * 10


def test_a_reset_analyser_repeats_itself(phrase: np.ndarray) -> None:
    analyser = FrameAnalyser(features_of(CONFIG))
    fresh = analyser.log_amplitude.copy()
    first: list[np.ndarray] = []
    for again in (False, True):
        analyser.reset()
        assert np.array_equal(analyser.log_amplitude, fresh)
        for start in range(0, 20480, 256):
            analyser.push(phrase[None, start : start + 256])
            if again:
                assert np.array_equal(analyser.fine, first[start // 256])
            else:
                first.append(analyser.fine.copy())


def note_errors(dataset: SoundSet, row: int) -> np.ndarray:
    """Semitones off, for the sounding frames of a note after its first 70 ms."""
    sound = SoundStore(dataset).read(row).astype(float)
    features = features_of(CONFIG)
    analyser, tracker, errors = FrameAnalyser(features), PitchTracker(features), []
    for start in range(0, len(sound) - 256, 256):
        analyser.push(sound[None, start : start + 256])
        if analyser.sounding:
            tracker.update(analyser.amplitude)
            if start > 3072:
                errors.append((np.inf if tracker.midi_note is None else tracker.midi_note) - dataset.pitch[row])
    return np.array(errors)


def test_the_note_is_heard_within_a_semitone(dataset: SoundSet) -> None:
    errors = np.concatenate([note_errors(dataset, row) for row in range(0, len(dataset), 3)])
    right, octave = np.abs(errors) < 1, (np.abs(errors) >= 1) & (np.abs(errors - 12 * np.round(errors / 12)) < 1)
    assert len(errors) > 3000
    assert right.mean() > 0.9, f"{right.mean():.1%} right, {octave.mean():.1%} octave errors"
    assert octave.mean() < 0.06


def test_low_notes_too(soundfont: Path, tmp_path: Path) -> None:
    """E2 to B2 of a guitar and a cello: four to five periods in a window."""
    from training.data.soundfont import main

    options = ["--programs", "24,42", "--notes", "40,43,47", "--velocities", "90", "--no-percussion"]
    assert main(["--soundfont", str(soundfont), "--out", str(tmp_path / "low"), *options]) == 0
    dataset = read_dataset(tmp_path / "low")
    errors = np.concatenate([note_errors(dataset, row) for row in range(len(dataset))])
    assert (np.abs(errors) < 1).mean() > 0.85


def test_noise_has_no_note() -> None:
    """White noise is rarely taken for a note, and the last note heard stays."""
    features = features_of(CONFIG)
    analyser, tracker = FrameAnalyser(features), PitchTracker(features)
    random, voiced = np.random.default_rng(0), 0
    for _ in range(200):
        analyser.push(random.standard_normal((1, 256)) * 0.1)
        tracker.update(analyser.amplitude)
        voiced += tracker.voiced
    assert voiced < 60
