"""The filter's mathematics: gain curve (docs/architecture.md), minimum phase, changes without clicks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bundle import Features
from realtime.dsp.convolver import Convolver
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.dsp.fourier import fast_length
from realtime.outputs.morph import LEVEL_LIMIT_DB, MinimumPhase, MorphGain

FEATURES = Features(
    sample_rate=44100,
    window_samples=512,
    hop_samples=128,
    log_floor=1e-2,
    cutoff_quefrency=40,
    level_seconds=2.0,
    silence_dbfs=-70.0,
)
BINS = FEATURES.bins


def smooth_curve(seed: int, spread_db: float, ripples: int = 20) -> np.ndarray:
    """A random log-gain with structure down to `ripples` periods over the band, natural log."""
    random = np.random.default_rng(seed)
    cosines = np.cos(np.pi * np.outer(np.arange(1, ripples + 1), np.arange(BINS)) / (BINS - 1))
    curve = (random.standard_normal(ripples) / np.arange(1, ripples + 1)) @ cosines
    return curve * (spread_db / DB_PER_NEPER) / np.abs(curve).max()


def envelope(log_spectrum: np.ndarray) -> np.ndarray:
    cepstrum = np.fft.irfft(log_spectrum, FEATURES.window_samples)
    cepstrum[FEATURES.cutoff_quefrency : FEATURES.window_samples - FEATURES.cutoff_quefrency + 1] = 0
    return np.fft.rfft(cepstrum).real


def decoded_pair(size_db: float) -> tuple[np.ndarray, np.ndarray]:
    """U and E as the decoder gives them, and the dry frame's log-amplitude."""
    random = np.random.default_rng(5)
    heard = smooth_curve(1, 20) - 2
    frame = heard + smooth_curve(3, 5) + 0.2 * random.standard_normal(BINS)
    return np.stack([heard, heard + smooth_curve(2, size_db)]).astype(np.float32), frame


def gain_of(curve: np.ndarray) -> MorphGain:
    """A MorphGain that has come to this curve: the frame is what the decoder heard, so that nothing is corrected."""
    gain = MorphGain(FEATURES)
    frame = np.zeros(BINS)
    gain.update(np.stack([frame, curve]), frame, np.ones(BINS), sounding=True)
    return gain


def response_of(curve: np.ndarray, rate: float = 44100) -> np.ndarray:
    return MinimumPhase(FEATURES, rate).response(gain_of(curve)).copy()


# The gain curve -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_db", [0.5, 4.0, 12.0])
def test_the_gain_is_the_formula(size_db: float) -> None:
    decoded, frame = decoded_pair(size_db)
    gain = MorphGain(FEATURES)
    gain.update(decoded, frame, np.exp(frame), sounding=True)
    unedited, edited = decoded.astype(float)
    beta = min(1.0, DB_PER_NEPER * np.sqrt(np.mean((edited - unedited) ** 2)) / 6.0)
    wanted = edited - unedited + beta * (envelope(unedited) - envelope(frame))
    assert gain.beta == pytest.approx(beta, rel=1e-5)
    assert 0 < beta <= 1
    assert np.abs(gain.log_gain.real - np.clip(wanted, -60 / DB_PER_NEPER, 24 / DB_PER_NEPER)).max() < 1e-5


def test_the_gain_stays_within_its_limits() -> None:
    gain = MorphGain(FEATURES)
    decoded = np.stack([np.zeros(BINS), 20.0 * np.sign(smooth_curve(4, 1))])
    gain.update(decoded, np.zeros(BINS), np.ones(BINS), sounding=True)
    assert gain.log_gain.real.min() == pytest.approx(-60 / DB_PER_NEPER)
    assert gain.log_gain.real.max() == pytest.approx(24 / DB_PER_NEPER)
    assert np.isfinite(MinimumPhase(FEATURES, 44100).response(gain)).all()


def test_in_silence_the_correction_stays_what_it_was() -> None:
    """A silent frame lies far below what the decoder still paints; correcting for that would blow up the noise."""
    decoded, frame = decoded_pair(8.0)
    gain = MorphGain(FEATURES)
    gain.update(decoded, frame, np.exp(frame), sounding=True)
    before = gain.log_gain.copy()
    gain.update(decoded, np.full(BINS, -50.0), np.full(BINS, 1e-6), sounding=False)
    assert np.allclose(gain.log_gain, before, atol=1e-12)


