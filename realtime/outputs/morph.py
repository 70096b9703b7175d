"""The morph output (docs/architecture.md): the difference of two decoded spectra filters the dry signal, minimum-phase.

    G = (E − U) + β · (env(U) − D)      E, U : decoded as edited, as heard;  D : envelope of the dry frame

β grows from 0 at rest to 1 with the size of the edit, so that what the decoder missed is corrected only where it is to
be replaced.

Both terms keep only quefrencies below the sound's own period: the harmonics are the sound's, the filter moves their
levels and does not reach between them, where the decoder's blurred valleys would lift the noise of high notes.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.dsp.convolver import Convolver
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.dsp.fourier import RealFourier, bin_weights, falling_cosine, fast_length
from realtime.outputs.base import Answer, DecodedHop

FULL_EDIT_DB = 6.0  # RMS of E − U at which β is 1
FULL_EDIT_LOG = FULL_EDIT_DB / DB_PER_NEPER
LOWEST_DB, HIGHEST_DB = -60.0, 24.0  # of G
LOWEST_LOG, HIGHEST_LOG = LOWEST_DB / DB_PER_NEPER, HIGHEST_DB / DB_PER_NEPER
LOWEST, HIGHEST = math.exp(LOWEST_LOG), math.exp(HIGHEST_LOG)
# the correction keeps quefrencies below half a period, within these
CORRECTION_PERIODS = 0.5
CORRECTION_QUEFRENCIES = (16, 60)
# the edit those below three quarters: odd and even harmonics may part (they do at a half)
EDIT_PERIODS = 0.75
EDIT_LOWEST = 24
LEVEL_LIMIT_DB = 18.0
LEVEL_LIMIT_LOG = LEVEL_LIMIT_DB / DB_PER_NEPER
# Longer averages lag behind decaying notes: a piano came out 1.8 dB too soft at 0.5 s, 0.6 dB at 0.1 s.
LEVEL_SECONDS = 0.1


class MorphGain:
    """The gain curve of each hop, on the model's frequency grid. Worked out on cepstra, where a lifter is a slice.

    Attributes
    ----------
    log_gain : (bins,), complex64, natural log; its imaginary part is the minimum phase if `phased`
    magnitude : (bins,), float32, linear
    phased : bool, False if the curve had to be clipped
    beta : float, 0 … 1
    level : float, linear, what the level keeper multiplies by
    """

    def __init__(self, features: Features) -> None:
        self._fourier = RealFourier(features.window_samples)
        self._slowest = level_rate(features)
        self._edit, self._loudness = np.zeros(features.bins, np.float32), np.zeros(features.bins, np.float32)
        # E − U and U − dry frame; their imaginary part stays zero.
        self._curves = np.zeros((2, features.bins), np.complex64)
        self._cepstra = np.zeros((2, features.window_samples), np.float32)
        self._causal = np.zeros(features.window_samples, np.float32)  # folded; its upper half stays zero
        self._fold = causal_fold(features.window_samples)[: features.bins].astype(np.float32)
        self._correction = np.zeros(corrected_quefrencies(features), np.float32)  # folded
        self._scaled = np.zeros_like(self._correction)
        self._power, self._work = np.zeros(features.bins), np.zeros(features.bins)
        self.log_gain, self.magnitude = np.zeros(features.bins, np.complex64), np.ones(features.bins, np.float32)
        self.reset()

    def reset(self) -> None:
        self._correction[:] = 0.0
        self._power[:] = 0.0
        self._count = 0
        self.beta, self.level, self.phased = 0.0, 1.0, True

    @property
    def heard(self) -> bool:
        """Whether anything has sounded."""
        return self._count > 0

    def rest(self, amplitude: np.ndarray, sounding: bool) -> None:  # audio thread
        """Nothing is edited: what goes in comes out."""
        if sounding:
            self._follow(amplitude)
        self.beta, self.level = 0.0, 1.0

    def update(
        self,
        decoded: np.ndarray,
        log_amplitude: np.ndarray,
        amplitude: np.ndarray,
        sounding: bool,
        period_samples: float = 0.0,
    ) -> None:  # audio thread
        """Make the gain of this hop.

        decoded : (2, bins), natural log; row 0 as heard, row 1 as edited
        log_amplitude, amplitude : (bins,), of the dry frame
        sounding : in silence the correction stays what it was, for the frame says nothing of the sound
        period_samples : the sound's period at the model's rate; 0 if it has none
        """
        edit = np.subtract(decoded[1], decoded[0], out=self._edit, casting="same_kind")
        self.beta = min(1.0, math.sqrt(float(np.dot(edit, edit)) / len(edit)) / FULL_EDIT_LOG)
        self._curves[0].real = edit
        np.subtract(decoded[0], log_amplitude, out=self._curves[1].real, casting="same_kind")
        self._fourier.inverse(self._curves, self._cepstra)
        if sounding:
            self._correct(period_samples)
        causal, bins = self._causal, len(edit)
        kept = min(bins, max(EDIT_LOWEST, int(EDIT_PERIODS * period_samples))) if period_samples else bins
        np.multiply(self._cepstra[0, :kept], self._fold[:kept], out=causal[:kept])
        causal[kept:bins] = 0.0
        causal[: len(self._correction)] += np.multiply(self._correction, self.beta, out=self._scaled)
        self._fourier.forward(causal, self.log_gain)
        self._bound()
        self._keep_level(amplitude, sounding)

    def _correct(self, period_samples: float) -> None:  # audio thread
        """env(U) − D = env(U − frame), for the lifter is linear."""
        lowest, highest = CORRECTION_QUEFRENCIES
        correction = self._correction
        cut = max(lowest, min(highest, int(CORRECTION_PERIODS * period_samples))) if period_samples else highest
        cut = min(cut, len(correction))
        np.multiply(self._cepstra[1, :cut], self._fold[:cut], out=correction[:cut])
        correction[cut:] = 0.0

    def _bound(self) -> None:  # audio thread
        """Clip the curve; its minimum phase is then not the one at hand."""
        gain, magnitude = self.log_gain.real, self.magnitude
        np.exp(gain, out=magnitude)
        self.phased = bool(np.minimum.reduce(magnitude) >= LOWEST and np.maximum.reduce(magnitude) <= HIGHEST)
        if not self.phased:
            np.clip(gain, LOWEST_LOG, HIGHEST_LOG, out=gain)
            np.exp(gain, out=magnitude)

    def _keep_level(self, amplitude: np.ndarray, sounding: bool) -> None:  # audio thread
        """An edit changes timbre, not loudness: undo what the filter does to the energy of the recent spectrum.

        The spectrum's shape is averaged, the gain is not: so the level is right as soon as a knob has moved.
        """
        if sounding:
            self._follow(amplitude)
        np.multiply(self.magnitude, self.magnitude, out=self._loudness)
        wet = float(np.dot(self._power, self._loudness))  # the dry sound's is 1: the shape adds up to it
        level = -0.5 * math.log(wet) if self._count and wet > 0 else 0.0
        self.level = math.exp(min(max(level, -LEVEL_LIMIT_LOG), LEVEL_LIMIT_LOG))

    def _follow(self, amplitude: np.ndarray) -> None:  # audio thread
        """The share that every bin has in the energy; all add up to 1."""
        total = float(np.dot(amplitude, amplitude))
        if not 0 < total < math.inf:
            return
        self._count += 1
        share = max(1 / self._count, self._slowest)
        np.multiply(amplitude, amplitude, out=self._work)
        self._work *= share / total
        self._power *= 1 - share
        self._power += self._work


class MinimumPhase:
    """Impulse responses of minimum phase from gain curves, by folding the cepstrum, for a device of any rate.

    The curve is read at the device's frequencies and held constant above the model's Nyquist frequency, so the sound
    itself is never resampled.

    taps : length of the response, half a window at the device's rate
    """

    def __init__(self, features: Features, device_rate: float) -> None:
        self._same_grid = device_rate == features.sample_rate
        samples = features.window_samples
        if not self._same_grid:
            samples = fast_length(math.ceil(features.window_samples * device_rate / features.sample_rate))
        self.taps = samples // 2
        bins = samples // 2 + 1
        self._position = np.arange(bins) * (device_rate / samples) / (features.sample_rate / features.window_samples)
        self._model_bins = np.arange(features.bins, dtype=float)
        self._fourier = RealFourier(samples)
        self._spectrum = np.zeros(bins, np.complex64)
        self._response = np.zeros(samples, np.float32)
        self._fold = causal_fold(samples).astype(np.float32)
        self._magnitude, self._phase, self._part = (np.zeros(bins, np.float32) for _ in range(3))
        self._end = end_fade(self.taps).astype(np.float32)

    def response(self, gain: MorphGain) -> np.ndarray:  # audio thread
        """Returns (taps,), float32, a view overwritten by the next call."""
        spectrum, part, response = self._spectrum, self._part, self._response
        if self._same_grid and gain.phased:
            magnitude, phase = gain.magnitude, gain.log_gain.imag
        else:
            self._phased(gain.log_gain.real)
            magnitude, phase = np.exp(spectrum.real, out=self._magnitude), self._phase
            np.copyto(phase, spectrum.imag)
        np.multiply(magnitude, np.cos(phase, out=part), out=spectrum.real)
        np.multiply(magnitude, np.sin(phase, out=part), out=spectrum.imag)
        self._fourier.inverse(spectrum, response)
        response[self.taps - len(self._end) : self.taps] *= self._end
        return response[: self.taps]

    def _phased(self, log_gain: np.ndarray) -> None:  # audio thread
        """The curve on the device's grid with its minimum phase, into the spectrum."""
        spectrum, cepstrum = self._spectrum, self._response
        if self._same_grid:
            spectrum.real = log_gain
        else:  # the only curve of a hop that is made anew, where the device has another rate
            spectrum.real = np.interp(self._position, self._model_bins, log_gain)  # allocates
        spectrum.imag = 0.0
        self._fourier.inverse(spectrum, cepstrum)
        cepstrum *= self._fold
        self._fourier.forward(cepstrum, spectrum)


