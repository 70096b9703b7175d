"""Sound rebuilt from magnitudes, judged on real notes: spectra, pitch and delay are kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from export.hosts.resynthesis import Resynthesis, dual_window
from export.hosts.steps import DecodeStep, EncodeStep, Packed
from export.systems import system_of
from realtime.bundle import Features, embedded_bundle, load_bundle
from realtime.outputs.resynth.partials import PartialAdvance
from tests.support.miniatures import CELLO, CLARINET, FLUTE, PIANO, notes
from training.checkpoint import load_checkpoint
from training.features import FeatureConfig, FeatureExtractor

RATE = 44100
FEATURES = load_bundle(embedded_bundle()).manifest.features
FRAMES = FeatureExtractor(
    FeatureConfig(
        window_samples=FEATURES.window_samples, hop_samples=FEATURES.hop_samples, log_floor=FEATURES.log_floor
    )
)
HOP = FEATURES.hop_samples
SLOPPIEST_CENTS = 20.0


def note(program: int, key: int, seconds: float = 0.7) -> np.ndarray:
    sound = notes(program, (key,), seconds=seconds)[0]
    sound = np.pad(0.5 * sound / np.abs(sound).max(), (0, 4096))
    return sound[: len(sound) // HOP * HOP].astype(np.float32)


def magnitudes(sound: np.ndarray) -> torch.Tensor:
    """(frames, bins), 1 = a full-scale sine."""
    return FRAMES.amplitudes(torch.from_numpy(np.ascontiguousarray(sound, np.float32))[None]).amplitude[0]


def rebuilt(amplitude: torch.Tensor) -> np.ndarray:
    """As long as the sound, `delay_samples` late."""
    resynthesis = Resynthesis(FEATURES)
    state, answers = [torch.zeros(shape) for shape in resynthesis.state_shapes.values()], []
    with torch.no_grad():
        for frame in amplitude:
            answer, *state = resynthesis(frame[None], *state)
            answers.append(answer[0])
    return torch.cat(answers).numpy()


def aligned(late: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    late = late[Resynthesis(FEATURES).delay_samples :]
    samples = min(len(late), len(sound)) // HOP * HOP
    return late[:samples], sound[:samples]


def distances(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Spectral convergence and log-spectral distance in dB, of frames within 40 dB of the loudest, down to 60 dB below
    each one's peak.
    """
    a, b = magnitudes(found), magnitudes(wanted)
    level = b.square().mean(1).sqrt()
    a, b = a[level > 0.01 * level.max()], b[level > 0.01 * level.max()]
    floor = 1e-3 * b.amax(1, keepdim=True)
    log = 20 * torch.log10((a + floor) / (b + floor))
    return float(torch.linalg.norm(a - b) / torch.linalg.norm(b)), float(log.square().mean(1).sqrt().mean())


