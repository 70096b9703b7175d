"""The pitch of whole sounds, frame by frame and causal.

This is `realtime.dsp.f0.F0Tracker`, which hears one hop at a time, for all hops at once. A test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

LOWEST_HZ, HIGHEST_HZ = 40.0, 2200.0
SHORT_SECONDS = 512 / 44100
NEAR_HIGHEST, VOICED, SURE, PENDING, NEAR_SEMITONES = 0.95, 0.5, 0.8, 0.4, 1.0
REFINED_SECONDS, HOPS_FOR_LOWER = 0.004, 3
QUIET, FADED, QUIETER, SMALLEST = 1e-10, 1e-4, 1e-3, 1e-20
LEAST_ALONE_SAMPLES, ALONE_SHARE = 24.0, 0.02
ALONE_FOR_LOWER, TOGETHER = 0.95, 0.1
FIRST_HZ = 220.0  # before any pitch was heard


@dataclass(frozen=True)
class PitchTrack:
    """f0_hz : (hops,), float32, Hz, where no pitch is heard the last one;  confidence : (hops,), float32, 0 … 1"""

    f0_hz: np.ndarray
    confidence: np.ndarray


def track_pitch(audio: np.ndarray, sample_rate: int, hop_samples: int) -> PitchTrack:
    """The pitch at the end of every whole hop.

    audio : (samples,), full scale 1
    """
    short, lags = round(SHORT_SECONDS * sample_rate), int(sample_rate / LOWEST_HZ) + 4
    size, hops = max(2 * short + lags, hop_samples), len(audio) // hop_samples
    if not hops:
        return PitchTrack(np.zeros(0, np.float32), np.zeros(0, np.float32))
    padded = np.concatenate([np.zeros(size - hop_samples), audio[: hops * hop_samples]])
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop_samples]
    energy = np.concatenate([np.zeros((hops, 1)), np.cumsum(np.square(frames), axis=1)], axis=1)
    newest, recent = energy[:, -1] - energy[:, -1 - 2 * short], energy[:, -1] - energy[:, -1 - short]
    loud = (newest > QUIET * 2 * short) & np.isfinite(newest) & (recent >= FADED * newest)
    share = 0.5 * np.minimum(1.0, 4 * (newest - recent) / np.where(loud, newest, 1.0))[:, None]  # of the long one
    parts = [_correlation(frames, energy, window, lags) for window in (short, 2 * short)]
    curve = (1 - share) * parts[0] + share * parts[1]
    lag, height = _first_peak(curve, int(sample_rate / HIGHEST_HZ), loud)
    lag = _refined(curve, lag, REFINED_SECONDS * sample_rate)
    alone = _alone(curve, lag, height)
    return _decide(np.where(lag > 0, sample_rate / np.maximum(lag, 1.0), 0.0), np.minimum(height, 1.0), alone)


def _correlation(frames: np.ndarray, energy: np.ndarray, window: int, lags: int) -> np.ndarray:
    """(hops, lags), −1 … 1: the newest `window` samples with those 0, 1, … earlier."""
    size, lag = frames.shape[1], np.arange(lags)
    length = scipy.fft.next_fast_len(size, real=True)
    newest = np.zeros(frames.shape, np.float32)
    newest[:, size - window :] = frames[:, size - window :]
    product = scipy.fft.irfft(
        scipy.fft.rfft(newest, length) * np.conj(scipy.fft.rfft(frames.astype(np.float32), length)), length
    )
    norm = energy[:, size - lag] - energy[:, size - window - lag]
    own = norm[:, :1]
    norm = np.maximum(norm, np.maximum(QUIETER * own, SMALLEST)) * own
    return product[:, :lags] / np.sqrt(np.maximum(norm, SMALLEST**2))


def _first_peak(curve: np.ndarray, shortest: int, loud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lag in samples and height of the first peak that is nearly the highest, beyond the first zero crossing; 0 where
    there is none.
    """
    middle = curve[:, 1:-1]
    crossed = np.maximum.accumulate(curve < 0, axis=1)[:, 1:-1]
    peak = (
        (middle > curve[:, :-2]) & (middle >= curve[:, 2:]) & crossed & (np.arange(1, curve.shape[1] - 1) >= shortest)
    )
    bend = np.maximum(2 * middle - curve[:, :-2] - curve[:, 2:], 1e-9)
    top = middle + 0.125 * np.square(curve[:, 2:] - curve[:, :-2]) / bend
    heights = np.where(peak & loud[:, None], top, -1.0)
    highest = heights.max(1, keepdims=True)
    found = highest[:, 0] > 0
    lag, height = _interpolated(curve, 1 + (heights >= NEAR_HIGHEST * highest).argmax(1))
    return np.where(found, lag, 0.0), np.where(found, height, 0.0)


