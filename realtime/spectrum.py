"""Sound to spectra, one hop at a time: the frames `training/features.py` makes of whole sounds. A test holds the two together.

Frame n holds the last `window_samples` samples up to and including hop n, zeros before the start. Its amplitude is divided by a
running level with a state of its own; silent frames leave that level as it is.

The spectrum itself is worked out in float64: in float32 the rounding of a loud partial would be heard by the logarithm of the quiet
bins around it. From the logarithm on, float32 is enough.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from realtime.bundle import Features
from realtime.history import History

LARGEST_MATRIX = 1 << 18  # elements of the cosines; beyond it, FFTs are cheaper than reading them
NOTHING = 1e-60  # energy of a frame below which it counts as zeros, for its tiny numbers would only slow the processor down


def periodic_hann(samples: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


class LowCepstrum:
    """The first quefrencies of log-spectra, and back: one matrix of cosines if it is small, else FFTs.

    cutoff : how many quefrencies
    """

    def __init__(self, window_samples: int, cutoff: int) -> None:
        self._samples, self._cutoff = window_samples, cutoff
        bins = window_samples // 2 + 1
        self._small = cutoff * bins <= LARGEST_MATRIX
        if self._small:
            self._cosines = _cosines(window_samples, cutoff)
        else:
            self._spectrum = np.zeros(bins, np.complex64)  # its imaginary part stays zero
            self._smooth = np.empty(bins, np.complex64)
            self._cepstrum = np.zeros(window_samples, np.float32)
        self._weight = np.full(cutoff, 2, np.float32)  # every quefrency stands for its negative, too, but for these
        self._weight[0] = 1
        if cutoff > window_samples // 2:
            self._weight[window_samples // 2] = 1
        self._weighted = np.empty(cutoff, np.float32)

    def of(self, log_spectrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """log_spectrum : (bins,), float32, written to, but left as it was;  out : (≤ cutoff,), float32, its first quefrencies."""
        if not self._small:
            self._spectrum.real = log_spectrum
            np.fft.irfft(self._spectrum, self._samples, out=self._cepstrum)
            np.copyto(out, self._cepstrum[: len(out)])
            return
        first, last = log_spectrum[0], log_spectrum[-1]
        log_spectrum[0], log_spectrum[-1] = 0.5 * first, 0.5 * last  # all others stand for their negative frequencies, too
        np.dot(self._cosines[: len(out)], log_spectrum, out=out)
        log_spectrum[0], log_spectrum[-1] = first, last
        out *= 2 / self._samples

    def smooth(self, cepstrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """cepstrum : (cutoff,), float32, all others are zero;  out : (bins,), float32, the log-spectrum."""
        if self._small:
            np.multiply(cepstrum, self._weight, out=self._weighted)
            np.dot(self._weighted, self._cosines, out=out)
            return
        self._cepstrum[:] = 0
        self._cepstrum[: self._cutoff] = cepstrum
        self._cepstrum[self._samples - self._cutoff + 1 :] = cepstrum[:0:-1]
        np.fft.rfft(self._cepstrum, out=self._smooth)
        np.copyto(out, self._smooth.real)


@lru_cache(maxsize=4)
def _cosines(window_samples: int, cutoff: int) -> np.ndarray:
    """(cutoff, bins), float32; one for all that need it, so that it stays in the processor's cache."""
    places = np.outer(np.arange(cutoff), np.arange(window_samples // 2 + 1)) % window_samples
    return np.cos(2 * np.pi * np.arange(window_samples) / window_samples).astype(np.float32)[places]


class FrameAnalyser:
    """The newest frame; its arrays are overwritten by every `push`.

    Attributes
    ----------
    amplitude : (bins,), float64, 1 = a full-scale sine
    log_amplitude, envelope, fine : (bins,), float32, natural log of the level-normalised amplitude, its smooth part, the rest
    sounding : bool, whether the frame reaches the silence threshold
    """

    def __init__(self, features: Features) -> None:
        window = periodic_hann(features.window_samples)
        self._scale = 2 / window.sum()
        self._window = window * self._scale
        self._threshold = 10 ** (features.silence_dbfs / 10) * float(window @ window) * self._scale**2
        self._slowest = features.hop_samples / (features.sample_rate * features.level_seconds)
        self._floor = np.float32(features.log_floor)
        self._of_power = features.level == "power"
        self._history = History(1, features.window_samples - features.hop_samples, features.hop_samples)
        self._frame = np.empty(features.window_samples)
        self._spectrum = np.empty(features.bins, complex)
        self._low = LowCepstrum(features.window_samples, features.cutoff_quefrency)
        self._cepstrum = np.empty(features.cutoff_quefrency, np.float32)
        self.amplitude = np.empty(features.bins)
        self.log_amplitude, self.envelope, self.fine = (np.empty(features.bins, np.float32) for _ in range(3))
        self.reset()

    def reset(self) -> None:
        self._history.reset()
        self._level, self._count = 0.0, 0
        self.sounding = False
        self.amplitude[:] = 0.0
        self._split()

    @property
    def level(self) -> float:
        """The running level, linear: mean amplitude, or root of the mean power; 0 before any sound."""
        return math.sqrt(self._level) if self._of_power else self._level

    @property
    def level_state(self) -> tuple[float, float]:
        """What `restore` takes: the running mean as it is kept, and of how many frames."""
        return self._level, float(self._count)

    def restore(self, level: float, count: float) -> None:
        """Go on from another analyser's `level_state`; figures that cannot be one are taken as a fresh start."""
        known = math.isfinite(level) and math.isfinite(count) and level > 0 and count >= 1
        self._level, self._count = (float(level), int(count)) if known else (0.0, 0)
        self._split()

    def push(self, hop: np.ndarray) -> None:  # audio thread
        """hop : (1, hop_samples), float64, finite."""
        np.multiply(self._history.append(hop)[0], self._window, out=self._frame)
        energy = float(np.dot(self._frame, self._frame))
        self.sounding = energy >= self._threshold
        if energy < NOTHING:
            self.amplitude[:] = 0.0
        else:
            np.fft.rfft(self._frame, out=self._spectrum)
            np.abs(self._spectrum, out=self.amplitude)
        if self.sounding:
            self._count += 1
            mean = float(np.dot(self.amplitude, self.amplitude) if self._of_power else np.add.reduce(self.amplitude)) / len(self.amplitude)
            self._level += max(1 / self._count, self._slowest) * (mean - self._level)
        self._split()

    def _split(self) -> None:  # audio thread
        log_amplitude = self.log_amplitude
        level = self.level
        np.multiply(self.amplitude, 1 / level if level else 0.0, out=log_amplitude, casting="same_kind")
        log_amplitude += self._floor
        np.log(log_amplitude, out=log_amplitude)
        self._low.of(log_amplitude, self._cepstrum)
        self._low.smooth(self._cepstrum, self.envelope)
        np.subtract(log_amplitude, self.envelope, out=self.fine)
