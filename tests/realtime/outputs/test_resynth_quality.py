"""Resynth on real notes: spectra no worse than Griffin-Lim's, attacks, levels and partials kept."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from realtime.dsp.spectrum import frame_scale
from tests.support.miniatures import CELLO, CLARINET, FLUTE, PIANO
from tests.support.resynth import FEATURES, HOP, RATE, WINDOW, Curve, magnitudes, note, own_curve, played, resynth_of


def distances(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Spectral convergence and log-spectral distance in dB, of frames within 40 dB of the loudest, down to 60 dB below
    each one's peak.
    """
    count = min(len(found), len(wanted))
    level = np.sqrt(np.square(wanted[:count]).mean(1))
    keep = level > 0.01 * level.max()
    a, b = found[:count][keep], wanted[:count][keep]
    floor = 1e-3 * b.max(1, keepdims=True)
    decibels = 20 * np.log10((a + floor) / (b + floor))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b)), float(np.sqrt(np.square(decibels).mean(1)).mean())


def griffin_lim(wanted: np.ndarray) -> np.ndarray:
    """32 rounds over the whole sound, no momentum."""
    scale = frame_scale(FEATURES).amplitude
    sound = librosa.griffinlim(
        wanted.T / scale, n_iter=32, hop_length=HOP, n_fft=WINDOW, center=False, momentum=0.0, random_state=0
    )
    return sound[WINDOW - HOP :]


@pytest.mark.parametrize(("program", "key"), [(PIANO, 48), (CLARINET, 60), (FLUTE, 79), (CELLO, 43)])
def test_rebuilt_phases_come_as_near_to_the_magnitudes_as_32_rounds_of_griffin_lim(program: int, key: int) -> None:
    sound = note(program, key)
    resynth = resynth_of()
    wanted = magnitudes(sound)
    convergence, log_distance_db = distances(magnitudes(played(resynth, sound)[resynth.latency_samples :]), wanted)
    reference, _ = distances(magnitudes(griffin_lim(wanted)), wanted)
    assert convergence < max(1.15 * reference, 0.2)
    assert log_distance_db < 4


def test_more_latency_comes_nearer_and_a_frames_middle_is_near_in_decibels_too() -> None:
    sound = note(CLARINET, 60)
    wanted = magnitudes(sound)
    found = [
        distances(magnitudes(played(r, sound)[r.latency_samples :]), wanted)
        for r in (resynth_of(), resynth_of(latency_ms=23.2))
    ]
    assert found[1][0] < 0.7 * found[0][0]
    assert found[1][1] < found[0][1]


def clarinets_curve() -> Curve:
    """Whatever is played, a clarinet is decoded: nothing of the input's spectrum, so nothing of the input itself can be
    let through.
    """
    frozen = magnitudes(note(CLARINET, 60))[60]
    shape = np.log(frozen / frozen.mean() + FEATURES.log_floor)
    return lambda frame: (shape, float(frame.amplitude.mean()) or 1.0)


def test_with_another_sounds_spectrum_a_burst_is_where_it_was_and_hardly_longer_than_it_was() -> None:
    """Five milliseconds of noise in silence; a frame is nine times as long."""
    rng, length = np.random.default_rng(7), round(0.005 * RATE)
    starts = 12000 + 9000 * np.arange(5) + rng.integers(0, 2000, 5)
    sound = np.zeros(60000)
    for start in starts:
        sound[start : start + length] = 0.3 * rng.standard_normal(length)
    resynth = resynth_of()
    out = played(resynth, sound, curve=clarinets_curve())[resynth.latency_samples :]
    for start in starts:
        power, dry = (np.square(found[start - 2000 : start + 5000]) for found in (out, sound))
        place = np.arange(7000) - 2000
        assert abs(place @ power / power.sum() - place @ dry / dry.sum()) < HOP
        so_far = np.cumsum(power) / power.sum()
        assert place[np.argmax(so_far > 0.05)] > -10, "nothing is heard before it"
        assert place[np.argmax(so_far > 0.95)] < 3.2 * length, "nor long after it"
        assert abs(10 * np.log10(power.sum() / dry.sum())) < 4


