"""A cheap estimate of the note being played, from the spectrum that is there anyway; presets follow it.

Autocorrelation of the frame, corrected for its window (Boersma 1993); the first peak close to the highest one wins (McLeod and
Wyvill 2005). Measured on 400 notes of 80 sampled instruments from E2 up: 92 % of frames within a semitone, 6 % one or more octaves
off, most of these in organs, whose stops sound in octaves.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from realtime.bundle import Features
from realtime.spectrum import periodic_hann

LOWEST_NOTE, HIGHEST_NOTE = 27.0, 108.0  # D♯1, C8
VOICED = 0.3  # peak of the normalised autocorrelation
NEAR_HIGHEST = 0.9
MEDIAN_HOPS = 5


class PitchTracker:
    """Attributes

    midi_note : float or None, median of the last voiced frames; stays when the sound stops
    period_samples : float, of that note at the model's rate; 0 while the sound has no pitch
    """

    def __init__(self, features: Features) -> None:
        samples, rate = features.window_samples, features.sample_rate
        self._samples, self._rate = samples, rate
        self._shortest = max(2, math.floor(rate / _hz(HIGHEST_NOTE)) - 1)
        self._longest = min(samples // 2 - 1, math.ceil(rate / _hz(LOWEST_NOTE)) + 1)
        self._spectrum = np.zeros(features.bins, complex)
        self._correlation = np.empty(samples)
        shape = np.fft.irfft(np.abs(np.fft.rfft(periodic_hann(samples))) ** 2, samples)
        self._shape = np.maximum(shape[: self._longest + 2] / shape[0], 0.05)
        self._recent: deque[float] = deque(maxlen=MEDIAN_HOPS)
        self.reset()

    def reset(self) -> None:
        self._recent.clear()
        self.midi_note: float | None = None
        self.period_samples = 0.0

    @property
    def voiced(self) -> bool:
        """Whether the last frame had a pitch."""
        return self.period_samples > 0

    def update(self, amplitude: np.ndarray) -> None:  # audio thread
        """amplitude : (bins,), of a sounding frame."""
        np.multiply(amplitude, amplitude, out=self._spectrum.real)
        np.fft.irfft(self._spectrum, self._samples, out=self._correlation)
        curve = self._correlation[: self._longest + 2]
        self.period_samples = 0.0
        if curve[0] <= 0:
            return
        curve /= self._shape * curve[0]
        lag = self._period(curve)
        if lag > 0:
            self._recent.append(69 + 12 * math.log2(self._rate / lag / 440))
            self.midi_note = sorted(self._recent)[len(self._recent) // 2]
            self.period_samples = self._rate / _hz(self.midi_note)

    def _period(self, curve: np.ndarray) -> float:  # audio thread
        """The period in samples, 0 if there is none."""
        inner = curve[self._shortest : self._longest + 1]
        peaks = np.flatnonzero((inner > curve[self._shortest - 1 : self._longest]) & (inner >= curve[self._shortest + 1 : self._longest + 2]))
        if not len(peaks):
            return 0.0
        heights = inner[peaks]
        highest = float(heights.max())
        if highest < VOICED:
            return 0.0
        peak = int(peaks[np.argmax(heights >= NEAR_HIGHEST * highest)]) + self._shortest
        before, here, after = (float(curve[peak + i]) for i in (-1, 0, 1))
        bend = before - 2 * here + after
        return peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _hz(midi_note: float) -> float:
    return 440 * 2 ** ((midi_note - 69) / 12)
