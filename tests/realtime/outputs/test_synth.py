"""The synthesizer's sound side: exact pitch, level, noise, no clicks, the same whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Features, Harmonic
from realtime.outputs.base import Answer, DecodedHop
from realtime.outputs.synth.noise import FilteredNoise
from realtime.outputs.synth.output import SynthOutput, SynthPart
from realtime.outputs.synth.played import Played
from realtime.outputs.synth.spectra import LOBE_POWER, Spectra, a_weighting
from tests.support.harmonic import RATE, cents_off, level_db

HOP = 256
FEATURES = Features(
    sample_rate=RATE,
    window_samples=2048,
    hop_samples=HOP,
    log_floor=1e-2,
    cutoff_quefrency=100,
    level_seconds=2.0,
    silence_dbfs=-70.0,
)
FACTS = Harmonic(
    confidence=(0.4, 0.7),
    centre_hops=2,
    loudness_mean=4.0,
    loudness_centred=True,
    warp_hz=700.0,
    envelope_cosines=8,
    offsets=4,
    noise_cosines=6,
    noise_log=-3.0,
    most_log=10.0,
)


class Player:
    """Plays hops of what `played` says, in blocks."""

    def __init__(self, channels: int = 1, rate: float = RATE) -> None:
        self.output = SynthOutput(FEATURES, FACTS, channels, rate, HOP, HOP)
        self.part = self.output.new_part()
        self.answer = Answer([self.part])
        self.output.reset()
        self.output.begin(1.0, 1.0)

    @property
    def played(self) -> Played:
        return self.part.played

    def run(self, hops: int, block: int = HOP, dry: float = 0.0) -> np.ndarray:
        """(samples,) of the first channel."""
        found = []
        for _ in range(hops):
            self.output.change(self.answer, self.part)
            for start in range(0, HOP, block):
                size = min(block, HOP - start)
                sound = np.full((1, size), dry)
                found.append(self.output.process(sound, sound[0], True)[0].copy())
            self.played.struck[:] = False
        return np.concatenate(found)


def voice(played: Played, row: int = 0, f0: float = 220.0, level: float = 0.1, noise: float = -20.0) -> None:
    """Harmonics that fall off; noise : its first cosine, natural log"""
    played.f0_hz[row], played.level[row], played.voicing[row] = f0, level, 1.0
    played.envelope[row, :3] = (1.0, 1.5, 0.4)
    played.noise[row, 0] = noise


@pytest.mark.parametrize("rate", [RATE, 48000.0, 96000.0])
@pytest.mark.parametrize("key", [21, 33, 60, 84, 108])
def test_every_key_is_in_tune(key: int, rate: float) -> None:
    player, f0 = Player(rate=rate), 440 * 2 ** ((key - 69) / 12)
    voice(player.played, f0=f0)
    assert abs(cents_off(player.run(round(0.5 * rate / HOP))[HOP:], f0, rate)) <= 1.0


def test_the_level_is_the_a_weighted_one_asked_for() -> None:
    for noise in (-20.0, 3.0):
        player = Player()
        voice(player.played, f0=1000.0, noise=noise)
        sound = player.run(160)[4 * HOP :]
        window = np.hanning(2048)
        frames = [sound[start : start + 2048] * window for start in range(0, len(sound) - 2048, 512)]
        amplitude = np.abs(np.fft.rfft(frames)) * 2 / window.sum()
        weight = a_weighting(np.linspace(0, RATE / 2, 1025))
        power = np.square(amplitude * weight).sum(1).mean()
        assert 10 * np.log10(power / 0.01) == pytest.approx(0, abs=0.25)


def test_partials_are_where_and_as_loud_as_the_formula_says() -> None:
    spectra = Spectra(FEATURES, FACTS, RATE, 400, np.zeros(1))
    envelope, offsets, bend = np.array([1.0, 1.5, 0.4, 0, 0, 0, 0, 0]), np.array([0.3, -0.5, 0.2, 0.1]), 4e-4
    count = spectra.draw(130.8, 1.0, 0.7, envelope, offsets, np.array([-20.0, 0, 0, 0, 0, 0]), bend)
    order = np.arange(1, count + 1)
    f = 130.8 * order * np.sqrt(1 + bend * order**2)
    place = np.log1p(f / 700) / np.log1p(RATE / 2 / 700)
    log = sum(c * np.cos(np.pi * k * place) for k, c in enumerate(envelope))
    log[:4] += offsets
    wanted = np.where(f < 0.98 * RATE / 2, 0.7 * np.exp(log), 0)
    wanted /= np.sqrt(LOBE_POWER * np.square(wanted * a_weighting(f)).sum())
    np.testing.assert_allclose(spectra.amplitude[:count], wanted, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(spectra.stretch[:count], f / 130.8, rtol=1e-9)


def test_noise_has_the_spectrum_asked_for_from_the_first_sample_on() -> None:
    noise = FilteredNoise(FEATURES, RATE, HOP, HOP)
    wanted = np.exp(-noise.hz / 4000)
    sound = np.concatenate([noise.render(HOP, wanted).copy() for _ in range(2000)])
    window = np.hanning(2048)
    frames = [sound[start : start + 2048] * window for start in range(0, len(sound) - 2048, 1024)]
    rms = np.sqrt(np.square(np.abs(np.fft.rfft(frames)) * 2 / window.sum()).mean(0))
    hz = np.linspace(0, RATE / 2, 1025)
    bands = [(200, 800), (1000, 3000), (4000, 8000), (9000, 12000)]
    off = [np.log(rms[(hz > a) & (hz < b)] / np.exp(-hz[(hz > a) & (hz < b)] / 4000)).mean() for a, b in bands]
    assert off == pytest.approx([0] * 4, abs=0.06)
    noise.reset()
    first = noise.render(0, np.where(noise.hz < 1000, 1.0, 0.0))
    assert np.abs(np.diff(first)).max() < 0.3 * np.abs(first).max(), "not plain white noise at first"


@pytest.mark.parametrize("block", [1, 7, 100, 256])
def test_blocks_make_no_difference(block: int) -> None:
    def play(size: int) -> np.ndarray:
        player = Player()
        rng, found = np.random.default_rng(0), []
        for hop in range(12):
            for row in (0, 3):
                voice(player.played, row, f0=200 + 40 * row + 10 * hop, level=float(rng.random()), noise=2.0)
            player.played.struck[3] = hop == 6
            found.append(player.run(1, size))
        return np.concatenate(found)

    np.testing.assert_array_equal(play(block), play(HOP))


def loudest_above(sound: np.ndarray, hz: float) -> float:
    """Greatest short-time level of what lies above so many Hz, in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::64] * np.hanning(512)
    power = np.square(np.abs(np.fft.rfft(frames)) / 128)
    return 10 * float(np.log10(power[:, round(hz / RATE * 512) :].sum(1).max() + 1e-15))