@pytest.mark.parametrize("key", [52, 64])
def test_with_another_sounds_spectrum_a_plucked_note_rises_as_fast_as_it_did(key: int) -> None:
    sound = np.concatenate([np.zeros(30000), note(PIANO, key)[1111:]])
    resynth = resynth_of()
    out = played(resynth, sound, curve=clarinets_curve())[resynth.latency_samples :]
    assert abs(_rise(out) - _rise(sound[: len(out)])) < HOP
    assert _rise(out, 0.1) > _rise(sound, 0.1) - 0.003 * RATE, "it does not begin before"


@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_nothing_is_heard_where_steps_meet(phase: float) -> None:
    """The third difference of a pure tone would show a leap every 256 samples."""
    sound = 0.5 * np.sin(2 * np.pi * 523.3 * np.arange(RATE) / RATE)
    resynth = resynth_of(phase)
    out = played(resynth, sound)[60 * HOP : 150 * HOP]
    leaps = np.abs(np.diff(out, 3)[: 89 * HOP]).reshape(-1, HOP).mean(0)
    assert leaps.max() < 2 * np.median(leaps)


@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_an_attack_is_where_it_was(phase: float) -> None:
    """A plucked note's rise to half its highest, in the dry sound and in the resynthesised."""
    sound = np.concatenate([np.zeros(30000), note(PIANO, 64)[1111:]])
    resynth = resynth_of(phase)
    out = played(resynth, sound)[resynth.latency_samples :]
    assert abs(_rise(out) - _rise(sound[: len(out)])) < 0.004 * RATE


def _rise(sound: np.ndarray, share: float = 0.5) -> int:
    envelope = np.sqrt(np.convolve(np.square(sound), np.ones(128) / 128, "same"))
    first = slice(0, 30000 + RATE // 10)
    return int(np.argmax(envelope >= share * envelope[first].max()))


def test_between_the_two_phases_a_tone_keeps_its_level_there_is_no_comb() -> None:
    times = np.arange(RATE) / RATE
    sound = sum(0.2 / k * np.sin(2 * np.pi * 220.7 * k * times + k) for k in range(1, 12)) * np.minimum(1, 10 * times)
    wanted = magnitudes(sound)[80:-8]
    for phase in (0.1, 0.3, 0.5, 0.7, 0.9):
        resynth = resynth_of(phase)
        found = magnitudes(played(resynth, sound)[resynth.latency_samples :])[80:-8]
        partials = wanted.max(0) > 0.01
        level_db = 20 * np.log10(found[:, partials].mean(0) / wanted[:, partials].mean(0))
        assert np.abs(level_db).max() < 1.5


def test_keys_play_the_decoded_spectrum_whatever_is_heard() -> None:
    """A frozen clarinet while someone hums noise: its spectrum, at its level, its pitch."""
    frozen = magnitudes(note(CLARINET, 60))[60]
    level = 0.01
    noise = 0.3 * np.random.default_rng(3).standard_normal(RATE)
    resynth = resynth_of(1.0, follows=False)
    out = played(resynth, noise, curve=lambda _: (np.log(frozen / level + FEATURES.log_floor), level))
    found = magnitudes(out)[100:150]
    assert np.linalg.norm(found - frozen) / np.linalg.norm(np.broadcast_to(frozen, found.shape)) < 0.3


def test_a_weak_spectrum_is_as_loud_as_what_is_heard() -> None:
    """Decoders blur, and blurred spectra are weak: the loudness is the input's all the same."""
    sound = note(CELLO, 50)
    resynth = resynth_of()
    out = played(resynth, sound, curve=lambda frame: (np.log(0.1 * np.exp(own_curve(frame)[0])), own_curve(frame)[1]))
    middle = slice(RATE // 5, RATE // 2)
    assert abs(20 * np.log10(np.std(out[middle]) / np.std(sound[middle]))) < 1.5
