"""The pitch tracker: right to a few cents, quick, causal, and silent about what is no single voice."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.dsp.f0 import F0Tracker
from tests.support.miniatures import CELLO, FLUTE, PIANO, notes

RATE, HOP = 44100, 256


def tone(
    f0: float | np.ndarray, seconds: float = 0.5, rate: int = RATE, partials: int = 10, phase: float = 0.0
) -> np.ndarray:
    """Partials h of amplitude 1/h in mixed phases.  f0 : Hz, or (samples,)"""
    track = np.broadcast_to(f0, round(seconds * rate)) if np.ndim(f0) == 0 else np.asarray(f0)
    turn = 2 * np.pi * np.cumsum(track) / rate + phase
    below = [h for h in range(1, partials + 1) if h * track.max() < 0.45 * rate]
    return 0.1 * np.sum([np.sin(h * turn + h * h) / h for h in below], axis=0)


def heard(sound: np.ndarray, rate: int = RATE, hop: int = HOP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f0, confidence and voiced after every hop."""
    tracker, found = F0Tracker(rate, hop), []
    for start in range(0, len(sound) - hop + 1, hop):
        tracker.push(sound[None, start : start + hop].astype(np.float64))
        found.append((tracker.f0_hz, tracker.confidence, tracker.voiced))
    f0, confidence, voiced = (np.array(column) for column in zip(*found, strict=True))
    return f0, confidence, voiced


def cents(f0: np.ndarray, wanted: float | np.ndarray) -> np.ndarray:
    return np.abs(1200 * np.log2(np.maximum(f0, 1.0) / wanted))


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
@pytest.mark.parametrize("f0", np.geomspace(41, 2000, 12).round(2).tolist())
def test_steady_tones_within_five_cents(rate: int, f0: float) -> None:
    found, confidence, voiced = heard(tone(f0, rate=rate), rate)
    settled = round(0.08 * rate / HOP)
    assert cents(found[settled:], f0).max() < 5
    assert confidence[settled:].min() > 0.9
    assert voiced[settled:].all()


@pytest.mark.parametrize("f0", [110, 147, 220, 440, 880, 1760])
def test_right_within_25_ms_of_an_onset(f0: float) -> None:
    """Whatever the phase, and wherever in a hop the tone begins."""
    for start in range(5000, 5000 + HOP, 37):
        sound = np.concatenate([np.zeros(start), tone(f0, 0.2, phase=start)])
        found, _, _ = heard(sound)
        ends = (np.arange(len(found)) + 1) * HOP
        late = ends >= start + 0.025 * RATE
        assert cents(found[late], f0).max() < 50


@pytest.mark.parametrize(("program", "key"), [(CELLO, 43), (FLUTE, 76), (PIANO, 60)])
def test_sampled_notes(program: int, key: int) -> None:
    sound = notes(program, (key,))[0]
    found, _, voiced = heard(sound)
    assert (cents(found[voiced], 440 * 2 ** ((key - 69) / 12)) < 50).mean() > 0.95
    assert voiced.mean() > 0.7


def test_a_glide_and_a_vibrato_are_followed() -> None:
    seconds = np.arange(2 * RATE) / RATE
    glide = 220 * 2 ** (seconds[:RATE])  # an octave a second
    vibrato = 440 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * seconds[:RATE]))
    for track in (glide, vibrato):
        found, _, voiced = heard(tone(track))
        wanted = track[(np.arange(len(found)) + 1) * HOP - 1]
        assert voiced[10:].all()
        assert cents(found[10:], wanted[10:]).max() < 50


def test_the_level_does_not_matter() -> None:
    sound = tone(196.0)
    loud, _, _ = heard(sound)
    for gain in (1e-3, 10.0):
        found, _, _ = heard(gain * sound)
        assert cents(found[10:], loud[10:]).max() < 0.1
    fading = sound * np.geomspace(1, 1e-3, len(sound))
    assert cents(heard(fading)[0][10:], 196).max() < 5


def test_a_reset_is_as_new_and_the_future_is_not_heard() -> None:
    sound = np.concatenate([tone(300.0, 0.2), tone(470.0, 0.2)])
    tracker = F0Tracker(RATE, HOP)

    def play(samples: np.ndarray) -> list[tuple[float, float]]:
        found = []
        for start in range(0, len(samples) - HOP + 1, HOP):
            tracker.push(samples[None, start : start + HOP])
            found.append((tracker.f0_hz, tracker.confidence))
        return found

    first = play(sound)
    tracker.reset()
    assert play(sound) == first
    tracker.reset()
    other = sound.copy()
    other[40 * HOP :] = 0.3
    assert play(other)[:40] == first[:40]


def noise(seconds: float = 0.5) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))


def clicks() -> np.ndarray:
    sound = np.zeros(RATE // 2)
    sound[3000::3100] = 0.9
    return sound


@pytest.mark.parametrize("sound", [np.zeros(RATE // 2), noise(), clicks(), np.full(RATE // 2, 0.5), 1e-7 * noise()])
def test_what_has_no_pitch_is_not_voiced_and_keeps_the_last_one(sound: np.ndarray) -> None:
    found, confidence, voiced = heard(np.concatenate([tone(330.0, 0.2), sound]))
    after = round((0.2 * RATE + 0.06 * RATE) / HOP)
    assert np.isfinite(found).all()
    assert confidence[after:].max() < 0.5
    assert not voiced[after:].any()
    assert cents(found[after:], 330).max() < 60


@pytest.mark.parametrize("semitones", [3, 4, 5, 6, 7, 8, 9])
def test_a_third_a_fourth_a_fifth_or_a_sixth_is_not_one_voice_at_their_common_period(semitones: int) -> None:
    both = tone(220.0, 0.4) + tone(220 * 2 ** (semitones / 12), 0.4, phase=1.0)
    found, confidence, _ = heard(np.concatenate([tone(220.0, 0.3), both]))
    after = round(0.36 * RATE / HOP)
    # The minor sixth's partials 5 and 8 leave least to see.
    assert np.median(confidence[after:]) < (0.5 if semitones == 8 else 0.3)
    assert cents(found[after:], 220).max() < 100, "the pitch stays where it was"


@pytest.mark.parametrize("f0", [20.0, 5000.0])
def test_beyond_the_range_nothing_is_broken(f0: float) -> None:
    found, confidence, _ = heard(tone(f0))
    assert np.isfinite(found).all()
    assert ((found == 0) | ((found > 39) & (found < 2300))).all()
    assert np.isfinite(confidence).all()


def test_huge_numbers_do_no_lasting_harm() -> None:
    with np.errstate(all="ignore"):  # as a session does
        found, confidence, _ = heard(np.concatenate([np.full(HOP, 1e200), tone(250.0)]))
    assert np.isfinite(confidence).all()
    assert cents(found[20:], 250).max() < 5
