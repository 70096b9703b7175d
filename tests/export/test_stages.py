"""Every stage of the fused graph beside the runtime's own class, hop by hop on the same sound: what it makes, what it
decides, and what it remembers. Decisions must be the same; numbers may differ by what float32 costs, and each tolerance
is some three to ten times what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.fused.analysis import Analysis, DelayedFrame, Frame, FrameDelay
from export.fused.edits import Edits as FusedEdits
from export.fused.fourier import Fourier, signal_of, spectrum_of
from export.fused.morph import Filters
from export.fused.morph import Morph as FusedMorph
from export.fused.pitch import Pitch
from realtime.bundle import Features, embedded_bundle, load_bundle
from realtime.dsp import spectrum
from realtime.dsp.convolver import Convolver
from realtime.dsp.pitch import PitchTracker
from realtime.hop.edits import FIRST_NOTE, Edits
from realtime.hop.smoothing import ParameterSmoother
from realtime.hop.step import settling
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import morph_targets
from realtime.outputs.base import DecodedHop
from realtime.outputs.morph import Morph

MANIFEST = load_bundle(embedded_bundle()).manifest
SHIPPED = MANIFEST.features
POWER = SHIPPED.model_copy(
    update={"window_samples": 512, "hop_samples": 441, "cutoff_quefrency": 50, "level": "power", "level_seconds": 0.5}
)
RATE = SHIPPED.sample_rate
BOTH = pytest.mark.parametrize("features", [SHIPPED, POWER], ids=["shipped", "power"])


def tone(seconds: float, low_hz: float, high_hz: float) -> np.ndarray:
    """A glide of twelve harmonics that swells and fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(low_hz * (high_hz / low_hz) ** (time / seconds)) / RATE
    return np.sin(np.pi * time / seconds) * sum(np.sin(k * phase + k * k) / k for k in range(1, 13)) / 4


