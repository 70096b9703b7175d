"""The pitch of a voice, causal and to a few cents: f0 and how sure it is, once per hop.

Normalised cross-correlation (Talkin 1995, RAPT) of the newest samples with those a lag earlier, averaged over two
lengths: the short one is quick, the long one sure. The first peak close to the highest one is the period (McLeod and
Wyvill 2005), interpolated by a parabola. Nothing of the future is needed, and nothing older than 50 ms is used.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.dsp.fourier import RealFourier, fast_length
from realtime.dsp.history import History

LOWEST_HZ, HIGHEST_HZ = 40.0, 2200.0
SHORT_SECONDS = 512 / 44100  # of the newest samples that are compared; the long ones are twice as many
NEAR_HIGHEST = 0.95
REFINED_SECONDS = 0.004  # short periods are measured over as many of them as fit, which is more exact
VOICED = 0.5  # correlation from which there is a pitch
SURE = 0.8  # from which a jump is believed at once; else the next hop must say the same
PENDING = 0.4  # share of the confidence while a jump waits to be believed: what is held is not what is heard
HOPS_FOR_LOWER = 3
NEAR_SEMITONES = 1.0  # what is further away is a jump
QUIET = 1e-10  # mean square below which nothing is heard: −100 dBFS
SLOPE_SECONDS = 0.0116  # over which the movement of the pitch is taken
AGE_SECONDS = 0.0087  # of the pitch that is measured, and half of what was compared with
MOST_SPEEDING = 2.0  # of the movement from one half of that to the other, by which the pitch is carried on
MOST_OCTAVES = 0.05  # that a pitch is carried on by
FADED = 1e-4  # share of the long stretch's energy that its newest half has at least, or the sound is over
QUIETER = 1e-3  # share of the newest energy below which earlier sound counts as none
SMALLEST = 1e-20
LEAST_ALONE_SAMPLES = 24.0  # of a period whose sixth can still be looked up
ALONE_SHARE = 0.02  # of the energy, in the partials that two voices would lack; single voices of instruments have more
ALONE_FOR_LOWER = 0.95
TOGETHER = 0.1  # below it these are surely two voices


class F0Tracker:
    """One voice's pitch.

    Parameters
    ----------
    sample_rate : Hz
    hop_samples : of every `push`

    Attributes
    ----------
    f0_hz : Hz, of the last frame that had a pitch, 0 before the first; of some milliseconds ago, as it was measured
    now_hz : Hz, the same carried on to this moment as it moved of late: less exact on steady notes, in time on glides
    confidence : 0 … 1, of the newest frame; what is not one voice lowers it
    voiced : whether the newest frame has a pitch
    """

    def __init__(self, sample_rate: float, hop_samples: int) -> None:
        self._rate = sample_rate
        self._short = round(SHORT_SECONDS * sample_rate)
        self._shortest, self._longest = int(sample_rate / HIGHEST_HZ), int(sample_rate / LOWEST_HZ) + 2
        lags = self._longest + 2
        self._refined = REFINED_SECONDS * sample_rate
        steps = max(1, round(SLOPE_SECONDS * sample_rate / hop_samples))
        self._octaves = np.zeros(2 * max(1, steps // 2) + 1)  # log2 of the last pitches
        self._half_samples = hop_samples * (len(self._octaves) // 2)
        self._size = max(2 * self._short + lags, hop_samples)
        self._history = History(1, self._size - hop_samples, hop_samples)
        length = fast_length(self._size)
        self._fourier = RealFourier(length)
        self._signals = np.zeros((3, length), np.float32)  # the newest, short and long, and everything
        self._spectra = np.zeros((3, length // 2 + 1), np.complex64)
        self._products = np.zeros((2, length), np.float32)
        self._energy = np.zeros(self._size + 1)  # of all samples before each
        self._curve, self._part, self._norm, self._cosine = (np.zeros(lags) for _ in range(4))
        self._ramp = np.arange(float(lags))
        self._rising = np.zeros(lags - 1, bool)
        self._peak = np.zeros(lags - 2, bool)
        self.reset()

    def reset(self) -> None:
        self._history.reset()
        self.f0_hz = self.now_hz = self.confidence = 0.0
        self._moving = 0  # voiced hops since the last jump or pause
        self._octaves[:] = 0.0
        self.voiced = False
        self._candidate, self._said = 0.0, 0  # Hz, a jump that the next hops may confirm, and how many said it

    def push(self, hop: np.ndarray) -> None:  # audio thread
        """hop : (1, hop_samples), float64, finite."""
        samples = self._history.append(hop)[0]
        self.voiced, self.confidence = False, 0.0
        energy, size = self._energy, self._size
        np.multiply(samples, samples, out=energy[1:])
        np.add.accumulate(energy, out=energy)
        newest = energy[size] - energy[size - 2 * self._short]
        if not QUIET * 2 * self._short < newest < math.inf:
            return
        recent = energy[size] - energy[size - self._short]
        if recent < FADED * newest:
            return
        self._correlate(samples, 0.5 * min(1.0, 4 * (newest - recent) / newest))
        lag, height = self._period()
        if lag > 0:
            before = self.f0_hz
            self._decide(self._rate / lag, min(height, 1.0), self._alone(lag, height))
            periods = max(1, int(self._refined / lag))
            self._carry_on(before, AGE_SECONDS * self._rate + 0.5 * periods * lag)

    def _correlate(self, samples: np.ndarray, share: float) -> None:  # audio thread
        """Into `_curve`: the mean of both lengths.

        share : of the long one, a half; less of a sound that has only just begun
        """
        signals, spectra, size, short = self._signals, self._spectra, self._size, self._short
        signals[0, size - short : size] = samples[size - short :]
        signals[1, size - 2 * short : size] = samples[size - 2 * short :]
        signals[2, :size] = samples
        self._fourier.forward(signals, spectra)
        np.conjugate(spectra[2], out=spectra[2])
        spectra[:2] *= spectra[2]
        self._fourier.inverse(spectra[:2], self._products)
        self._normalise(0, short, self._curve)
        self._curve *= 1 - share
        self._normalise(1, 2 * short, self._part)
        self._part *= share
        self._curve += self._part

    def _normalise(self, row: int, window: int, out: np.ndarray) -> None:  # audio thread
        """Correlation at lag 0, 1, … in units of the energies compared."""
        energy, size, lags, norm = self._energy, self._size, len(out), self._norm
        end, start = size - lags, size - window - lags
        np.subtract(energy[size:end:-1], energy[size - window : start if start >= 0 else None : -1], out=norm)
        least = max(QUIETER * float(norm[0]), SMALLEST)  # what is fainter is rounding errors of the transform
        np.maximum(norm, least, out=norm)
        norm *= float(norm[0])
        np.sqrt(norm, out=norm)
        np.divide(self._products[row, :lags], norm, out=out)

    def _period(self) -> tuple[float, float]:  # audio thread
        """Lag in samples and height of the peak, 0 if there is none."""
        curve = self._curve
        first = int((curve < 0).argmax())  # allocates: one bit a lag
        lowest = max(first, self._shortest)
        if not curve[first] < 0:
            return 0.0, 0.0
        rising = np.greater(curve[1:], curve[:-1], out=self._rising)
        peaks = np.greater(rising[:-1], rising[1:], out=self._peak)[lowest - 1 :].nonzero()[0]  # allocates: few
        if not len(peaks):
            return 0.0, 0.0
        peaks += lowest
        heights, before, after = curve[peaks], curve[peaks - 1], curve[peaks + 1]
        heights += 0.125 * np.square(after - before) / np.maximum(2 * heights - before - after, 1e-9)
        highest = float(np.maximum.reduce(heights))
        if highest <= 0:
            return 0.0, 0.0
        peak = int(peaks[(heights >= NEAR_HIGHEST * highest).argmax()])
        lag, height = self._interpolated(peak)
        periods = int(self._refined / lag)
        if periods > 1:
            near = round(periods * lag)
            later = near - 1 + int(curve[near - 1 : near + 2].argmax())
            if curve[later] > max(curve[later - 1], curve[later + 1]):
                lag = self._interpolated(later)[0] / periods
        return lag, height

    def _interpolated(self, peak: int) -> tuple[float, float]:  # audio thread
        """Lag and height of the parabola through a peak and its neighbours."""
        before, here, after = self._curve[peak - 1 : peak + 2].tolist()
        bend = before - 2 * here + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
        return peak + shift, here - 0.25 * (before - after) * shift

    def _alone(self, lag: float, height: float) -> float:  # audio thread
        """0 … 1, whether this is one voice and not two whose common period this is.

        Two voices at 2 and 3 (or 3 and 4) times f0, a fifth or a fourth, have no partials whose numbers neither 2 nor 3
        divides. The share of those in the energy follows from the correlation at a half, a third and a sixth of the
        period. Thirds and sixths (4 and 5, 5 and 6, 3 and 5, 5 and 8) have no partials 1 and 2 and not both of 3 and 4.
        Their shares are in the correlation's Fourier series over a period.
        """
        low = max(0.0, self._low_share(lag) / ALONE_SHARE)
        if lag < LEAST_ALONE_SAMPLES:
            return min(1.0, low)
        half, third, sixth = (self._at(lag / part) / height for part in (2, 3, 6))
        share = (sixth - (1 + 2 * third) / 3 + (1 - half) + (1 - third) / 3) / 3
        return min(1.0, low, max(0.0, share / ALONE_SHARE))

    def _low_share(self, lag: float) -> float:  # audio thread
        """Of the energy, in the first two partials of this period, and in whichever of the next two is weaker."""
        samples = int(lag)
        curve, cosine, part = self._curve[:samples], self._cosine[:samples], self._part[:samples]
        np.multiply(self._ramp[:samples], 2 * math.pi / lag, out=cosine)
        np.cos(cosine, out=cosine)
        whole, end = float(np.add.reduce(curve)), 0.5 * float(curve[0])  # the ends of the period count half
        np.multiply(curve, cosine, out=part)
        one = float(np.add.reduce(part))
        part *= cosine
        two = float(np.add.reduce(part))  # so many powers of the cosine; partials by Chebyshev's polynomials
        part *= cosine
        three, four = float(np.add.reduce(part)), float(np.dot(part, cosine))
        weaker = min(4 * three - 3 * one, 8 * four - 8 * two + whole) - end
        return 2 * (one + 2 * two - whole - 2 * end + max(0.0, weaker)) / lag

    def _at(self, lag: float) -> float:  # audio thread
        below = int(lag)
        low, high = float(self._curve[below]), float(self._curve[below + 1])
        return low + (lag - below) * (high - low)

    def _decide(self, f0_hz: float, height: float, alone: float) -> None:  # audio thread
        """Take the new pitch if it is near the last one, sure, or said twice; of two voices only what is near."""
        sure = self.confidence = height * alone
        near = self.f0_hz > 0 and _semitones(f0_hz, self.f0_hz) < NEAR_SEMITONES
        if height < VOICED or (alone < TOGETHER and not near):
            self._said = 0
            return
        if not near:
            again = self._said > 0 and _semitones(f0_hz, self._candidate) < NEAR_SEMITONES
            self._candidate, self._said = f0_hz, self._said + 1 if again else 1
            if self._said < self._needed(f0_hz, height, alone):
                self.confidence = PENDING * sure
                return
        self._said = 0
        self.f0_hz, self.voiced = f0_hz, True

    def _carry_on(self, before_hz: float, age: float) -> None:  # audio thread
        """before_hz : the pitch until now;  age : of the newest, samples"""
        if not self.voiced:
            self._moving = 0
            return
        near = before_hz > 0 and _semitones(self.f0_hz, before_hz) < NEAR_SEMITONES
        self._moving = self._moving + 1 if near else 0
        octaves = self._octaves
        octaves[:-1] = octaves[1:]
        octaves[-1] = math.log2(self.f0_hz)
        slope = 0.0
        if self._moving >= len(octaves) - 1:
            middle = len(octaves) // 2
            late, early = float(octaves[-1] - octaves[middle]), float(octaves[middle] - octaves[0])
            if late * early > 0:  # else it does not move but trembles
                slope = math.copysign(min(abs(late), MOST_SPEEDING * abs(early)), late) / self._half_samples
        self.now_hz = self.f0_hz * 2.0 ** min(MOST_OCTAVES, max(-MOST_OCTAVES, age * slope))

    def _needed(self, f0_hz: float, height: float, alone: float) -> float:  # audio thread
        """How many hops in a row must say so before a jump is believed. What looks like a note a whole number of times
        lower may be a second voice that has just begun.
        """
        ratio = self.f0_hz / f0_hz
        if ratio > 1.5 and _semitones(ratio, round(ratio)) < NEAR_SEMITONES / 2:
            return HOPS_FOR_LOWER if alone > ALONE_FOR_LOWER else math.inf
        return 1 if height >= SURE else 2


def _semitones(a_hz: float, b_hz: float) -> float:
    return abs(12 * math.log2(a_hz / b_hz))
