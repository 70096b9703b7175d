"""The shipped checkpoint and the bundle inside `realtime`: what they promise, and that one is made of the other."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from export.calibration import calibration_sounds
from export.pipeline import Options, export
from export.quantize.quantize import parse_precision
from realtime.bundle import embedded_bundle, find_bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session
from training.checkpoint import load_checkpoint
from training.dsp.f0 import track_pitch
from training.models.latents import parameters_of

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "training/checkpoints/live.pt"
CARD = json.loads(CHECKPOINT.with_suffix(".json").read_text(encoding="utf-8"))
PHRASE = ROOT / "benchmarks/demo/phrase.flac"


def test_checkpoint_is_the_live_recipe_and_its_card_says_how_it_was_made() -> None:
    checkpoint = load_checkpoint(CHECKPOINT)
    assert CHECKPOINT.stat().st_size <= 16e6
    assert checkpoint.features.hop_samples <= 256
    assert parameters_of(checkpoint.model) == CARD["parameters"] <= 5_000_000
    assert not checkpoint.model.config.bidirectional
    for key in ("command", "seed", "training_seconds", "data", "step"):
        assert CARD[key] or CARD[key] == 0


def test_card_meets_the_marks() -> None:
    """Figures measured on held-out sounds at the model's release, as `python -m training.evaluate` measures them."""
    held_out = CARD["held_out"]
    assert held_out["authority of timbre"] >= 0.5
    assert held_out["authority of variation"] <= 0.3
    assert held_out["instrument from timbre"] >= 3 * held_out["instrument from pitch"]
    assert held_out["pitch from pitch"] >= 3 * held_out["pitch from timbre"]


def test_embedded_bundle_is_the_checkpoint_exported(tmp_path: Path) -> None:
    export(CHECKPOINT, tmp_path / "again.bundle", Options(parse_precision("int8"), streaming_only=True))
    embedded, again = load_bundle(embedded_bundle()), load_bundle(tmp_path / "again.bundle")
    assert embedded.manifest.model_copy(update={"graphs": {}, "fidelity": {}}) == again.manifest.model_copy(
        update={"graphs": {}, "fidelity": {}}
    )
    assert sum(file.stat().st_size for file in embedded.path.rglob("*") if file.is_file()) <= 8e6
    sound, rate = soundfile.read(PHRASE, dtype="float32", always_2d=True)
    results = []
    for bundle in (embedded, again):
        knobs = KnobBank(bundle.manifest)
        knobs.set("brightness", 2.0)
        results.append(render(Session(bundle, knobs, channels=1, sample_rate=rate), sound[: 3 * rate], rate))
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


@pytest.fixture(scope="module")
def embedded_session() -> Session:
    bundle = load_bundle(embedded_bundle())
    return Session(bundle, KnobBank(bundle.manifest), channels=1, sample_rate=44100)


def play(session: Session, sound: np.ndarray, **values: float) -> np.ndarray:
    """One sound with these knobs, from rest; `__` stands for brackets: timbre__0."""
    for target in session.knobs.targets:
        session.knobs.set(target.name, target.default)
    for name, value in values.items():
        head, _, index = name.partition("__")
        session.knobs.set(f"{head}[{index}]" if index else head, value)
    session.reset()
    return render(session, sound, 44100)


def test_at_rest_the_phrase_comes_back(embedded_session: Session) -> None:
    sound, _ = soundfile.read(PHRASE, dtype="float32", always_2d=True)
    difference = np.abs(play(embedded_session, sound) - sound).max()
    assert 20 * np.log10(difference + 1e-30) <= -100


@pytest.mark.parametrize("knob", [f"timbre__{i}" for i in range(8)] + ["brightness", "noisiness", "attack", "odd_even"])
def test_every_mapped_knob_is_heard(embedded_session: Session, knob: str) -> None:
    """Turned to its end, each of the built-in map's knobs changes the spectrum of a real phrase by at least 1 dB (RMS
    over bands).
    """
    sound, _ = soundfile.read(PHRASE, dtype="float32", always_2d=True)
    sound = sound[44100 : 4 * 44100]
    before, after = _bands(sound[:, 0]), _bands(play(embedded_session, sound, **{knob: 3.0})[:, 0])
    assert np.sqrt(np.mean(np.square(after - before))) >= 1.0


