"""Held-out notes, their magnitudes and what the model decodes of them, for `benchmarks.resynth`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from export.calibration import SHIPPED
from realtime.bundle import Bundle, Features
from realtime.dsp.spectrum import FrameAnalyser, frame_scale
from realtime.hop.model import StreamingModel
from realtime.hop.smoothing import timbre_rate
from realtime.outputs.resynth.resynth import Resynth
from training.data.manifest import DataError, read_dataset
from training.data.store import SoundStore

SECONDS, BEFORE_SAMPLES = 1.5, 1111  # silence before each note, so that its start is no hop's
SHIPPED_SECONDS = 1.0
PLUCKED = ("piano", "guitar", "bass", "chromatic percussion")  # families


@dataclass(frozen=True)
class Note:
    """sound : (samples,);  real, decoded : (frames, bins), amplitudes of the dry frames and of what the model decodes,
    as loud

    plucked : whether its family's notes begin with a stroke
    """

    name: str
    plucked: bool
    sound: np.ndarray
    real: np.ndarray
    decoded: np.ndarray


def held_out(data: Path | None, rate: int, count: int, seed: int) -> tuple[list[tuple[str, bool, np.ndarray]], str]:
    """(name, plucked, sound) of each note, families taking turns, and where they come from.

    Raises
    ------
    DataError
        For a data set at another rate.
    """
    if data is None:
        audio, own = soundfile.read(SHIPPED, dtype="float64")
        audio = soxr.resample(audio, own, rate) if own != rate else audio
        length = round(SHIPPED_SECONDS * rate)
        shipped = [
            (f"note {k}", False, audio[k * length : (k + 1) * length]) for k in range(3, len(audio) // length, 4)
        ]
        return shipped[:count], "every fourth of the shipped calibration notes (held out from folding)"
    everything = read_dataset(data)
    if everything.sample_rate != rate:
        raise DataError(f"{data} is at {everything.sample_rate} Hz, the bundle at {rate} Hz; render it at that rate")
    test = everything.select(split="test")
    order = np.random.default_rng(seed).permutation(len(test))
    turns = {family: [row for row in order if test.family[row] == family] for family in sorted(set(test.family))}
    rows = [rows[turn] for turn in range(max(map(len, turns.values()))) for rows in turns.values() if turn < len(rows)][
        :count
    ]
    store, samples = SoundStore(test), round(SECONDS * rate)
    names = [f"{test.instrument[row]} {test.pitch[row]:g}" for row in rows]
    return [
        (n, str(test.family[r]) in PLUCKED, store.read(int(r), 0, samples)) for n, r in zip(names, rows, strict=True)
    ], "test notes of the data set"


def read_notes(bundle: Bundle, data: Path | None, count: int, seed: int) -> tuple[list[Note], str]:
    """Notes with their spectra, and where they come from."""
    features = bundle.manifest.features
    found, source = held_out(data, features.sample_rate, count, seed)
    model = StreamingModel(bundle, "cpu")
    return [_with_spectra(model, features, *one) for one in found], source


def _with_spectra(model: StreamingModel, features: Features, name: str, plucked: bool, sound: np.ndarray) -> Note:
    sound = np.concatenate([np.zeros(BEFORE_SAMPLES), sound.astype(np.float64)])
    sound = np.pad(sound, (0, -len(sound) % features.hop_samples))
    frame, real, decoded = FrameAnalyser(features), [], []
    model.reset()
    for start in range(0, len(sound), features.hop_samples):
        frame.push(sound[None, start : start + features.hop_samples])
        if frame.sounding:
            model.encode(frame.envelope, frame.fine, timbre_rate(features.hop_seconds))
        for latent, value in model.latents.items():
            model.decoder_inputs[latent][:] = value
        model.decode()
        shape = np.maximum(np.exp(model.log_amplitude[0].astype(np.float64)) - features.log_floor, 0)
        power = float(shape @ shape)
        real.append(frame.amplitude.copy())
        decoded.append(shape * (float(np.linalg.norm(frame.amplitude)) / power**0.5 if power else 0.0))
    return Note(name, plucked, sound, np.array(real), np.array(decoded))


class _DryFrame:
    """A frame as `Resynth.hear` wants it."""

    def __init__(self, amplitude: np.ndarray) -> None:
        self.amplitude = amplitude


def resynthesised(resynth: Resynth, features: Features, note: Note, amplitudes: np.ndarray, phase: float) -> np.ndarray:
    """The note from these amplitudes, (frames, bins); the latency taken off, the last of it missing."""
    hop, out = features.hop_samples, []
    resynth.reset()
    resynth.phase, resynth.follows = phase, True
    for number, amplitude in enumerate(amplitudes):
        out.append(resynth.process(note.sound[number * hop : (number + 1) * hop], True).copy())
        level = float(amplitude.mean()) or 1.0
        resynth.hear(np.log(amplitude / level + features.log_floor), _DryFrame(note.real[number]), level)
    return np.concatenate(out)[resynth.latency_samples :]


def griffin_lim(features: Features, amplitudes: np.ndarray, momentum: float) -> np.ndarray:
    """32 rounds over the whole note."""
    window, hop = features.window_samples, features.hop_samples
    spectrum = amplitudes.T / frame_scale(features).amplitude
    sound = librosa.griffinlim(
        spectrum, n_iter=32, hop_length=hop, n_fft=window, center=False, momentum=momentum, random_state=0
    )
    return sound[window - hop :]


def amplitudes_of(features: Features, sound: np.ndarray) -> np.ndarray:
    """(frames, bins) of the model's frames, whole hops only."""
    window, hop = features.window_samples, features.hop_samples
    padded = np.concatenate([np.zeros(window - hop), sound[: len(sound) // hop * hop]])
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    scale = frame_scale(features)
    return np.abs(np.fft.rfft(frames * scale.window)) * scale.amplitude
