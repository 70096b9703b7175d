"""Resynth on real notes: the delay it says, the input itself where nothing is changed, spectra no worse than
Griffin-Lim's, attacks kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import cycle

import librosa
import numpy as np
import pytest

from realtime.bundle import Features, embedded_bundle, load_bundle
from realtime.dsp.framing import HopSource
from realtime.dsp.spectrum import FrameAnalyser, frame_scale
from realtime.dsp.step_resampler import StepOutput, steps_of
from realtime.outputs.resynth.layout import layout_of
from realtime.outputs.resynth.resynth import Resynth
from tests.support.miniatures import CELLO, CLARINET, FLUTE, PIANO, notes

FEATURES = load_bundle(embedded_bundle()).manifest.features
RATE, HOP, WINDOW = FEATURES.sample_rate, FEATURES.hop_samples, FEATURES.window_samples
MOST = 2048
Curve = Callable[[FrameAnalyser], tuple[np.ndarray, float]]  # a frame's decoded curve and its level


def own_curve(frame: FrameAnalyser) -> tuple[np.ndarray, float]:
    """What a perfect model decodes: the frame itself."""
    level = float(frame.amplitude.mean()) or 1.0
    return np.log(frame.amplitude / level + FEATURES.log_floor), level


def played(
    resynth: Resynth,
    sound: np.ndarray,
    *,
    rate: float = RATE,
    blocks: tuple[int, ...] = (333,),
    curve: Curve = own_curve,
    active: bool = True,
) -> np.ndarray:
    """As a session plays it: a frame is heard whenever a hop has ended. As long as the sound, late."""
    hops, frame, out, start = HopSource(FEATURES, rate), FrameAnalyser(FEATURES), np.zeros(len(sound)), 0
    sizes = cycle(blocks)
    while start < len(sound):
        end, done = min(len(sound), start + next(sizes)), start
        while True:
            taken = hops.take(sound[done:end])
            if taken:
                out[done : done + taken] = resynth.process(sound[done : done + taken], active)
                done += taken
            if hops.ended:
                frame.push(hops.hop)
                resynth.hear(*_heard(curve, frame))
            elif done == end:
                break
        start = end
    return out


def _heard(curve: Curve, frame: FrameAnalyser) -> tuple[np.ndarray, FrameAnalyser, float]:
    log, level = curve(frame)
    return log, frame, level


def note(program: int, key: int, seconds: float = 0.7) -> np.ndarray:
    """Peaks at 0.5; silence before (so that its start is no hop's) and after."""
    sound = notes(program, (key,), seconds=seconds)[0]
    return np.concatenate([np.zeros(1111), 0.5 * sound / np.abs(sound).max(), np.zeros(4096)])


def magnitudes(sound: np.ndarray) -> np.ndarray:
    """(frames, bins), 1 = a full-scale sine."""
    frame = FrameAnalyser(FEATURES)
    found = []
    for start in range(0, len(sound) - HOP + 1, HOP):
        frame.push(sound[None, start : start + HOP])
        found.append(frame.amplitude.copy())
    return np.array(found)


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


def resynth_of(phase: float = 0.0, *, latency_ms: float = 6.0, rate: float = RATE, follows: bool = True) -> Resynth:
    resynth = Resynth(FEATURES, rate, latency_ms, MOST)
    resynth.phase, resynth.follows = phase, follows
    return resynth


@pytest.mark.parametrize("latency_ms", [3.0, 6.0, 10.0, 23.0, 50.0])
def test_with_the_inputs_phases_its_own_magnitudes_give_back_the_input_as_late_as_it_says(latency_ms: float) -> None:
    resynth = resynth_of(1.0, latency_ms=latency_ms)
    sound = note(PIANO, 60)
    sound[20011] += 0.5  # and an impulse
    late = resynth.latency_samples
    np.testing.assert_allclose(played(resynth, sound)[late:], sound[:-late], atol=3e-6)


def test_the_default_is_within_six_milliseconds_and_others_are_the_nearest_there_are() -> None:
    assert layout_of(FEATURES, 6.0).latency == 256
    for latency_ms in (3.0, 4.5, 9.0, 15.0, 20.0):
        assert abs(1000 * layout_of(FEATURES, latency_ms).latency / RATE - latency_ms) < 1.5
    assert layout_of(FEATURES, 50.0).latency == WINDOW // 2


@pytest.mark.parametrize("rate", [48000, 96000, 22050, 32000.5])
def test_at_another_rate_the_latency_includes_both_resamplers(rate: float) -> None:
    resynth = resynth_of(1.0, rate=rate)
    assert rate < RATE or resynth.latency_samples <= 0.006 * rate, "of what was asked for, resampling takes its part"
    for place in (int(0.4 * rate), int(0.4 * rate) + 77):
        sound = np.zeros(int(0.7 * rate))
        sound[place] = 0.5
        resynth.reset()
        out = played(resynth, sound, rate=rate, blocks=(128,))
        assert abs(int(np.argmax(np.abs(out))) - place - resynth.latency_samples) <= max(1, math.ceil(rate / RATE))
    times = np.arange(int(1.2 * rate)) / rate
    sound = 0.5 * np.sin(2 * np.pi * 440 * times) * np.minimum(1, 20 * times)
    resynth.reset()
    out = played(resynth, sound, rate=rate, blocks=(64, 1, 500))
    late, part = resynth.latency_samples, slice(int(0.3 * rate), int(1.0 * rate))
    assert np.abs(out[late:][part] - sound[part]).max() < 0.03, "no sample is missing, none is twice there"


@pytest.mark.parametrize("rate", [44101, 48000, 96000])
def test_other_rates_cost_little_time_and_nothing_audible(rate: int) -> None:
    """Into steps and out again: late by exactly what is said, however it is cut, with no mirrored and no aliased
    tone.
    """
    steps, output, rng = steps_of(FEATURES, rate, HOP), StepOutput(RATE, rate, HOP, HOP), np.random.default_rng(0)
    assert output.latency_samples < 0.009 * rate
    sound = 0.2 * np.sin(2 * np.pi * np.outer([97, 997, 9001, 19001], np.arange(rate)) / rate).sum(0)
    out, start, made = np.zeros(rate), 0, None
    while start < rate:
        if made is not None:
            output.put(made)
        taken = steps.take(sound[start : start + int(rng.integers(1, 300))])
        output.take(out[start : start + taken])
        start += taken
        made = steps.hop[0].astype(np.float32) if steps.ended else None
    late = output.latency_samples
    error = (out[late:] - sound[:-late])[2000:]
    assert np.abs(error).max() < 1e-3
    spectrum = np.abs(np.fft.rfft(error * np.blackman(len(error)))) / (0.42 * len(error) / 2)
    assert spectrum[: int(20000 * len(error) / rate)].max() < 4e-4


@pytest.mark.parametrize(("rate", "phase"), [(RATE, 0.0), (48000, 0.4)])
def test_any_cutting_into_blocks_gives_the_same_samples_and_reset_is_as_new(rate: float, phase: float) -> None:
    sound = note(CELLO, 55, 0.3)
    resynth = resynth_of(phase, rate=rate)
    wanted = played(resynth, sound, rate=rate, blocks=(MOST,))
    assert np.abs(wanted).max() > 0.1
    for blocks in ((1, 7, 64), (128,), (333, 2048)):
        resynth.reset()
        np.testing.assert_array_equal(played(resynth, sound, rate=rate, blocks=blocks), wanted)
    np.testing.assert_array_equal(played(resynth_of(phase, rate=rate), sound, rate=rate), wanted)


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


@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_nothing_makes_it_anything_but_finite_and_it_recovers(phase: float) -> None:
    rng, bad = np.random.default_rng(0), cycle([np.nan, np.inf, -np.inf, 1e6])
    square = np.where(np.arange(20 * HOP) // 50 % 2, 1.0, -1.0)
    resynth = resynth_of(phase)

    def curve(frame: FrameAnalyser) -> tuple[np.ndarray, float]:
        log, level = own_curve(frame)
        return (log, level) if rng.random() < 0.5 else (np.full_like(log, next(bad)), 1.0)

    for sound in (square, np.zeros(8192), 1e6 * square, 1e-310 * square):
        assert np.isfinite(played(resynth, sound, curve=curve)).all()
    assert np.isfinite(resynth.process(np.full(2000, np.nan), True)).all()
    resynth.reset()
    sound = note(FLUTE, 72, 0.3)
    np.testing.assert_array_equal(played(resynth, sound), played(resynth_of(phase), sound))


def test_silence_is_silent() -> None:
    assert np.abs(played(resynth_of(), np.zeros(RATE // 2))).max() == 0.0


def test_while_nobody_listens_only_the_input_is_remembered_and_it_starts_in_its_phase() -> None:
    sound = note(CELLO, 55)
    resynth = resynth_of(0.0)
    half = 40 * HOP
    assert np.abs(played(resynth, sound[:half], active=False)).max() == 0.0
    late = resynth.latency_samples
    hops, frame = HopSource(FEATURES, RATE), FrameAnalyser(FEATURES)
    for start in range(0, half, HOP):
        hops.take(sound[start : start + HOP])
        frame.push(hops.hop)
    resynth.hear(*_heard(own_curve, frame))
    out = resynth.process(sound[half : half + HOP], True)
    wanted = sound[half - late : half - late + HOP]
    assert np.dot(out, wanted) / (np.linalg.norm(out) * np.linalg.norm(wanted)) > 0.8


def test_other_models_windows_and_hops_work() -> None:
    for window, hop, latency_ms in (
        (1024, 441, 6.0),
        (1024, 256, 50.0),
        (512, 512, 3.0),
        (256, 16, 3.0),
        (4096, 1024, 6.0),
    ):
        features = Features(
            sample_rate=RATE,
            window_samples=window,
            hop_samples=hop,
            log_floor=1e-2,
            cutoff_quefrency=20,
            level_seconds=2.0,
            silence_dbfs=-70.0,
        )
        resynth, frame = Resynth(features, RATE, latency_ms, MOST), FrameAnalyser(features)
        resynth.phase = 1.0
        sound, out = note(PIANO, 60, 0.2)[: 20 * 441 // hop * hop], []
        for start in range(0, len(sound) - hop + 1, hop):
            out.append(resynth.process(sound[start : start + hop], True).copy())
            frame.push(sound[None, start : start + hop])
            resynth.hear(*_heard(own_curve, frame))
        late = resynth.latency_samples
        found = np.concatenate(out)
        np.testing.assert_allclose(found[late:], sound[: len(found) - late], atol=3e-6)