def f0_hz(sound: np.ndarray) -> float:
    """By autocorrelation, corrected for the window (Boersma 1993): the first peak close to the highest one."""
    samples = len(sound)
    window = np.hanning(samples)
    correlation, own = (
        np.fft.irfft(np.abs(np.fft.rfft(x, 4 * samples)) ** 2)[: samples // 2] for x in (sound * window, window)
    )
    curve = correlation / own
    peaks = [lag for lag in range(RATE // 2000, RATE // 50) if curve[lag - 1] < curve[lag] >= curve[lag + 1]]
    highest = max(curve[lag] for lag in peaks)
    lag = next(lag for lag in peaks if curve[lag] > 0.9 * highest)
    below, middle, above = curve[lag - 1 : lag + 2]
    return RATE / (lag + 0.5 * (above - below) / (2 * middle - above - below))


@pytest.mark.parametrize(
    ("program", "key"), [(PIANO, 48), (PIANO, 72), (CLARINET, 60), (FLUTE, 79), (CELLO, 43), (CELLO, 67)]
)
def test_real_notes_come_back_from_their_magnitudes(program: int, key: int) -> None:
    sound = note(program, key)
    found, wanted = aligned(rebuilt(magnitudes(sound)), sound)
    convergence, log_distance_db = distances(found, wanted)
    assert convergence < 0.15
    assert log_distance_db < 2.5
    middle = slice(RATE // 5, RATE // 2)
    assert abs(1200 * math.log2(f0_hz(found[middle]) / f0_hz(wanted[middle]))) < SLOPPIEST_CENTS


def test_the_delay_is_the_one_it_says() -> None:
    """An impulse lies in the middle of its frames' energy, so that is where it comes out."""
    for place in (9000, 9100):
        sound = np.zeros(RATE // 2 // HOP * HOP, np.float32)
        sound[place] = 1.0
        energy = np.square(rebuilt(magnitudes(sound)))
        middle = float((energy * np.arange(len(energy))).sum() / energy.sum())
        assert abs(middle - place - Resynthesis(FEATURES).delay_samples) < HOP


@pytest.mark.parametrize(("samples", "hop"), [(2048, 256), (1024, 441), (1024, 512), (512, 64), (882, 441)])
def test_overlapped_frames_add_up_to_the_sound(samples: int, hop: int) -> None:
    features = Features(
        sample_rate=44100,
        window_samples=samples,
        hop_samples=hop,
        log_floor=1e-2,
        cutoff_quefrency=20,
        level_seconds=2.0,
        silence_dbfs=-70.0,
    )
    resynthesis = Resynthesis(features)
    length = len(resynthesis.dual)
    part = torch.hann_window(samples, dtype=torch.float64)[resynthesis.start : resynthesis.start + length]
    total = torch.zeros(40 * hop + length, dtype=torch.float64)
    for start in range(0, 40 * hop, hop):
        total[start : start + length] += part * dual_window(part, hop)
    torch.testing.assert_close(total[length : 40 * hop], torch.ones(40 * hop - length, dtype=torch.float64))


@pytest.mark.parametrize(("program", "key"), [(PIANO, 60), (CELLO, 43)])
def test_partials_turn_as_in_the_runtime(program: int, key: int) -> None:
    """From the same phases and magnitudes, whatever bins the partials lie between."""
    resynthesis, window = Resynthesis(FEATURES), FEATURES.window_samples
    runtime, overlap = PartialAdvance(window, HOP), torch.zeros(resynthesis.state_shapes["overlap"])
    middle, advanced = resynthesis.middle.numpy(), np.empty(FEATURES.bins, np.complex64)
    random = np.random.default_rng(2)
    for amplitude in magnitudes(note(program, key))[10:90:4]:
        phase = random.uniform(0, 2 * np.pi, FEATURES.bins).astype(np.float32)
        magnitude = (resynthesis.scale * amplitude).numpy()
        runtime.advance(magnitude, (middle * np.exp(1j * phase)).astype(np.complex64), advanced)
        with torch.no_grad():
            _, following, _ = resynthesis(amplitude[None], torch.from_numpy(phase)[None], overlap)
        assert np.abs(middle * np.exp(1j * following[0].numpy()) - advanced).max() < 5e-4


def test_silence_is_silent_and_frames_without_a_peak_do_no_harm() -> None:
    falling = torch.linspace(1, 0, FEATURES.bins).repeat(20, 1)
    assert np.isfinite(rebuilt(falling)).all()
    assert np.abs(rebuilt(torch.zeros(20, FEATURES.bins))).max() == 0


@pytest.mark.parametrize(("program", "key"), [(PIANO, 60), (CLARINET, 67), (CELLO, 55)])
def test_what_is_heard_is_what_the_shipped_model_decoded(program: int, key: int) -> None:
    """decode(encode(x)): the rebuilt sound has the decoder's magnitudes and the loudness of the encoded sound."""
    checkpoint = load_checkpoint(Path(__file__).parents[2] / "training/checkpoints/live.pt")
    encoder, decoder = system_of(checkpoint.model).streaming(checkpoint.model)
    encode, decode = Packed(EncodeStep(FEATURES, encoder)), Packed(DecodeStep(FEATURES, decoder))
    decoded: list[torch.Tensor] = []
    decode.step.resynthesis.register_forward_pre_hook(lambda _, inputs: decoded.append(inputs[0][0]))
    state, following, answers = encode.example()[-1], decode.example()[-1], []
    sound = note(program, key)
    with torch.no_grad():
        for hop in torch.from_numpy(sound).reshape(-1, 1, HOP):
            latents, state = encode(hop, state)
            answer, following = decode(latents, following)
            answers.append(answer[0])
    heard, played = aligned(torch.cat(answers).numpy(), sound)
    middle = slice(20, 100)
    found, wanted = magnitudes(heard)[middle], torch.stack(decoded)[middle]
    convergence = float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))
    assert convergence < 0.7, (
        "blurred spectra have partials closer than the window resolves; a hundred passes instead of one come to 0.2"
    )
    assert abs(20 * math.log10(float(np.std(heard[20 * HOP : 100 * HOP]) / np.std(played[20 * HOP : 100 * HOP])))) < 2