@pytest.mark.parametrize("gain_db", [12.0, -9.0, 40.0])
def test_the_level_keeper_takes_loudness_back(gain_db: float) -> None:
    """A gain equal at all frequencies is loudness alone: the keeper undoes it, within its limits."""
    gain, frame = MorphGain(FEATURES), np.zeros(BINS)
    for _ in range(2000):
        gain.update(np.stack([frame, frame + gain_db / DB_PER_NEPER]), frame, np.ones(BINS), sounding=True)
    clipped_db = min(gain_db, 24.0)
    wanted_db = -float(np.clip(clipped_db, -LEVEL_LIMIT_DB, LEVEL_LIMIT_DB))
    assert 20 * np.log10(gain.level) == pytest.approx(wanted_db, abs=0.1)
    gain.rest(np.ones(BINS), sounding=True)
    assert gain.level == 1.0


def test_the_level_keeper_weighs_the_spectrum_that_sounds() -> None:
    """A boost where there is no sound changes no loudness."""
    gain, frame = MorphGain(FEATURES), np.zeros(BINS)
    amplitude = np.where(np.arange(BINS) < 60, 1.0, 1e-4)
    boost = np.where(np.arange(BINS) < 60, 0.0, 18 / DB_PER_NEPER)
    for _ in range(500):
        gain.update(np.stack([frame, boost]), frame, amplitude, sounding=True)
    assert 20 * np.log10(gain.level) == pytest.approx(0.0, abs=0.1)


