"""Resynth: the delay it says, the input itself where nothing changes, any block size, recovery from broken samples."""

from __future__ import annotations

import math
from itertools import cycle

import numpy as np
import pytest

from realtime.bundle import Features
from realtime.dsp.framing import HopSource
from realtime.dsp.spectrum import FrameAnalyser
from realtime.dsp.step_resampler import StepOutput, steps_of
from realtime.outputs.resynth.layout import layout_of
from realtime.outputs.resynth.resynth import Resynth
from tests.support.miniatures import CELLO, FLUTE, PIANO
from tests.support.resynth import (
    FEATURES,
    HOP,
    MOST,
    RATE,
    WINDOW,
    decoded_frame,
    note,
    own_curve,
    played,
    resynth_of,
)


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
    """Into steps and out again: as late as it says, at any block size, without images or aliases."""
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
    resynth.hear(*decoded_frame(own_curve, frame))
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
            resynth.hear(*decoded_frame(own_curve, frame))
        late = resynth.latency_samples
        found = np.concatenate(out)
        np.testing.assert_allclose(found[late:], sound[: len(found) - late], atol=3e-6)
