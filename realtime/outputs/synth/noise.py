"""Noise with a spectrum that changes from hop to hop: frames of two hops, crossfaded with constant power."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.dsp.fourier import RealFourier, fast_length

SEED = 20261127


class FilteredNoise:
    """Each hop begins a frame; it fades in over a hop and out over the next.

    Nothing is late: the first sample already has the hop's spectrum.

    glide_samples : of a fade;  most : samples that a hop may last

    Attributes
    ----------
    hz : (bands,), frequencies that the spectrum is given at
    """

    def __init__(self, features: Features, device_rate: float, glide_samples: int, most: int) -> None:
        self._most, length = most, fast_length(2 * max(glide_samples, most))
        self._fourier = RealFourier(length, np.float64)
        self.hz = np.arange(length // 2 + 1) * device_rate / length
        # A Hann frame of the model has 3 times the noise's one-sided density per Hz and bin width.
        density = 1 / (3 * features.sample_rate / features.window_samples)
        self._scale = 0.5 * length * math.sqrt(density * device_rate / length)
        self._spectrum = np.zeros(length // 2 + 1, complex)
        self._drawn = np.zeros(2 * len(self._spectrum))
        fade = np.sin(0.5 * math.pi * (np.arange(glide_samples) + 0.5) / glide_samples)
        self._window = np.zeros(length)
        self._window[:glide_samples] = fade
        self._window[glide_samples : 2 * glide_samples] = fade[::-1]
        self._frame, self._next, self._out = np.zeros(length), np.zeros(length), np.zeros(most)
        self.reset()

    def reset(self) -> None:
        self._random = np.random.default_rng(SEED)
        self._frame[:] = 0.0

    def render(self, passed: int, amplitude: np.ndarray) -> np.ndarray:  # audio thread
        """The hop from here on, (most,), a view overwritten by the next call.

        passed : samples of the frame before that have been played
        amplitude : (bands,), root mean square in a bin of the model
        """
        out, frame = self._out, self._frame
        tail = frame[passed : passed + self._most]
        out[: len(tail)] = tail
        out[len(tail) :] = 0.0
        if not amplitude.any():
            frame[:] = 0.0
            return out
        drawn = self._random.standard_normal(out=self._drawn)
        spectrum = self._spectrum
        spectrum.real, spectrum.imag = drawn[: len(spectrum)], drawn[len(spectrum) :]
        spectrum *= amplitude
        spectrum *= self._scale
        spectrum[0] = 0.0
        self._fourier.inverse(spectrum, frame)
        frame *= self._window
        out += frame[: self._most]
        return out
