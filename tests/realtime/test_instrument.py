"""The library: what it renders is what the session plays; nothing turned is nothing changed; mistakes are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from realtime import Instrument
from realtime.bundle import load_bundle
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import KnobError
from realtime.render import render
from realtime.session import Session, SessionOptions
from tests.support.bundles import make_bundle

RATE = 44100


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("instrument") / "small.bundle")


@pytest.fixture(scope="module")
def instrument(path: Path) -> Instrument:
    return Instrument.load(path, provider="cpu")


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """(frames, 2), half a second of a decaying chord."""
    t = np.arange(RATE // 2) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 331.0, 442.0)) * np.exp(-3 * t) / 4
    return np.stack([chord, 0.5 * chord], axis=1).astype(np.float32)


def test_nothing_turned_gives_the_sound_itself(instrument: Instrument, sound: np.ndarray) -> None:
    assert np.array_equal(instrument.render(sound, RATE), sound)
    assert np.array_equal(instrument.render(sound[:, 0], RATE), sound[:, 0])


def test_rendering_is_what_the_session_plays(instrument: Instrument, path: Path, sound: np.ndarray) -> None:
    bundle = load_bundle(path)
    bank = KnobBank(bundle.manifest)
    bank.set("brightness", 1.5)
    bank.set("preset", 1)
    session = Session(bundle, bank, channels=2, sample_rate=RATE, options=SessionOptions(provider="cpu"))
    wanted = render(session, sound, RATE)
    played = instrument.render(sound, RATE, brightness=1.5, preset="Alto")
    assert np.array_equal(played, wanted)
    assert not np.allclose(played, sound, atol=1e-3)
    assert np.array_equal(played, instrument.render(sound, RATE, brightness=1.5, preset=1))


def test_a_stream_in_blocks_is_the_whole_rendering(instrument: Instrument, sound: np.ndarray) -> None:
    whole = instrument.render(sound, RATE, preset="gong")
    stream = instrument.stream(RATE, channels=2, preset="gong")
    blocks = np.split(sound, [1, 100, 1337, 9000])
    assert np.array_equal(np.concatenate([stream.process(block) for block in blocks]), whole)


def test_a_knob_turned_in_a_stream_is_heard(instrument: Instrument, sound: np.ndarray) -> None:
    mono, half = sound[:, 0], len(sound) // 2
    stream = instrument.stream(RATE)
    assert np.array_equal(stream.process(mono[:half]), mono[:half])
    stream.turn(brightness=2.5)
    assert not np.array_equal(stream.process(mono[half:]), mono[half:])


def test_resynth_is_in_step_and_a_stream_says_how_late_it_is(instrument: Instrument, sound: np.ndarray) -> None:
    assert instrument.render(sound, RATE, resynth=1.0, latency_ms=10.0).shape == sound.shape
    assert instrument.stream(RATE).latency_samples == 0
    longest = instrument.bundle.manifest.features.window_samples // 2
    assert instrument.stream(RATE, latency_ms=50.0, resynth=1.0).latency_samples == longest


def test_mistakes_are_named_and_nothing_moves(instrument: Instrument, sound: np.ndarray) -> None:
    with pytest.raises(KnobError, match="did you mean brightness"):
        instrument.render(sound, RATE, brightnes=1.0)
    with pytest.raises(KnobError, match=r"there is no preset 'Banjo'; there are alto, gong"):
        instrument.render(sound, RATE, preset="Banjo")
    with pytest.raises(KnobError, match="only presets"):
        instrument.render(sound, RATE, mix="half")
    with pytest.raises(KnobError, match="captured timbres"):
        instrument.render(sound, RATE, preset=3)
    with pytest.raises(ValueError, match="floating point"):
        instrument.render((sound * 32767).astype(np.int16), RATE)
    with pytest.raises(ValueError, match="not empty"):
        instrument.render(np.zeros((0, 2), np.float32), RATE)
    with pytest.raises(ValueError, match="the stream has 1 channels"):
        instrument.stream(RATE).process(sound)
    stream = instrument.stream(RATE)
    with pytest.raises(KnobError):
        stream.turn(brightness=1.0, mix=7.0)
    assert np.array_equal(stream.process(sound[:, 0]), sound[:, 0])


def test_the_built_in_model_and_the_import_that_loads_nothing_else() -> None:
    assert "Violin" in Instrument.load().presets
    script = "import sys, realtime; sys.exit('onnxruntime' in sys.modules or not realtime.Instrument)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