def sound() -> np.ndarray:
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE // 2)
    return np.concatenate([tone(1.2, 110, 330), noise, np.zeros(RATE // 2), tone(0.6, 880, 440), np.zeros(4000)])


def hops_of(features: Features) -> np.ndarray:
    """(hops, hop_samples), numbers that float32 can hold."""
    audio, hop = sound().astype(np.float32).astype(float), features.hop_samples
    return audio[: len(audio) // hop * hop].reshape(-1, hop)


def zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def row(values: np.ndarray | float) -> Tensor:
    """(1, …), float32"""
    return torch.from_numpy(np.atleast_1d(np.asarray(values, np.float32)))[None]


def cepstrum_of(log_amplitude: np.ndarray, count: int) -> np.ndarray:
    return np.fft.irfft(log_amplitude.astype(float))[:count]


@dataclass(frozen=True)
class BothFrames:
    """One hop: the runtime's frame as it stands, and the fused graph's."""

    runtime: spectrum.FrameAnalyser
    fused: Frame
    state: dict[str, Tensor]


def analysed(features: Features, runtime: spectrum.FrameAnalyser | None = None) -> Iterator[BothFrames]:
    runtime, fused = runtime or spectrum.FrameAnalyser(features), Analysis(features)
    state, samples = zeros(fused.state_shapes), np.zeros(features.window_samples)
    for hop in hops_of(features):
        samples = np.concatenate([samples[len(hop) :], hop])
        runtime.push(hop[None])
        frame, state = fused(row(samples), state)
        yield BothFrames(runtime, frame, state)


def beyond(errors: dict[str, float], limits: dict[str, float]) -> dict[str, float]:
    """Those that are too large, or no number."""
    return {name: error for name, error in errors.items() if not error <= limits[name]}


def worst(found: Tensor, wanted: np.ndarray | float) -> float:
    return float(np.abs(found.numpy()[0] - wanted).max())


@BOTH
@torch.no_grad()
def test_frames(features: Features) -> None:
    """Quiet bins beside a loud partial lose most in float32, and in a logarithm it shows."""
    limits = {"amplitude": 3e-7, "cepstrum": 5e-4, "envelope": 1e-3, "fine": 1e-2, "level": 3e-6}
    heard = []
    for hop in analysed(features):
        runtime, fused = hop.runtime, hop.fused
        heard.append((runtime.sounding, bool(fused.sounding)))
        level = hop.state["level"].sqrt() if features.level == "power" else hop.state["level"]
        errors = {
            "amplitude": worst(fused.amplitude, runtime.amplitude),
            "cepstrum": worst(fused.cepstrum, cepstrum_of(runtime.log_amplitude, features.cutoff_quefrency)),
            "envelope": worst(fused.envelope, runtime.envelope),
            "fine": worst(fused.fine, runtime.fine),
            "level": worst(level, runtime.level) / max(runtime.level, 1e-9),
        }
        assert beyond(errors, limits) == {}
        assert hop.state["count"].item() == runtime.level_state[1]
    wanted, found = zip(*heard, strict=True)
    assert wanted == found
    assert {True, False} == set(wanted)


@pytest.mark.parametrize("hops", [0, 3])
@torch.no_grad()
def test_late_frames(hops: int) -> None:
    fused, analyser = FrameDelay(SHIPPED, hops), spectrum.FrameAnalyser(SHIPPED)
    runtime, state = spectrum.FrameDelay(analyser, hops), zeros(fused.state_shapes)
    for number, hop in enumerate(analysed(SHIPPED, analyser)):
        runtime.push()
        late, state = fused(hop.fused, state)
        assert bool(late.sounding) == runtime.sounding
        if number >= hops:  # what was before the start is silence to both, and nothing of it is read
            assert worst(late.amplitude, runtime.amplitude) <= 3e-7
            assert worst(late.cepstrum, cepstrum_of(runtime.log_amplitude, SHIPPED.cutoff_quefrency)) <= 5e-4


@BOTH
@torch.no_grad()
def test_pitch(features: Features) -> None:
    """In silence, and where nobody listens, both stay as they are."""
    runtime, fused = PitchTracker(features), Pitch(features)
    state, voiced = zeros(fused.state_shapes), []
    for number, hop in enumerate(analysed(features)):
        listening = hop.runtime.sounding and number % 97 < 90
        if listening:
            runtime.update(hop.runtime.amplitude)
        note, period, state = fused(row(hop.runtime.amplitude), torch.tensor([[listening]]), state)
        voiced.append(runtime.voiced)
        assert bool(period > 0) == runtime.voiced
        wanted = FIRST_NOTE if runtime.midi_note is None else runtime.midi_note
        assert 100 * worst(note, wanted) <= 5e-3  # cents
        assert worst(period, runtime.period_samples) <= 3e-6 * runtime.period_samples
    assert {True, False} == set(voiced)


def turned(count: int) -> np.ndarray:
    """(hops, targets): gestures with rests between them, some values out of range or no number."""
    random, targets = np.random.default_rng(3), morph_targets(MANIFEST)
    default = np.array([target.default for target in targets])
    values, names = np.tile(default, (count, 1)), [target.name for target in targets]
    for start in range(20, count, 60):
        moved, stop = values[start : start + 30], start // 60
        moved[:, random.integers(len(MANIFEST.axes), size=3)] = random.uniform(-3.5, 3.5, 3)
        moved[:, names.index("preset")] = random.integers(len(MANIFEST.presets) + 1) if stop % 2 else 0
        moved[:, names.index("preset_amount")] = random.uniform()
        moved[:, names.index("mix")], moved[:, names.index("gain_db")] = random.uniform(), random.uniform(-12, 6)
        moved[10:20, stop % 5] = np.nan
    return values.astype(np.float32)


@torch.no_grad()
def test_edits() -> None:
    count, bank = 500, KnobBank(MANIFEST)
    knobs, random = turned(count), np.random.default_rng(4)
    smoother, runtime, fused = ParameterSmoother(MANIFEST), Edits(MANIFEST), FusedEdits(MANIFEST)
    state = zeros(fused.state_shapes)
    timbre, settle_hops, since = np.zeros(MANIFEST.timbre_size), settling(SHIPPED)[0], settling(SHIPPED)[0]
    smoothed = [i for i, target in enumerate(morph_targets(MANIFEST)) if not target.name.startswith("preset")]
    limits, rests = {"values": 3e-6, "share": 3e-7, "mix": 3e-7, "gain": 6e-7, "timbre": 5e-6}, []
    for number, values in enumerate(knobs):
        timbre = 0.95 * timbre + 0.3 * random.standard_normal(len(timbre)).astype(np.float32)
        note = 60 + 20 * np.sin(number / 40)
        latents = {name: np.zeros((1, size)) for name, size in MANIFEST.latents.items()} | {"timbre": timbre[None]}
        out = {name: np.zeros((2, size)) for name, size in MANIFEST.latents.items()}
        bank.values[: len(values)] = values
        smoother.follow(bank.values, bank.smoothing)
        runtime.follow(bank.values, bank.smoothing, latents)
        runtime.apply(latents, bank.slots, note, out)
        since = since + 1 if runtime.at_rest else 0
        now, following = fused.follow(row(values), state)
        edited, preset = fused(row(timbre), row(note), now, state["preset"])
        state = following | {"preset": preset}
        assert (bool(now.at_rest), bool(now.settled)) == (runtime.at_rest, since >= settle_hops)
        rests.append(runtime.at_rest)
        errors = {
            "values": worst(now.values[:, smoothed], smoother.value[smoothed]),
            "share": worst(now.share, smoother.share[0]),
            "mix": worst(now.mix, runtime.mix),
            "gain": worst(now.gain, runtime.gain),
            "timbre": worst(edited, out["timbre"][1]),
        }
        assert beyond(errors, limits) == {}
    assert {True, False} == set(rests)


def decoded_pairs(bins: int, count: int) -> Iterator[np.ndarray]:
    """(2, bins), float32: a spectrum as heard, and as edited by up to some ten dB, sometimes by far too much."""
    random, ripples = np.random.default_rng(5), np.arange(1, bins // 2)
    cosines = np.cos(np.pi * np.outer(ripples, np.arange(bins)) / (bins - 1)) / np.sqrt(ripples)[:, None]
    falling, (heard, edit) = np.linspace(0, -4, bins), np.zeros((2, len(ripples)))
    for number in range(count):
        heard, edit = (0.97 * curve + 0.1 * random.standard_normal(len(ripples)) for curve in (heard, edit))
        size = 8.0 if number % 50 > 45 else 1.0
        yield np.stack([falling + heard @ cosines, falling + (heard + size * edit) @ cosines]).astype(np.float32)


@BOTH
@torch.no_grad()
def test_filters_of_the_morph(features: Features) -> None:
    """Gain curve, its limits and corrections, minimum phase and level; with rests between."""
    hop_samples, frames = features.hop_samples, len(hops_of(features))
    runtime, fused = Morph(features, 1, RATE, hop_samples, hop_samples), FusedMorph(features)
    part, hop, tracker = runtime.new_part(), DecodedHop(features.bins), PitchTracker(features)
    state, filtered = zeros(fused.state_shapes), 0
    for number, (now, pair) in enumerate(zip(analysed(features), decoded_pairs(features.bins, frames), strict=True)):
        frame = now.runtime
        if frame.sounding:
            tracker.update(frame.amplitude)
        hop.decoded, hop.log_amplitude, hop.amplitude = pair, frame.log_amplitude, frame.amplitude
        hop.sounding, hop.period_samples = frame.sounding, tracker.period_samples if number % 40 < 30 else 0.0
        hop.settled = number % 120 > 100
        runtime.describe(hop, part)
        cepstrum = cepstrum_of(frame.log_amplitude, features.cutoff_quefrency)
        dry = DelayedFrame(row(frame.amplitude), row(cepstrum), torch.tensor([[frame.sounding]]))
        active = torch.tensor([[not hop.settled]])
        response, state = fused(row(hop.decoded), dry, row(hop.period_samples), active, state)
        assert part.filtered == bool(active & (state["count"] > 0))
        if part.filtered:
            filtered += 1
            assert worst(response, part.response) <= 6e-6 * np.abs(part.response).max()
    assert filtered > frames // 2


@BOTH
@torch.no_grad()
def test_sound_through_changing_filters(features: Features) -> None:
    """With nothing to do, to the bit."""
    hop_samples, random = features.hop_samples, np.random.default_rng(6)
    taps = features.window_samples // 2
    runtime, fused = Convolver(1, taps, hop_samples, hop_samples), Filters(taps, hop_samples)
    state, samples, same = zeros(fused.state_shapes), np.zeros(taps - 1 + hop_samples), 0
    for number, hop in enumerate(hops_of(features)):
        samples = np.concatenate([samples[hop_samples:], hop])
        wet, found = runtime.process(hop[None])[0], fused(row(samples), state)[0].numpy()
        assert np.abs(found - wet).max() <= 1.5e-6
        same += np.array_equal(found, hop) and np.array_equal(wet, hop)
        response = random.standard_normal(taps) * np.exp(-np.arange(taps) / 40)
        response = response / np.abs(response).sum()
        resting = number % 50 > 35
        runtime.change(None if resting else response)
        single = np.eye(1, taps)[0]
        state = fused.next(row(np.zeros(taps) if resting else response - single), state)
    assert same > len(hops_of(features)) // 5


@given(half=st.integers(1, 300), given_share=st.floats(0, 1), wanted_share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_thin_products_are_the_transform(half: int, given_share: float, wanted_share: float, seed: int) -> None:
    """Of any even length, from its beginning, to its beginning: NumPy's."""
    samples, rng = 2 * half, np.random.default_rng(seed)
    given_samples, wanted = (1 + int(share * (samples - 1)) for share in (given_share, wanted_share))
    x = rng.standard_normal((3, given_samples))
    spectrum = np.fft.rfft(x, samples)
    scale_of = np.abs(spectrum).max()
    found = spectrum_of(samples, given_samples)(torch.from_numpy(x).float()).numpy()
    assert np.abs(found[:, 0] + 1j * found[:, 1] - spectrum).max() < 3e-6 * scale_of
    parts = torch.from_numpy(np.stack([spectrum.real, spectrum.imag], 1)).float()
    assert (
        np.abs(signal_of(samples, wanted)(parts).numpy() - np.fft.irfft(spectrum, samples)[:, :wanted]).max()
        < 3e-6 * scale_of
    )
    real = Fourier(samples, given_samples, wanted)(torch.from_numpy(x).float()).numpy()
    assert np.abs(real - np.fft.fft(x, samples).real[:, :wanted]).max() < 3e-6 * scale_of
