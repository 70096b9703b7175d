"""Sound to spectra, one hop at a time: the same frames that `training/features.py` makes of whole sounds (tested).

Frame n holds the last `window_samples` samples up to and including hop n, zeros before the start. Its amplitude is
divided by a running level with a state of its own; silent frames leave that level as it is.

The spectrum itself is worked out in float64: in float32 the rounding of a loud partial would be heard by the logarithm
of the quiet bins around it. From the logarithm on, float32 is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.bundle import Features
from realtime.dsp.decibels import power_of
from realtime.dsp.fourier import RealFourier, periodic_hann
from realtime.dsp.history import History

# Energy of a frame below which it counts as zeros: its tiny numbers would only slow the processor down.
NOTHING = 1e-60


class Lifter:
    """Keeps the low quefrencies of a log-spectrum: its envelope."""

    def __init__(self, window_samples: int, cutoff: int) -> None:
        self._fourier = RealFourier(window_samples)
        self._high = slice(cutoff, window_samples - cutoff + 1)
        self._spectrum = np.zeros(window_samples // 2 + 1, np.complex64)  # its imaginary part stays zero
        self._smooth = np.zeros_like(self._spectrum)
        self._cepstrum = np.zeros(window_samples, np.float32)

    def smooth(self, log_spectrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """log_spectrum, out : (bins,), natural log; may be the same array."""
        self._spectrum.real = log_spectrum
        self._fourier.inverse(self._spectrum, self._cepstrum)
        self._cepstrum[self._high] = 0.0
        self._fourier.forward(self._cepstrum, self._smooth)
        np.copyto(out, self._smooth.real)


@dataclass(frozen=True)
class FrameScale:
    """What follows from how frames are made.

    window : (window_samples,), float64
    amplitude : by which the windowed spectrum is multiplied, so that a full-scale sine is 1
    silence_energy : of the windowed frame, from which on it sounds
    slowest : least share of a frame in the running level
    """

    window: np.ndarray
    amplitude: float
    silence_energy: float
    slowest: float


def frame_scale(features: Features) -> FrameScale:
    window = periodic_hann(features.window_samples)
    silence_energy = power_of(features.silence_dbfs) * float(window @ window)
    slowest = features.hop_samples / (features.sample_rate * features.level_seconds)
    return FrameScale(window, float(2 / window.sum()), silence_energy, slowest)


class FrameAnalyser:
    """The newest frame; its arrays are overwritten by every `push`.

    Attributes
    ----------
    amplitude : (bins,), float64, 1 = a full-scale sine
    log_amplitude, envelope, fine : (bins,), float32, natural log of the level-normalised amplitude, its smooth part,
        the rest
    sounding : bool, whether the frame reaches the silence threshold
    scale : what the transform's magnitudes are multiplied by to give `amplitude`
    """

    def __init__(self, features: Features) -> None:
        scale = frame_scale(features)
        self._window = scale.window * scale.amplitude
        self._threshold = scale.silence_energy * scale.amplitude**2
        self._slowest = scale.slowest
        self._floor = np.float32(features.log_floor)
        self._of_power = features.level == "power"
        self._history = History(1, features.window_samples - features.hop_samples, features.hop_samples)
        self._frame = np.zeros(features.window_samples)
        self._spectrum = np.zeros(features.bins, complex)
        self._fourier = RealFourier(features.window_samples, np.float64)
        self._lifter = Lifter(features.window_samples, features.cutoff_quefrency)
        self.amplitude = np.zeros(features.bins)
        self.log_amplitude, self.envelope, self.fine = (np.zeros(features.bins, np.float32) for _ in range(3))
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
            self._fourier.forward(self._frame, self._spectrum)
            np.abs(self._spectrum, out=self.amplitude)
        if self.sounding:
            self._count += 1
            mean = float(
                np.dot(self.amplitude, self.amplitude) if self._of_power else np.add.reduce(self.amplitude)
            ) / len(self.amplitude)
            self._level += max(1 / self._count, self._slowest) * (mean - self._level)
        self._split()

    def _split(self) -> None:  # audio thread
        log_amplitude = self.log_amplitude
        level = self.level
        np.multiply(self.amplitude, 1 / level if level else 0.0, out=log_amplitude, casting="same_kind")
        log_amplitude += self._floor
        np.log(log_amplitude, out=log_amplitude)
        self._lifter.smooth(log_amplitude, self.envelope)
        np.subtract(log_amplitude, self.envelope, out=self.fine)


class FrameDelay:
    """What the filter must know of the frame of `hops` hops ago.

    log_amplitude, amplitude : (bins,);  sounding : bool; as `FrameAnalyser` had them then, and as after its reset
        before the start
    """

    def __init__(self, frame: FrameAnalyser, hops: int) -> None:
        self._frame, self._hops = frame, hops
        self.log_amplitude, self.amplitude, self.sounding = frame.log_amplitude, frame.amplitude, False
        self._log_amplitudes, self._amplitudes = (
            np.empty((hops + 1, len(part)), part.dtype) for part in (frame.log_amplitude, frame.amplitude)
        )
        self._sounding = np.zeros(hops + 1, bool)
        self.reset()

    def reset(self) -> None:
        """After the analyser's own reset."""
        self._newest, self.sounding = 0, False
        self._log_amplitudes[:] = self._frame.log_amplitude
        self._amplitudes[:] = self._frame.amplitude
        self._sounding[:] = False
        if self._hops:
            self._point()

    def push(self) -> None:  # audio thread
        """Take what the analyser has now."""
        if not self._hops:  # its arrays are the very ones
            self.sounding = self._frame.sounding
            return
        self._newest = (self._newest + 1) % (self._hops + 1)
        np.copyto(self._log_amplitudes[self._newest], self._frame.log_amplitude)
        np.copyto(self._amplitudes[self._newest], self._frame.amplitude)
        self._sounding[self._newest] = self._frame.sounding
        self._point()

    def _point(self) -> None:  # audio thread
        oldest = (self._newest + 1) % (self._hops + 1)
        self.log_amplitude = self._log_amplitudes[oldest]
        self.amplitude = self._amplitudes[oldest]
        self.sounding = bool(self._sounding[oldest])
