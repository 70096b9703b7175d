"""Resynth as a session plays it, and how near sounds are to magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np

from realtime.bundle import embedded_bundle, load_bundle
from realtime.dsp.framing import HopSource
from realtime.dsp.spectrum import FrameAnalyser
from realtime.outputs.resynth.resynth import Resynth
from tests.support.miniatures import notes

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
                resynth.hear(*decoded_frame(curve, frame))
            elif done == end:
                break
        start = end
    return out


def decoded_frame(curve: Curve, frame: FrameAnalyser) -> tuple[np.ndarray, FrameAnalyser, float]:
    """What `Resynth.hear` is told of a frame: its decoded curve, itself, its level."""
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


def resynth_of(phase: float = 0.0, *, latency_ms: float = 6.0, rate: float = RATE, follows: bool = True) -> Resynth:
    resynth = Resynth(FEATURES, rate, latency_ms, MOST)
    resynth.phase, resynth.follows = phase, follows
    return resynth
