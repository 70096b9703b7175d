"""The morph way out (DESIGN §6): the difference of two decoded spectra becomes a minimum-phase filter for the dry signal.

    G = (E − U) + β · (env(U) − D)      E, U : decoded as edited, as heard;  D : envelope of the dry frame

β grows from 0 at rest to 1 with the size of the edit, so that what the decoder missed is corrected only where it is to be replaced.

Both terms keep only quefrencies below the sound's own period: the harmonics are the sound's, the filter moves their levels and does
not reach between them, where the decoder's blurred valleys would lift the noise of high notes.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.convolver import fast_length

DB = 20 / math.log(10)  # one neper
FULL_EDIT_DB = 6.0  # RMS of E − U at which β is 1
LOWEST_DB, HIGHEST_DB = -60.0, 24.0  # of G
CORRECTION_PERIODS, CORRECTION_QUEFRENCIES = 0.5, (16, 60)  # the correction keeps quefrencies below half a period, within these
EDIT_PERIODS, EDIT_LOWEST = 0.75, 24  # the edit those below three quarters: odd and even harmonics may part (they do at a half)
LEVEL_LIMIT_DB = 18.0
LEVEL_SECONDS = 0.1  # longer averages lag behind decaying notes: a piano came out 1.8 dB too soft at 0.5 s, 0.6 dB at 0.1 s


class MorphGain:
    """The gain curve of each hop, on the model's frequency grid. Worked out on cepstra, where a lifter is a slice.

    Attributes
    ----------
    log_gain : (bins,), complex, natural log; its imaginary part is the minimum phase if `phased`
    phased : bool, False if the curve had to be clipped
    beta : float, 0 … 1
    level : float, linear, what the level keeper multiplies by
    """

    def __init__(self, features: Features) -> None:
        self._samples, self._cutoff = features.window_samples, features.cutoff_quefrency
        self._slowest = features.hop_seconds / LEVEL_SECONDS
        self._curves = np.zeros((2, features.bins), complex)  # E − U and U − dry frame
        self._cepstra = np.zeros((2, features.window_samples))
        self._correction = np.zeros(features.cutoff_quefrency)
        self._scaled = np.zeros(features.cutoff_quefrency)
        self._fold = causal_fold(features.window_samples)
        self._power, self._work = np.zeros(features.bins), np.empty(features.bins)
        self.log_gain = np.zeros(features.bins, complex)
        self.reset()

    def reset(self) -> None:
        self._correction[:] = 0.0
        self._power[:] = 0.0
        self._count = 0
        self.beta, self.level, self.phased = 0.0, 1.0, True

    def rest(self, amplitude: np.ndarray, sounding: bool) -> None:  # audio thread
        """Nothing is edited: what goes in comes out."""
        if sounding:
            self._follow(amplitude)
        self.beta, self.level = 0.0, 1.0

    def update(
        self, decoded: np.ndarray, log_amplitude: np.ndarray, amplitude: np.ndarray, sounding: bool, period_samples: float = 0.0
    ) -> None:  # audio thread
        """Make the gain of this hop.

        decoded : (2, bins), natural log; row 0 as heard, row 1 as edited
        log_amplitude, amplitude : (bins,), of the dry frame
        sounding : in silence the correction stays what it was, for the frame says nothing of the sound
        period_samples : the sound's period at the model's rate; 0 if it has none
        """
        edit, missed = self._curves.real
        np.subtract(decoded[1], decoded[0], out=edit)
        np.subtract(decoded[0], log_amplitude, out=missed)
        rms_db = DB * math.sqrt(float(np.dot(edit, edit)) / len(edit))
        self.beta = min(1.0, rms_db / FULL_EDIT_DB)
        np.fft.irfft(self._curves, self._samples, out=self._cepstra)
        if sounding:  # env(U) − D = env(U − frame): the lifter is linear
            lowest, highest = CORRECTION_QUEFRENCIES
            cut = min(self._cutoff, max(lowest, min(highest, int(CORRECTION_PERIODS * period_samples))) if period_samples else highest)
            self._correction[:cut] = self._cepstra[1, :cut]
            self._correction[cut:] = 0.0
        cepstrum = self._cepstra[0]
        if period_samples:
            cepstrum[max(EDIT_LOWEST, int(EDIT_PERIODS * period_samples)) :] = 0.0
        cepstrum[: self._cutoff] += np.multiply(self._correction, self.beta, out=self._scaled)
        cepstrum *= self._fold
        np.fft.rfft(cepstrum, out=self.log_gain)
        gain = self.log_gain.real
        self.phased = gain.min() >= LOWEST_DB / DB and gain.max() <= HIGHEST_DB / DB
        if not self.phased:
            np.clip(gain, LOWEST_DB / DB, HIGHEST_DB / DB, out=gain)
        self._keep_level(amplitude, sounding)

    def _keep_level(self, amplitude: np.ndarray, sounding: bool) -> None:  # audio thread
        """An edit changes timbre, not loudness: undo what the filter does to the energy of the recent spectrum.

        The spectrum's shape is averaged, the gain is not: so the level is right as soon as a knob has moved.
        """
        if sounding:
            self._follow(amplitude)
        dry = float(np.add.reduce(self._power))
        np.exp(self.log_gain.real, out=self._work)
        self._work *= self._work
        wet = float(np.dot(self._power, self._work))
        level_db = 10 * math.log10(dry / wet) if dry > 0 and wet > 0 else 0.0
        self.level = 10 ** (min(max(level_db, -LEVEL_LIMIT_DB), LEVEL_LIMIT_DB) / 20)

    def _follow(self, amplitude: np.ndarray) -> None:  # audio thread
        self._count += 1
        np.multiply(amplitude, amplitude, out=self._work)
        self._work /= float(np.add.reduce(self._work))
        self._work -= self._power
        self._work *= max(1 / self._count, self._slowest)
        self._power += self._work


class MinimumPhase:
    """Impulse responses of minimum phase from gain curves, by folding the cepstrum, for a device of any rate.

    The curve is read at the device's frequencies and held constant above the model's Nyquist frequency, so the sound itself is
    never resampled.

    taps : length of the response, half a window at the device's rate
    """

    def __init__(self, features: Features, device_rate: float) -> None:
        self._same_grid = device_rate == features.sample_rate
        samples = features.window_samples
        if not self._same_grid:
            samples = fast_length(math.ceil(features.window_samples * device_rate / features.sample_rate))
        self.taps, self._samples = samples // 2, samples
        bins = samples // 2 + 1
        self._position = np.arange(bins) * (device_rate / samples) / (features.sample_rate / features.window_samples)
        self._model_bins = np.arange(features.bins, dtype=float)
        self._spectrum = np.zeros(bins, complex)
        self._response = np.empty(samples)
        self._fold = causal_fold(samples)
        self._magnitude = np.empty(bins)
        self._phase = np.empty(bins, np.float32)
        self._part = np.empty(bins, np.float32)
        fade = max(1, self.taps // 8)
        self._end = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)

    def response(self, gain: MorphGain) -> np.ndarray:  # audio thread
        """Returns (taps,), a view overwritten by the next call."""
        spectrum, response = self._spectrum, self._response
        log_gain = gain.log_gain if self._same_grid and gain.phased else self._phased(gain.log_gain.real)
        np.exp(log_gain.real, out=self._magnitude)
        np.copyto(self._phase, log_gain.imag, casting="same_kind")  # to 1e-7 of a radian, far finer than any converter
        np.multiply(self._magnitude, np.cos(self._phase, out=self._part), out=spectrum.real)
        np.multiply(self._magnitude, np.sin(self._phase, out=self._part), out=spectrum.imag)
        np.fft.irfft(spectrum, self._samples, out=response)
        response[self.taps - len(self._end) : self.taps] *= self._end
        return response[: self.taps]

    def _phased(self, log_gain: np.ndarray) -> np.ndarray:  # audio thread
        """The curve on the device's grid, with its minimum phase."""
        spectrum, cepstrum = self._spectrum, self._response
        spectrum.real = log_gain if self._same_grid else np.interp(self._position, self._model_bins, log_gain)
        spectrum.imag = 0.0
        np.fft.irfft(spectrum, self._samples, out=cepstrum)
        cepstrum *= self._fold
        np.fft.rfft(cepstrum, out=spectrum)
        return spectrum


def causal_fold(samples: int) -> np.ndarray:
    """Weights that fold a real cepstrum onto positive quefrencies: the cepstrum of the minimum-phase signal."""
    fold = np.zeros(samples)
    fold[1 : samples // 2] = 2.0
    fold[[0, samples // 2]] = 1.0
    return fold
