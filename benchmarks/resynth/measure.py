"""How near a sound comes to magnitudes, to a pitch and to an attack."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.dsp.decibels import decibels_of

SOUNDING, FLOOR = 1e-2, 1e-3  # frames within 40 dB of the loudest count, down to 60 dB below each one's peak


@dataclass(frozen=True)
class Distance:
    """Spectral convergence, and log-spectral distance in dB (root mean square over bins, mean over frames)."""

    convergence: float
    log_db: float


def distance(found: np.ndarray, wanted: np.ndarray) -> Distance:
    """found, wanted : (frames, bins), amplitudes; the longer one's end is left out"""
    count = min(len(found), len(wanted))
    level = np.sqrt(np.square(wanted[:count]).mean(1))
    keep = level > SOUNDING * level.max()
    a, b = found[:count][keep], wanted[:count][keep]
    floor = FLOOR * b.max(1, keepdims=True)
    decibels = decibels_of((a + floor) / (b + floor))
    return Distance(
        float(np.linalg.norm(a - b) / np.linalg.norm(b)), float(np.sqrt(np.square(decibels).mean(1)).mean())
    )


def f0_hz(sound: np.ndarray, rate: int) -> float | None:
    """By autocorrelation, corrected for the window (Boersma 1993): the first peak close to the highest one; None if
    there is no clear one.
    """
    samples = len(sound)
    window = np.hanning(samples)
    correlation, own = (
        np.fft.irfft(np.abs(np.fft.rfft(x, 4 * samples)) ** 2)[: samples // 2] for x in (sound * window, window)
    )
    curve = correlation / np.maximum(own, 1e-9 * own[0])
    peaks = [lag for lag in range(rate // 2000, rate // 35) if curve[lag - 1] < curve[lag] >= curve[lag + 1]]
    highest = max((curve[lag] for lag in peaks), default=0.0)
    if highest < 0.6 * curve[0]:
        return None
    lag = next(lag for lag in peaks if curve[lag] > 0.95 * highest)
    below, middle, above = curve[lag - 1 : lag + 2]
    return float(rate / (lag + 0.5 * (above - below) / (2 * middle - above - below)))


def cents_off(found: np.ndarray, dry: np.ndarray, rate: int) -> float | None:
    """How far the pitch is off, between a third of a second and two thirds; None if the dry note has none."""
    part = slice(rate // 3, 2 * rate // 3)
    a, b = f0_hz(found[part], rate), f0_hz(dry[part], rate)
    return None if a is None or b is None else 1200 * math.log2(a / b)


@dataclass(frozen=True)
class Attack:
    """Milliseconds: when half the highest level is reached, and how long it takes from a tenth to nine tenths of it."""

    half_ms: float
    rise_ms: float


def attack(sound: np.ndarray, rate: int) -> Attack:
    """Of the first quarter of a second; the envelope is the root mean square over 3 ms."""
    width = round(0.003 * rate)
    first = np.sqrt(np.convolve(np.square(sound[: rate // 4]), np.ones(width) / width, "same"))
    tenth, half, most = (int(np.argmax(first >= share * first.max())) for share in (0.1, 0.5, 0.9))
    return Attack(1000 * half / rate, 1000 * (most - tenth) / rate)
