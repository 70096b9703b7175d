"""Sound to spectra, one hop at a time: the frames `training/features.py` makes of whole sounds. A test holds the two together.

Frame n holds the last `window_samples` samples up to and including hop n, zeros before the start. Its amplitude is divided by a
running level with a state of its own; silent frames leave that level as it is.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.history import History


def periodic_hann(samples: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


class Lifter:
    """Keeps the low quefrencies of a log-spectrum: its envelope."""

    def __init__(self, window_samples: int, cutoff: int) -> None:
        self._samples = window_samples
        self._high = slice(cutoff, window_samples - cutoff + 1)
        self._spectrum = np.zeros(window_samples // 2 + 1, complex)  # its imaginary part stays zero
        self._smooth = np.empty_like(self._spectrum)
        self._cepstrum = np.empty(window_samples)

    def smooth(self, log_spectrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """log_spectrum, out : (bins,), natural log; may be the same array."""
        self._spectrum.real = log_spectrum
        np.fft.irfft(self._spectrum, self._samples, out=self._cepstrum)
        self._cepstrum[self._high] = 0.0
        np.fft.rfft(self._cepstrum, out=self._smooth)
        np.copyto(out, self._smooth.real)


class FrameAnalyser:
    """The newest frame; its arrays are overwritten by every `push`.

    Attributes
    ----------
    amplitude : (bins,), 1 = a full-scale sine
    log_amplitude, envelope, fine : (bins,), natural log of the level-normalised amplitude, its smooth part, the rest
    sounding : bool, whether the frame reaches the silence threshold
    """

    def __init__(self, features: Features) -> None:
        window = periodic_hann(features.window_samples)
        self._hop = features.hop_samples
        self._window = window
        self._scale = 2 / window.sum()
        self._threshold = 10 ** (features.silence_dbfs / 10) * float(window @ window)
        self._slowest = features.hop_samples / (features.sample_rate * features.level_seconds)
        self._floor = features.log_floor
        self._of_power = features.level == "power"
        self._history = History(1, features.window_samples - features.hop_samples, features.hop_samples)
        self._frame = np.empty(features.window_samples)
        self._spectrum = np.empty(features.bins, complex)
        self._lifter = Lifter(features.window_samples, features.cutoff_quefrency)
        self.amplitude = np.empty(features.bins)
        self.log_amplitude = np.empty(features.bins)
        self.envelope = np.empty(features.bins)
        self.fine = np.empty(features.bins)
        self.reset()

    def reset(self) -> None:
        self._history.reset()
        self._level, self._count = 0.0, 0
        self.sounding = False
        self.amplitude[:] = 0.0
        self._split()

    def push(self, hop: np.ndarray) -> None:  # audio thread
        """hop : (1, hop_samples), float64, finite."""
        np.multiply(self._history.append(hop)[0], self._window, out=self._frame)
        self.sounding = float(np.dot(self._frame, self._frame)) >= self._threshold
        np.fft.rfft(self._frame, out=self._spectrum)
        np.abs(self._spectrum, out=self.amplitude)
        self.amplitude *= self._scale
        if self.sounding:
            self._count += 1
            mean = float(np.dot(self.amplitude, self.amplitude) if self._of_power else np.add.reduce(self.amplitude)) / len(self.amplitude)
            self._level += max(1 / self._count, self._slowest) * (mean - self._level)
        self._split()

    def _split(self) -> None:  # audio thread
        level = math.sqrt(self._level) if self._of_power else self._level
        np.multiply(self.amplitude, 1 / level if self._count else 0.0, out=self.log_amplitude)
        self.log_amplitude += self._floor
        np.log(self.log_amplitude, out=self.log_amplitude)
        self._lifter.smooth(self.log_amplitude, self.envelope)
        np.subtract(self.log_amplitude, self.envelope, out=self.fine)
