"""Channels that cancel in their mean, and noise before the first note: as loud as what went in."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Bundle, embedded_bundle, load_bundle
from realtime.knobs.targets import morph_targets
from realtime.session import SessionOptions
from tests.support.sessions import play, session_of

RATE = 44100


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(embedded_bundle())


def tone() -> np.ndarray:
    seconds = np.arange(2 * RATE) / RATE
    return 0.3 * np.sum([np.sin(2 * np.pi * 220 * k * seconds) / k for k in range(1, 9)], axis=0)


def stereo(right: float) -> np.ndarray:
    return np.stack([tone(), right * tone()], 1).astype(np.float32)


def preset(bundle: Bundle, name: str) -> dict[str, float]:
    return {"preset": 1 + [one.name for one in bundle.manifest.presets].index(name)}


def level_db(sound: np.ndarray) -> np.ndarray:
    """Of each channel, from 100 ms on."""
    return 20 * np.log10(np.sqrt(np.mean(np.square(sound[RATE // 10 :], dtype=np.float64), axis=0)) + 1e-12)


@pytest.mark.parametrize("right", [-1.0, -0.99, 0.0, 0.5])
@pytest.mark.parametrize("edit", ["Flute", "Violin", "brightness"])
def test_the_level_is_that_of_channels_in_phase(bundle: Bundle, right: float, edit: str) -> None:
    knobs = {"brightness": 2.5} if edit == "brightness" else preset(bundle, edit)
    together, apart = stereo(1.0), stereo(right)
    wanted = level_db(play(session_of(bundle, knobs, channels=2), together)) - level_db(together)
    out = play(session_of(bundle, knobs, channels=2), apart, [333, 64, 2000])
    gained = level_db(out) - level_db(apart)
    assert abs(gained[0] - wanted[0]) < 1
    assert np.abs(out).max() < 2
    if right:
        assert abs(gained[1] - wanted[1]) < 1


def test_resynth_of_channels_that_cancel_sounds(bundle: Bundle) -> None:
    out = play(session_of(bundle, {"resynth": 1.0}, channels=2), stereo(-1.0))
    assert abs(level_db(out)[0] - level_db(stereo(1.0))[0]) < 3


@pytest.mark.parametrize("right", [-1.0, 0.3])
def test_blocks_change_nothing_where_channels_cancel_and_at_rest_it_is_the_input(bundle: Bundle, right: float) -> None:
    sound = np.concatenate([stereo(1.0)[:20000], stereo(right)[:20000]])
    knobs = preset(bundle, "Flute")
    one, other = (play(session_of(bundle, knobs, channels=2), sound, sizes) for sizes in ([512], [1, 700, 64, 3000]))
    assert np.abs(one - other).max() < 1e-5
    assert np.array_equal(play(session_of(bundle, {}, channels=2), sound), sound)


@pytest.mark.parametrize("edit", ["Flute", "Violin", "brightness"])
def test_noise_before_the_first_note_is_not_made_louder(bundle: Bundle, edit: str) -> None:
    knobs = {"brightness": 3.0} if edit == "brightness" else preset(bundle, edit)
    noise = 1e-5 * np.random.default_rng(0).standard_normal((RATE, 1)).astype(np.float32)
    out = play(session_of(bundle, knobs, options=SessionOptions(provider="cpu")), noise)
    assert np.array_equal(out, noise)
    assert {"brightness"} <= {target.name for target in morph_targets(bundle.manifest)}