def _interpolated(curve: np.ndarray, peak: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lags and heights of the parabolas through peaks and their neighbours."""
    hops = np.arange(len(curve))
    before, here, after = (curve[hops, peak + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-300), 0.0)
    return peak + shift, here - 0.25 * (before - after) * shift


def _refined(curve: np.ndarray, lag: np.ndarray, longest: float) -> np.ndarray:
    """Short periods measured over as many of them as fit."""
    hops = np.arange(len(curve))
    periods = np.where(lag > 0, longest / np.maximum(lag, 1.0), 0).astype(int)
    near = np.maximum(np.rint(periods * lag).astype(int), 2)
    later = near - 1 + np.argmax([curve[hops, near + step] for step in (-1, 0, 1)], axis=0)
    peak = curve[hops, later] > np.maximum(curve[hops, later - 1], curve[hops, later + 1])
    return np.where((periods > 1) & peak, _interpolated(curve, later)[0] / np.maximum(periods, 1), lag)


def _alone(curve: np.ndarray, lag: np.ndarray, height: np.ndarray) -> np.ndarray:
    """0 … 1, whether this is one voice; see the runtime's tracker."""
    hops, divisor = np.arange(len(curve)), np.where(height > 0, height, 1.0)

    def at(place: np.ndarray) -> np.ndarray:
        below = place.astype(int)
        low, high = curve[hops, below], curve[hops, below + 1]
        return (low + (place - below) * (high - low)) / divisor

    half, third, sixth = at(lag / 2), at(lag / 3), at(lag / 6)
    share = (sixth - (1 + 2 * third) / 3 + (1 - half) + (1 - third) / 3) / 3
    low = _low_share(curve, np.maximum(lag, 1.0))
    return np.clip(np.where(lag < LEAST_ALONE_SAMPLES, low, np.minimum(share, low)) / ALONE_SHARE, 0, 1)


def _low_share(curve: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Of the energy, in the first two partials of this period, and in whichever of the next two is weaker."""
    ramp = np.arange(curve.shape[1])
    cosine = np.cos(2 * math.pi * ramp / lag[:, None])
    part = np.where(ramp < lag.astype(int)[:, None], curve, 0.0)
    end, sums = 0.5 * curve[:, 0], []
    for _ in range(5):  # so many powers of the cosine
        sums.append(part.sum(1))
        part = part * cosine
    whole, one, two, three, four = sums
    weaker = np.minimum(4 * three - 3 * one, 8 * four - 8 * two + whole) - end
    return 2 * (one + 2 * two - whole - 2 * end + np.maximum(weaker, 0)) / lag


def _decide(f0_hz: np.ndarray, height: np.ndarray, alone: np.ndarray) -> PitchTrack:
    """Hop by hop: a new pitch is taken if it is near the last one, or said often enough."""
    f0, confidence, held, candidate, said = np.empty(len(f0_hz)), height * alone, 0.0, 0.0, 0
    for i, (new, high, one) in enumerate(zip(f0_hz.tolist(), height.tolist(), alone.tolist(), strict=True)):
        near = _near(new, held) if new else False
        if new and (high < VOICED or (one < TOGETHER and not near)):
            said = 0
        elif near:
            held, said = new, 0
        elif new:
            candidate, said = new, said + 1 if said and _near(new, candidate) else 1
            if said < _needed(new, held, high, one):
                confidence[i] = PENDING * high * one
            else:
                held, said = new, 0
        f0[i] = held or FIRST_HZ
    return PitchTrack(f0.astype(np.float32), confidence.astype(np.float32))


def _needed(f0_hz: float, held_hz: float, height: float, alone: float) -> float:
    ratio = held_hz / f0_hz
    if ratio > 1.5 and abs(12 * math.log2(ratio / round(ratio))) < NEAR_SEMITONES / 2:
        return HOPS_FOR_LOWER if alone > ALONE_FOR_LOWER else math.inf
    return 1 if height >= SURE else 2


def _near(a_hz: float, b_hz: float) -> bool:
    return b_hz > 0 and abs(12 * math.log2(a_hz / b_hz)) < NEAR_SEMITONES