# Minimum phase --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_has_the_wanted_magnitude(seed: int) -> None:
    curve = smooth_curve(seed, 20)
    found = np.abs(np.fft.rfft(response_of(curve), FEATURES.window_samples))
    error_db = DB_PER_NEPER * np.abs(np.log(found) - curve)
    assert error_db.max() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_the_phase_is_minimal_so_nothing_rings_before(seed: int) -> None:
    """All zeros lie inside the unit circle; the energy comes first, ahead of the same magnitudes in zero phase, delayed
    to be causal.
    """
    curve = smooth_curve(seed, 15)
    response = response_of(curve)
    assert np.abs(np.roots(response)).max() < 1.0
    zero_phase = np.roll(np.fft.irfft(np.exp(curve), FEATURES.window_samples), len(response) // 2)[: len(response)]
    early, late = np.cumsum(response**2), np.cumsum(zero_phase**2)
    assert (early >= late - 1e-6).all()
    assert early[16] > 0.8 * early[-1]
    assert late[16] < 1e-3 * late[-1]


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_at_other_rates_the_curve_keeps_its_frequencies(rate: int) -> None:
    curve = smooth_curve(7, 15, ripples=12)
    response = response_of(curve, rate)
    assert len(response) == pytest.approx(FEATURES.window_samples * rate / 44100 / 2, rel=0.05)
    frequency = np.arange(0, rate / 2, 50.0)
    found = np.abs(np.exp(-2j * np.pi * np.outer(frequency, np.arange(len(response))) / rate) @ response)
    # Held constant above 22050 Hz.
    wanted = np.interp(frequency, np.arange(BINS) * 44100 / FEATURES.window_samples, curve)
    inside = (frequency > 100) & (frequency < 0.45 * rate)  # at its own Nyquist frequency a cut-off curve has a corner
    error_db = DB_PER_NEPER * np.abs(np.log(found) - wanted)[inside]
    assert error_db.max() < 0.05


# Convolution ----------------------------------------------------------------------------------------------------------


def in_blocks(convolver: Convolver, dry: np.ndarray, sizes: list[int]) -> np.ndarray:
    out, start = np.empty_like(dry), 0
    for size in itertools.cycle(sizes):
        end = min(dry.shape[1], start + min(size, convolver.most))
        out[:, start:end] = convolver.process(dry[:, start:end])
        start = end
        if start == dry.shape[1]:
            break
    return out


@pytest.mark.parametrize("sizes", [[1], [128], [64, 65], [1, 7, 128, 3, 90], [10**6]])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_filter_is_convolution_at_any_block_size(sizes: list[int], channels: int) -> None:
    random = np.random.default_rng(0)
    dry, response = random.standard_normal((channels, 3000)), random.standard_normal(100) * np.exp(-np.arange(100) / 20)
    convolver = Convolver(channels, taps=100, fade_samples=50, most=128)
    convolver.change(response)
    convolver.process(np.zeros((channels, 50)))  # the fade is over
    wanted = np.stack([np.convolve(row, response)[:3000] for row in dry])
    assert np.abs(in_blocks(convolver, dry, sizes) - wanted).max() < 1e-12


@pytest.mark.parametrize("sizes", [[1], [17], [200]])
def test_filters_crossfade_linearly(sizes: list[int]) -> None:
    random = np.random.default_rng(1)
    dry, one, two = random.standard_normal((1, 1000)), random.standard_normal(64), random.standard_normal(64)
    convolver = Convolver(1, taps=64, fade_samples=100, most=200)
    convolver.change(one)
    first = in_blocks(convolver, dry[:, :500], sizes)
    convolver.change(two)
    found = np.concatenate([first, in_blocks(convolver, dry[:, 500:], sizes)], axis=1)[0]
    ramp = np.minimum(np.arange(1, 501) / 100, 1)
    through_one, through_two = (np.convolve(dry[0], response)[:1000] for response in (one, two))
    wanted = np.concatenate(
        [
            dry[0, :500] * (1 - ramp) + through_one[:500] * ramp,
            through_one[500:] * (1 - ramp) + through_two[500:] * ramp,
        ],
    )
    assert np.abs(found - wanted).max() < 1e-12


def test_a_change_amid_a_fade_starts_where_the_fade_was() -> None:
    convolver = Convolver(1, taps=16, fade_samples=100, most=200)
    steady, parts = np.ones((1, 40)), [np.ones(1)]
    # Each comes 40 samples after the last, while its fade takes 100.
    for response in (np.eye(16)[0] * 3.0, np.eye(16)[0] * -1.0, None, np.eye(16)[0] * 2.0):
        convolver.change(response)
        parts.append(convolver.process(steady)[0].copy())
    assert np.abs(np.diff(np.concatenate(parts))).max() < 0.05  # a hundredth of the way each sample, no jump


def faded(dry: np.ndarray, changes: list[tuple[int, np.ndarray]], fade: int, taps: int) -> np.ndarray:
    """The same, sample by sample as it is defined: the old and the new filter, each over all the sound, and a ramp from
    one to the other.

    changes : sample, and the response, (taps,), from there on
    """
    old = new = np.eye(taps)[0]
    out, start = dry.copy(), -fade
    ends = [sample for sample, _ in changes[1:]] + [len(dry)]
    for (sample, response), end in zip(changes, ends, strict=True):
        share = min(1.0, (sample - start) / fade)
        old, new, start = old + share * (new - old), response, sample
        ramp = np.minimum(1.0, np.arange(1, end - sample + 1) / fade)
        through = [np.convolve(dry, part)[sample:end] for part in (old, new)]
        out[sample:end] = through[0] + ramp * (through[1] - through[0])
    return out


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_filters_at_any_time_in_any_blocks(data: st.DataObject) -> None:
    """Plain or not, amid fades or after them, with hops longer than a segment of the convolver: as defined."""
    seed, taps = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([32, 100]))
    fade, most = data.draw(st.sampled_from([(40, 64), (100, 130), (700, 900)]))
    random = np.random.default_rng(seed)
    dry = random.standard_normal(3000)
    times = sorted(data.draw(st.sets(st.integers(0, 2900), min_size=1, max_size=8)))
    convolver, made, changes, start = Convolver(1, taps, fade, most), [], [], 0
    for sample, end in zip(times, [*times[1:], 3000], strict=True):
        plain = data.draw(st.booleans())
        response = (
            random.uniform(-2, 2) * np.eye(taps)[0]
            if plain
            else random.standard_normal(taps) * np.exp(-np.arange(taps) / 9)
        )
        made.append(in_blocks(convolver, dry[None, start:sample], [17, most])[0] if sample > start else dry[:0])
        convolver.change(None if plain else response, float(response[0]))
        changes.append((sample, response))
        made.append(
            in_blocks(convolver, dry[None, sample:end], data.draw(st.sampled_from([[1, 50], [64], [most], [7, 33]])))[0]
        )
        start = end
    assert np.abs(np.concatenate(made) - faded(dry, changes, fade, taps)).max() < 1e-11


def test_plain_gains_are_exact_and_one_is_a_wire() -> None:
    random = np.random.default_rng(2)
    dry = random.standard_normal((2, 150))
    convolver = Convolver(2, taps=64, fade_samples=100, most=200)
    assert convolver.process(dry) is dry
    convolver.change(None, 0.5)
    ramp = np.minimum(np.arange(1, 151) / 100, 1)
    assert np.abs(convolver.process(dry) - dry * (1 - 0.5 * ramp)).max() < 1e-15
    assert np.array_equal(convolver.process(dry), dry * 0.5)
    convolver.change(None, 1.0)
    convolver.process(dry)
    assert convolver.process(dry) is dry


def test_fft_lengths_are_fast_and_long_enough() -> None:
    for wanted in range(1, 3000, 37):
        length = fast_length(wanted)
        assert length >= wanted
        assert length % 2 == 0
        for factor in (2, 3, 5):
            while length % factor == 0:
                length //= factor
        assert length == 1