def _bands(sound: np.ndarray) -> np.ndarray:
    """Levels in third octaves from 100 Hz to 10 kHz, dB."""
    power = np.square(np.abs(np.fft.rfft(sound)))
    frequency = np.fft.rfftfreq(len(sound), 1 / 44100)
    edges = 100 * 2 ** (np.arange(21) / 3)
    return np.array(
        [
            10 * np.log10(power[(frequency >= low) & (frequency < high)].mean() + 1e-12)
            for low, high in itertools.pairwise(edges)
        ]
    )


def test_brightness_up_is_brighter(embedded_session: Session) -> None:
    """The labelled knob does what its label says: the spectral centroid of held-out notes follows it, in the median."""
    notes = calibration_sounds(load_checkpoint(CHECKPOINT), None).held_out.numpy()
    moved = [
        [
            _centroid_hz(play(embedded_session, note[:, None], brightness=value)[:, 0]) / _centroid_hz(note)
            for value in (-2.0, 2.0)
        ]
        for note in notes
    ]
    darker, brighter = np.median(moved, axis=0)
    assert darker < 0.95
    assert brighter > 1.05


def _centroid_hz(sound: np.ndarray) -> float:
    amplitude = np.abs(np.fft.rfft(sound))
    return float((np.fft.rfftfreq(len(sound), 1 / 44100) * amplitude).sum() / amplitude.sum())


def test_presets_are_in_general_midi_order() -> None:
    names = [preset.name for preset in load_bundle(embedded_bundle()).manifest.presets]
    assert len(names) == 104
    assert "violin" in names[40].lower()
    assert "flute" in names[73].lower()


def test_no_bundle_named_means_the_newest_here_else_the_embedded_one(tmp_path: Path) -> None:
    assert find_bundle(tmp_path) == embedded_bundle()
    for name, age in (("old.bundle", 100), ("new.bundle", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
        os.utime(tmp_path / name / "manifest.json", (1e9 - age, 1e9 - age))
    assert find_bundle(tmp_path).name == "new.bundle"


def test_the_demo_runs(tmp_path: Path) -> None:
    """What `make demo` runs, whole: not silent, equal to the phrase where the knobs rest, different where they move."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, rate = soundfile.read(PHRASE)
    after, after_rate = soundfile.read(tmp_path / "demo.wav")
    assert after_rate == rate
    assert len(after) == len(before)
    assert np.sqrt(np.mean(np.square(after))) > 0.01
    np.testing.assert_array_equal(after[: 3 * rate], before[: 3 * rate].astype(np.float32))
    for start, end in ((3.3, 4.3), (7.5, 9.5), (10.5, 11.5), (12.2, 13.0)):
        stretch = slice(round(start * rate), round(end * rate))
        change = np.sqrt(np.mean(np.square(after[stretch] - before[stretch])) / np.mean(np.square(before[stretch])))
        assert change > 0.1, f"{start} … {end} s"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["real_time_factor"] > 1
    assert summary["latency_samples"] == 0
    assert (tmp_path / "demo.png").stat().st_size > 20_000
    assert (tmp_path / "synth.png").stat().st_size > 20_000
    for name, preset in (("phrase", "flute"), ("voice", "violin"), ("guitar", "clarinet")):
        before, rate = soundfile.read(PHRASE.with_name(f"{name}.flac"))
        after, _ = soundfile.read(tmp_path / f"{name}-{preset}.wav")
        assert len(after) == len(before)
        assert 20 * np.log10(np.std(after) / np.std(before)) == pytest.approx(0, abs=6)  # A-weighted levels are equal
        both = [track_pitch(sound.astype(np.float32), rate, 256) for sound in (before, after)]
        sure = (both[0].confidence > 0.8) & (both[1].confidence > 0.8)
        assert sure.mean() > 0.5
        cents = 1200 * np.abs(np.log2(both[1].f0_hz[sure] / both[0].f0_hz[sure]))
        assert np.median(cents) < 5
        assert (cents < 50).mean() > 0.95