class MorphPart:
    """What a hop tells the morph: the filter `response`, (taps,), if `filtered`; else the sound passes."""

    def __init__(self, taps: int) -> None:
        self.response, self.filtered = np.zeros(taps), False

    def clear(self) -> None:  # audio thread
        self.filtered = False


class Morph:
    """The way out: every channel of the dry sound through the filter. See `realtime.outputs.base.Output`.

    most : largest block, samples
    """

    name = "morph"
    latency_samples = 0

    def __init__(self, features: Features, channels: int, device_rate: float, fade_samples: int, most: int) -> None:
        self._gain = MorphGain(features)
        self._minimum_phase = MinimumPhase(features, device_rate)
        self._convolver = Convolver(channels, self._minimum_phase.taps, fade_samples, most)

    def new_part(self) -> MorphPart:
        return MorphPart(self._minimum_phase.taps)

    def reset_hop_side(self) -> None:
        self._gain.reset()

    def describe(self, hop: DecodedHop, part: MorphPart) -> None:  # audio thread
        nothing_yet = not (hop.sounding or self._gain.heard)  # what is decoded then says nothing of the sound
        part.filtered = not (hop.settled or hop.mix == 0.0 or nothing_yet)
        if not part.filtered:
            self.rest(hop)
            return
        gain = self._gain
        gain.update(hop.decoded, hop.log_amplitude, hop.amplitude, hop.sounding, hop.period_samples)
        np.multiply(self._minimum_phase.response(gain), gain.level * hop.mix * hop.gain, out=part.response)
        part.response[0] += (1 - hop.mix) * hop.gain

    def rest(self, hop: DecodedHop) -> None:  # audio thread
        self._gain.rest(hop.amplitude, hop.sounding)

    def reset(self) -> None:
        self._convolver.reset()

    def warm_up(self, part: MorphPart) -> None:
        self._convolver.change(part.response)

    def begin(self, mix: float, gain: float) -> None:
        """The filter fades in from the plain sound."""

    def wake(self, answer: Answer, part: MorphPart) -> None:  # audio thread
        """It never sleeps."""

    def change(self, answer: Answer, part: MorphPart) -> None:  # audio thread
        self._convolver.change(part.response if part.filtered else None, answer.gain)

    def process(self, dry: np.ndarray, mono: np.ndarray, heard: bool) -> np.ndarray:  # audio thread
        return self._convolver.process(dry)


def causal_fold(samples: int) -> np.ndarray:
    """Weights that fold a real cepstrum onto positive quefrencies: the cepstrum of the minimum-phase signal."""
    fold = np.zeros(samples)
    fold[: samples // 2 + 1] = bin_weights(samples)
    return fold


def corrected_quefrencies(features: Features) -> int:
    """How many of the envelope's quefrencies the correction may keep."""
    return min(features.cutoff_quefrency, CORRECTION_QUEFRENCIES[1])


def level_rate(features: Features) -> float:
    """Least share of a frame in the recent spectrum."""
    return features.hop_seconds / LEVEL_SECONDS


def end_fade(taps: int) -> np.ndarray:
    """What the last taps of a response are multiplied by, so that it ends in nothing."""
    return falling_cosine(max(1, taps // 8))
