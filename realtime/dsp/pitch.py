"""A cheap estimate of the note being played, from the spectrum that is there anyway; presets follow it.

Autocorrelation of the frame, corrected for its window (Boersma 1993); the first peak close to the highest one wins
(McLeod and Wyvill 2005). Measured on 400 notes of 80 sampled instruments from E2 up: 92 % of frames within a semitone,
6 % one or more octaves off, most of these in organs, whose stops sound in octaves.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from realtime.bundle import Features
from realtime.dsp.fourier import RealFourier, periodic_hann

LOWEST_NOTE, HIGHEST_NOTE = 27.0, 108.0  # D♯1, C8
VOICED = 0.3  # peak of the normalised autocorrelation
NEAR_HIGHEST = 0.9
MEDIAN_HOPS = 5
A4_NOTE, A4_HZ = 69.0, 440.0
LEAST_SHAPE = 0.05  # of the window's autocorrelation, by which the frame's is divided


class PitchTracker:
    """Attributes

    midi_note : float or None, median of the last voiced frames; stays when the sound stops
    period_samples : float, of that note at the model's rate; 0 while the sound has no pitch
    """

    def __init__(self, features: Features) -> None:
        samples, rate = features.window_samples, features.sample_rate
        self._rate = rate
        self._shortest, self._longest = lag_range(features)
        self._fourier = RealFourier(samples)
        self._spectrum = np.zeros(features.bins, np.complex64)
        self._correlation = np.zeros(samples, np.float32)
        self._inverse_shape = (1 / window_shape(samples, self._longest + 2)).astype(np.float32)
        self._curve = np.zeros(self._longest + 2, np.float32)
        self._rising = np.zeros(self._longest + 2 - self._shortest, bool)
        self._peak = np.zeros(len(self._rising) - 1, bool)
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
        np.multiply(amplitude, amplitude, out=self._spectrum.real, casting="same_kind")
        self._fourier.inverse(self._spectrum, self._correlation)
        self.period_samples = 0.0
        if not 0 < (energy := float(self._correlation[0])) < math.inf:
            return
        curve = np.multiply(self._correlation[: self._longest + 2], self._inverse_shape, out=self._curve)
        lag = self._period(curve, VOICED * energy)
        if lag > 0:
            self._recent.append(A4_NOTE + 12 * math.log2(self._rate / lag / A4_HZ))
            self.midi_note = sorted(self._recent)[len(self._recent) // 2]  # allocates: five numbers
            self.period_samples = self._rate / hz_of(self.midi_note)

    def _period(self, curve: np.ndarray, voiced: float) -> float:  # audio thread
        """The period in samples, 0 if no peak is as high as `voiced`."""
        rising = np.greater(curve[self._shortest :], curve[self._shortest - 1 : -1], out=self._rising)
        peaks = np.greater(rising[:-1], rising[1:], out=self._peak).nonzero()[0]  # allocates: as many as there are
        if not len(peaks):
            return 0.0
        peaks += self._shortest
        heights = curve[peaks]
        highest = float(np.maximum.reduce(heights))
        if not highest >= voiced:
            return 0.0
        peak = int(peaks[(heights >= NEAR_HIGHEST * highest).argmax()])
        before, here, after = curve[peak - 1 : peak + 2].tolist()
        bend = before - 2 * here + after
        return peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def lag_range(features: Features) -> tuple[int, int]:
    """The shortest and the longest period that is looked for, samples."""
    rate = features.sample_rate
    shortest = max(2, math.floor(rate / hz_of(HIGHEST_NOTE)) - 1)
    return shortest, min(features.window_samples // 2 - 1, math.ceil(rate / hz_of(LOWEST_NOTE)) + 1)


def window_shape(window_samples: int, lags: int) -> np.ndarray:
    """(lags,): the window's own autocorrelation, 1 at lag 0, never near 0."""
    shape = np.fft.irfft(np.abs(np.fft.rfft(periodic_hann(window_samples))) ** 2, window_samples)
    return np.maximum(shape[:lags] / shape[0], LEAST_SHAPE)


def hz_of(midi_note: float) -> float:
    return A4_HZ * float(2 ** ((midi_note - A4_NOTE) / 12))
