"""From what the decoder draws to amplitudes of partials and of noise, at any frequencies."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features, Harmonic

GRID = 2048  # points of the warped frequency axis that envelopes are looked up on
LOBE_POWER = 1.5  # of a Hann window's main lobe, summed over bins
NOISE_LOG = 0.5 * 0.57721566  # the mean of log |noise| lies γ/2 below the log of its root mean square
SMALLEST_POWER = 1e-12
HIGHEST_SHARE = 0.98  # of half the sample rate, for partials
LOWEST_PARTIAL_HZ = 20.0


def a_weighting(frequency: np.ndarray) -> np.ndarray:
    """Linear gain at frequencies in Hz, 1 at 1 kHz (IEC 61672)."""
    f = np.square(frequency)
    gain = 12194.0**2 * np.square(f)
    gain /= (f + 20.6**2) * np.sqrt((f + 107.7**2) * (f + 737.9**2)) * (f + 12194.0**2)
    return gain * 1.2589


class Spectra:
    """Amplitudes of one row at a time.

    most : partials at most
    device_rate : Hz; partials beyond it, or beyond the model's own Nyquist frequency, are silent
    noise_hz : (bands,), frequencies that `noise` is wanted at

    Attributes
    ----------
    amplitude : (most,), of the partials, linear, 1 = full scale;  stretch : (most,), f_h / f0
    noise : (bands,), amplitude in a bin of the model, root mean square
    """

    def __init__(
        self, features: Features, facts: Harmonic, device_rate: float, most: int, noise_hz: np.ndarray
    ) -> None:
        nyquist = features.sample_rate / 2
        self._highest = HIGHEST_SHARE * min(nyquist, device_rate / 2)
        self._warp, self._top = facts.warp_hz, math.log1p(nyquist / facts.warp_hz)
        place = np.arange(GRID) / (GRID - 1)
        grid_hz = facts.warp_hz * np.expm1(place * self._top)
        self._cosines = np.cos(math.pi * np.outer(np.arange(facts.envelope_cosines), place))
        self._weight = a_weighting(grid_hz)
        bins_hz = np.linspace(0, nyquist, features.bins)
        self._noise_log, self._most_log = facts.noise_log + NOISE_LOG, facts.most_log
        self._bins = self._noise_cosines(bins_hz, facts.noise_cosines)
        self._bins_weight = np.square(a_weighting(bins_hz))
        self._bands = self._noise_cosines(np.minimum(noise_hz, nyquist), facts.noise_cosines)
        self._beyond = noise_hz > nyquist
        self._order, self._offsets = np.arange(1.0, most + 1), min(facts.offsets, most)
        self._curve, self._bin_power = np.zeros(GRID), np.zeros(features.bins)
        self._place, self._work, self._gain = (np.zeros(most) for _ in range(3))
        self._below, self._silent = np.zeros(most, int), np.zeros(most, bool)
        self.amplitude, self.stretch, self.noise = np.zeros(most), np.zeros(most), np.zeros(len(noise_hz))

    def _noise_cosines(self, frequency: np.ndarray, count: int) -> np.ndarray:
        place = np.log1p(frequency / self._warp) / self._top
        return np.cos(math.pi * np.outer(np.arange(count), place))

    def partials_of(self, f0_hz: float) -> int:  # audio thread
        """How many partials there are at most below the highest frequency."""
        return min(len(self._order), max(1, int(self._highest / max(f0_hz, LOWEST_PARTIAL_HZ))))

    def draw(
        self,
        f0_hz: float,
        level: float,
        voicing: float,
        envelope: np.ndarray,
        offsets: np.ndarray,
        noise: np.ndarray,
        inharmonicity: float,
    ) -> int:  # audio thread
        """Into `amplitude`, `stretch` and `noise`; both together have the A-weighted level asked for. Returns how many
        partials there are.
        """
        count = self.partials_of(f0_hz)
        order, stretch, amplitude = self._order[:count], self.stretch[:count], self.amplitude[:count]
        np.multiply(order, order, out=stretch)
        stretch *= inharmonicity
        stretch += 1.0
        np.sqrt(stretch, out=stretch)
        stretch *= order
        weight = self._look_up(f0_hz, envelope, count)
        own = min(count, self._offsets)
        amplitude[:own] += offsets[:own]
        np.minimum(amplitude, self._most_log, out=amplitude)
        np.exp(amplitude, out=amplitude)
        amplitude *= voicing
        np.multiply(stretch, f0_hz, out=self._work[:count])
        np.greater(self._work[:count], self._highest, out=self._silent[:count])
        np.copyto(amplitude, 0.0, where=self._silent[:count])
        weight *= amplitude
        power = LOBE_POWER * float(np.dot(weight, weight)) + self._draw_noise(noise)
        scale = level / math.sqrt(max(power, SMALLEST_POWER))
        amplitude *= scale
        self.noise *= scale
        return count

    def _look_up(self, f0_hz: float, envelope: np.ndarray, count: int) -> np.ndarray:  # audio thread
        """The envelope at the partials into `amplitude`, natural log.  Returns the A-weighting there, a view."""
        curve = np.matmul(envelope, self._cosines, out=self._curve)
        place, below, share = self._place[:count], self._below[:count], self._work[:count]
        np.multiply(self.stretch[:count], f0_hz / self._warp, out=place)
        np.log1p(place, out=place)
        place *= (GRID - 1) / self._top
        np.minimum(place, GRID - 1.001, out=place)
        np.copyto(below, place, casting="unsafe")
        np.subtract(place, below, out=share)
        amplitude, weight = self.amplitude[:count], self._gain[:count]
        np.take(curve, below, out=amplitude, mode="clip")
        np.take(self._weight, below, out=weight, mode="clip")
        below += 1
        upper = np.take(curve, below, out=place, mode="clip")
        upper -= amplitude
        upper *= share
        amplitude += upper
        return weight

    def _draw_noise(self, noise: np.ndarray) -> float:  # audio thread
        """Into `noise`.  Returns its A-weighted power."""
        power = np.matmul(noise, self._bins, out=self._bin_power)
        power += self._noise_log
        np.minimum(power, self._most_log, out=power)
        power *= 2.0
        np.exp(power, out=power)
        total = float(np.dot(power, self._bins_weight))
        bands = np.matmul(noise, self._bands, out=self.noise)
        bands += self._noise_log
        np.minimum(bands, self._most_log, out=bands)
        np.exp(bands, out=bands)
        np.copyto(bands, 0.0, where=self._beyond)
        return total
