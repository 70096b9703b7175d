"""The mixer with ways out of the test's own: any number, each at its level, asleep while it has none."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import embedded_bundle, load_bundle
from realtime.dsp.deadline import Deadline
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import mixed_outputs
from realtime.outputs.base import Answer, DecodedHop, Output
from realtime.outputs.mixer import Mixer
from realtime.outputs.rack import make_outputs, output_latencies
from realtime.session import Session, SessionOptions

CHANNELS, FADE, MOST = 2, 16, 64


class Nothing:
    def clear(self) -> None:
        pass


class Scaled:
    """A way out that multiplies the sound, and writes down what it is asked."""

    latency_samples = 0

    def __init__(self, name: str, factor: float) -> None:
        self.name, self.factor = name, factor
        self.asked: list[str] = []
        self.remembered = 0

    def new_part(self) -> Nothing:
        return Nothing()

    def reset_hop_side(self) -> None:
        pass

    def describe(self, hop: DecodedHop, part: Nothing) -> None:
        pass

    def rest(self, hop: DecodedHop) -> None:
        pass

    def reset(self) -> None:
        self.asked.clear()
        self.remembered = 0

    def warm_up(self, part: Nothing) -> None:
        self.asked.append("warm_up")

    def begin(self, mix: float, gain: float) -> None:
        self.asked.append("begin")

    def wake(self, answer: Answer, part: Nothing) -> None:
        self.asked.append("wake")

    def change(self, answer: Answer, part: Nothing) -> None:
        self.asked.append("change")

    def process(self, dry: np.ndarray, mono: np.ndarray, heard: bool) -> np.ndarray:
        self.remembered += dry.shape[1]
        if heard:
            self.asked.append("sound")
        return dry if self.factor == 1.0 else dry * self.factor


def three() -> tuple[Mixer, list[Scaled], Answer]:
    outputs = [Scaled("first", 1.0), Scaled("second", 10.0), Scaled("third", 100.0)]
    mixer = Mixer(outputs, CHANNELS, FADE, MOST, np.zeros(3))
    mixer.reset()
    mixer.begin([1.0, 0.0, 0.0], 1.0, 1.0)
    return mixer, outputs, Answer([Nothing(), Nothing(), Nothing()])


def played(mixer: Mixer, dry: np.ndarray, blocks: list[int]) -> np.ndarray:
    out = np.zeros_like(dry)
    for end, n in zip(np.cumsum(blocks), blocks, strict=True):
        part = slice(int(end) - n, int(end))
        mixer.process(dry[:, part], dry[:, part].mean(0), out[:, part])
    return out


@pytest.fixture
def sound() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((CHANNELS, 4 * MOST))


def test_with_the_first_alone_the_sound_passes_bit_for_bit_and_the_others_sleep(sound: np.ndarray) -> None:
    mixer, (_, second, third), answer = three()
    mixer.change(answer)
    assert np.array_equal(played(mixer, sound, [MOST] * 4), sound)
    assert (second.asked, third.asked) == (["begin"], ["begin"])
    assert second.remembered == third.remembered == sound.shape[1]  # they hear the input all the same


def test_each_has_its_level_and_a_change_is_a_straight_fade(sound: np.ndarray) -> None:
    mixer, outputs, answer = three()
    answer.levels[:] = [0.25, 0.5, 0.25]
    mixer.change(answer)
    ramp = np.minimum(np.arange(1, sound.shape[1] + 1) / FADE, 1.0)
    wanted = sound * (1 - 0.75 * ramp) + 10 * sound * (0.5 * ramp) + 100 * sound * (0.25 * ramp)
    np.testing.assert_allclose(played(mixer, sound, [MOST] * 4), wanted, rtol=1e-12)
    assert outputs[1].asked[:3] == ["begin", "wake", "change"]


def test_blocks_of_any_size_give_the_same_sound(sound: np.ndarray) -> None:
    found = []
    for blocks in ([MOST] * 4, [1] * (4 * MOST), [MOST, 3, 61, 20, 44, MOST]):
        mixer, _, answer = three()
        answer.levels[:] = [0.0, 0.3, 0.7]
        mixer.change(answer)
        found.append(played(mixer, sound, blocks))
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_who_fades_out_sleeps_at_the_next_hop_and_wakes_anew(sound: np.ndarray) -> None:
    mixer, (_, second, _), answer = three()
    for level in (1.0, 0.0, 0.0, 1.0):
        answer.levels[:] = [1 - level, level, 0.0]
        mixer.change(answer)
        second.asked.append(f"level {level:g}")
        played(mixer, sound[:, :MOST], [MOST])
    assert second.asked == [
        *("begin", "wake", "change", "level 1", "sound"),
        *("level 0", "sound"),  # fading out: heard, but no longer described
        "level 0",
        *("wake", "change", "level 1", "sound"),
    ]


def test_the_dry_sound_goes_through_the_first() -> None:
    _, _, answer = three()
    answer.levels[:] = [0.0, 1.0, 0.0]
    answer.pass_dry(0.5)
    assert (answer.levels, answer.gain, answer.wet, answer.dry) == ([1.0, 0.0, 0.0], 0.5, 0.0, 1.0)


def test_the_rack_offers_morph_and_those_that_have_a_level_knob() -> None:
    bundle = load_bundle(embedded_bundle())
    features = bundle.manifest.features
    outputs: tuple[Output, ...] = make_outputs(bundle.manifest, 1, features.sample_rate, 6.0, 256, 256, Deadline())
    assert tuple(output.name for output in outputs) == bundle.manifest.outputs == ("morph", "resynth")
    assert mixed_outputs(bundle.manifest) == ("resynth",)
    bank = KnobBank(bundle.manifest)
    assert all(name in bank.index for name in mixed_outputs(bundle.manifest))
    told = output_latencies(bundle.manifest, 48000, 6.0)
    session = Session(bundle, bank, channels=1, sample_rate=48000, options=SessionOptions(provider="cpu"))
    assert told == session.latencies
    assert list(told) == [output.name for output in outputs]