def test_pitch_and_level_change_without_a_click() -> None:
    """A few harmonics below 4 kHz: nothing may be heard above 9 kHz, whatever happens."""
    player = Player()
    played = player.played
    voice(played, f0=220.0, level=0.3)
    played.envelope[0] = 0
    played.envelope[0, 1] = 9.0  # falls very steeply
    parts = [player.run(8)]
    played.f0_hz[0] = 330.0
    parts.append(player.run(8))
    played.level[0] = 0.03
    parts.append(player.run(8))
    played.level[0] = 0.0
    parts.append(player.run(4))
    sound = np.concatenate(parts)
    assert loudest_above(sound, 9000) < level_db(sound) - 60
    assert not parts[-1][2 * HOP :].any(), "then it is silent"


def test_a_struck_note_begins_within_a_hop_and_without_a_click() -> None:
    player = Player()
    voice(player.played, 2, f0=150.0, level=0.3)
    player.played.envelope[2] = 0
    player.played.envelope[2, 1] = 9.0
    player.played.struck[2] = True
    sound = np.concatenate([np.zeros(2 * HOP), player.run(8)])
    assert loudest_above(sound, 9000) < level_db(sound) - 55
    assert level_db(sound[3 * HOP : 4 * HOP]) > level_db(sound[6 * HOP :]) - 3


def test_wild_values_never_break_it() -> None:
    player, rng = Player(), np.random.default_rng(1)
    for _ in range(60):
        for array in (player.played.envelope, player.played.offsets, player.played.noise):
            array[:] = 10 * rng.standard_normal(array.shape)
        player.played.f0_hz[:] = np.exp(rng.uniform(-2, 12, 9))
        player.played.level[:], player.played.voicing[:] = rng.random(9), rng.random(9)
        player.played.inharmonicity[:] = 0.02 * rng.random(9)
        sound = player.run(1)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() < 100


def test_harmonics_and_noise_have_gains_of_their_own() -> None:
    levels = {}
    for harmonics, hiss in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)):
        player = Player()
        voice(player.played, noise=3.0)
        player.played.harmonics, player.played.hiss = harmonics, hiss
        levels[harmonics, hiss] = np.square(player.run(60)).mean()
    assert levels[0.0, 0.0] == 0
    assert levels[1.0, 0.0] + levels[0.0, 1.0] == pytest.approx(levels[1.0, 1.0], rel=0.1)


def test_the_input_passes_while_a_note_begins_as_far_as_asked() -> None:
    player = Player()
    assert not player.run(2, dry=0.5).any()
    player.played.transient = 0.5
    assert player.run(2, dry=0.5)[-1] == pytest.approx(0.25)


def test_without_an_answer_it_goes_on_as_the_last_one_said() -> None:
    player = Player()
    voice(player.played)
    player.run(10)
    block = np.zeros((1, HOP))
    more = np.concatenate([player.output.process(block, block[0], True)[0].copy() for _ in range(20)])
    assert abs(cents_off(more, 220.0)) <= 1.0
    assert level_db(more[-HOP:]) == pytest.approx(level_db(more[:HOP]), abs=1.5)


def test_a_bundle_that_draws_no_voices_describes_silence() -> None:
    part = SynthPart(FACTS)
    SynthOutput(FEATURES, FACTS, 1, RATE, HOP, HOP).describe(DecodedHop(FEATURES.bins), part)
    assert not part.played.level.any()
