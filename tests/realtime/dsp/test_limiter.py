"""The last stage: below full scale nothing happens, above it the level is held, and no number goes out that is none."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.dsp.fader import Fader
from realtime.dsp.limiter import CEILING, RELEASE_SECONDS, Limiter, repair

RATE = 44100


def limited(sound: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """sound : (channels, samples)"""
    limiter, out, count = Limiter(RATE, 2048), sound.copy(), 0
    for start in range(0, sound.shape[1], size):
        block = out[:, start : start + size]
        count += limiter.process(block, float(np.abs(block).max()))
    return out, count


@pytest.fixture
def loud() -> np.ndarray:
    """Two channels, quiet, then one of them four times too loud, then quiet again."""
    sound = 0.3 * np.random.default_rng(1).standard_normal((2, 30000)).clip(-3, 3)
    sound[0, 8000:9000] *= 4
    return sound


def test_below_full_scale_every_sample_passes_unchanged(loud: np.ndarray) -> None:
    quiet = loud / np.abs(loud).max()
    out, count = limited(quiet, 256)
    assert np.array_equal(out, quiet)
    assert count == 0


def test_what_is_too_loud_is_held_at_the_ceiling_and_both_channels_alike(loud: np.ndarray) -> None:
    out, count = limited(loud, 256)
    assert np.abs(out).max() <= CEILING
    assert count > 100
    gain = out / np.where(loud == 0, 1, loud)
    assert np.allclose(gain[0], gain[1], atol=1e-12)
    first = int(np.argmax(np.abs(loud).max(0) > CEILING))
    assert np.array_equal(out[:, :first], loud[:, :first]), "nothing is turned down before it is too loud"
    assert np.array_equal(out[:, -4000:], loud[:, -4000:]), "and at last it is as before"
    recovering = gain[0, 9000 : 9000 + round(RELEASE_SECONDS * RATE)]
    assert np.diff(recovering).max() < 2e-3


@pytest.mark.parametrize("size", [1, 7, 333, 2048])
def test_blocks_of_any_size_give_the_same(loud: np.ndarray, size: int) -> None:
    assert np.abs(limited(loud, size)[0] - limited(loud, 512)[0]).max() < 1e-12


@pytest.mark.parametrize("level", [1e3, 1e30, 3e38])
def test_a_square_wave_of_any_size_stays_below_full_scale(level: float) -> None:
    square = np.where(np.arange(5000) // 50 % 2, level, -level)[None].astype(np.float32)
    out, _ = limited(square, 128)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= CEILING


def test_what_is_not_a_number_becomes_silence_and_is_counted() -> None:
    block = np.array([[0.5, np.nan, np.inf], [-np.inf, 0.25, -1.0]])
    assert repair(block) == 3
    assert np.array_equal(block, [[0.5, 0, 0], [0, 0.25, -1.0]])
    assert repair(block) == 0


@pytest.mark.parametrize("size", [1, 5, 64, 100])
def test_a_fader_goes_in_straight_lines_whatever_the_blocks(size: int) -> None:
    """Also when it is sent elsewhere before it has arrived."""
    fader, gains = Fader(100, 100), []
    for start in range(0, 500, size):
        if 50 <= start < 50 + size:
            fader.go(1.0)
        n = min(size, 500 - start)
        gains.append(np.broadcast_to(fader.process(n), n).copy())
    curve = np.concatenate(gains)
    assert np.abs(np.diff(curve)).max() <= 0.01 + 1e-12
    assert (curve[0], curve[-1]) == (0.0, 1.0)
    assert fader.open
    fader.go(0.0)
    fader.process(50)
    fader.go(1.0)
    assert np.broadcast_to(fader.process(1), 1)[0] == pytest.approx(0.5 + 0.005)
