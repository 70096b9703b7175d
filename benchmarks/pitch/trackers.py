"""Pitch trackers behind one face: (samples,) → f0 and confidence at the end of every hop.

All are causal but for pYIN, which sees the whole sound and serves as a judge.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import librosa
import numpy as np

from realtime.bundle import Features
from realtime.dsp.f0 import F0Tracker
from realtime.dsp.pitch import PitchTracker
from realtime.dsp.spectrum import FrameAnalyser

HIGHEST_HZ = 2200.0
YIN_WINDOW = 2048  # two periods of the lowest pitch it is asked for
AUBIO_WINDOW = 2048
Tracker = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def trackers(features: Features) -> tuple[dict[str, Tracker], list[str]]:
    """Those that can run here by name, and a sentence for each that cannot."""
    rate, hop = features.sample_rate, features.hop_samples
    found: dict[str, Tracker] = {
        "F0Tracker": lambda sound: _ours(sound, rate, hop, now=True),
        "F0Tracker, as measured": lambda sound: _ours(sound, rate, hop, now=False),
        "PitchTracker (presets)": lambda sound: _presets(sound, features),
        "librosa.yin, past frames": lambda sound: _yin(sound, rate, hop),
    }
    missing = []
    if importlib.util.find_spec("aubio"):
        found["aubio yinfast"] = lambda sound: _aubio(sound, rate, hop)
    else:
        missing.append("aubio is not installed here.")
    if importlib.util.find_spec("pesto"):
        found["pesto, streaming"] = lambda sound: _pesto(sound, rate, hop)
    else:
        missing.append("pesto-pitch is not installed here.")
    return found, missing


def judge(features: Features) -> Tracker:
    """pYIN (Mauch and Dixon 2014), which sees the future."""
    rate, hop = features.sample_rate, features.hop_samples
    lowest = 2.01 * rate / YIN_WINDOW

    def run(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f0, _, probability = librosa.pyin(
            sound, fmin=lowest, fmax=HIGHEST_HZ, sr=rate, frame_length=YIN_WINDOW, hop_length=hop, center=True
        )
        count = len(sound) // hop
        return np.nan_to_num(f0)[1 : count + 1], probability[1 : count + 1]

    return run


def _ours(sound: np.ndarray, rate: int, hop: int, *, now: bool) -> tuple[np.ndarray, np.ndarray]:
    tracker, found = F0Tracker(rate, hop), []
    for start in range(0, len(sound) - hop + 1, hop):
        tracker.push(sound[None, start : start + hop])
        found.append((tracker.now_hz if now else tracker.f0_hz, tracker.confidence))
    return _columns(found)


def _presets(sound: np.ndarray, features: Features) -> tuple[np.ndarray, np.ndarray]:
    frame, tracker, found, hop = FrameAnalyser(features), PitchTracker(features), [], features.hop_samples
    for start in range(0, len(sound) - hop + 1, hop):
        frame.push(sound[None, start : start + hop])
        if frame.sounding:
            tracker.update(frame.amplitude)
        note = tracker.midi_note
        f0 = 0.0 if note is None else 440 * 2 ** ((note - 69) / 12)
        found.append((f0, float(frame.sounding and tracker.voiced)))
    return _columns(found)


def _yin(sound: np.ndarray, rate: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """It gives no confidence."""
    padded, lowest = np.concatenate([np.zeros(YIN_WINDOW - hop), sound]), 2.01 * rate / YIN_WINDOW
    f0 = librosa.yin(
        padded, fmin=lowest, fmax=HIGHEST_HZ, sr=rate, frame_length=YIN_WINDOW, hop_length=hop, center=False
    )
    count = len(sound) // hop
    return f0[:count], np.ones(min(count, len(f0)))


def _aubio(sound: np.ndarray, rate: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    import aubio

    tracker, found = aubio.pitch("yinfast", AUBIO_WINDOW, hop, rate), []
    for start in range(0, len(sound) - hop + 1, hop):
        f0 = float(tracker(sound[start : start + hop].astype(np.float32))[0])
        found.append((f0, float(tracker.get_confidence())))
    return _columns(found)


def _pesto(sound: np.ndarray, rate: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    import torch
    from pesto import load_model

    model = load_model("mir-1k_g7", step_size=1000 * hop / rate, sampling_rate=rate, streaming=True, max_batch_size=1)
    found = []
    with torch.inference_mode():
        for start in range(0, len(sound) - hop + 1, hop):
            piece = torch.from_numpy(sound[None, start : start + hop].astype(np.float32))
            f0, confidence, *_ = model(piece, return_activations=False, convert_to_freq=True)
            found.append((float(f0.flatten()[-1]), float(confidence.flatten()[-1])))
    return _columns(found)


def _columns(rows: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    f0, confidence = np.array(rows, dtype=float).reshape(-1, 2).T
    return f0, confidence
