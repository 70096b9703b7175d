"""Filters a stream with a filter that changes, at zero latency and any block size: overlap-save with a crossfade."""

from __future__ import annotations

import numpy as np

from realtime.history import History

DIRECT_SAMPLES = 64  # shorter blocks are cheaper by direct convolution than by FFT


class _Filter:
    """One impulse response in the forms the two algorithms need. `plain` filters only scale."""

    def __init__(self, taps: int, fft_samples: int) -> None:
        self.reversed = np.zeros(taps)
        self.spectrum = np.zeros(fft_samples // 2 + 1, complex)
        self.padded = np.zeros(fft_samples)
        self.plain, self.scale = True, 1.0
        self.scale_only(1.0)

    def scale_only(self, scale: float) -> None:  # audio thread
        self.reversed[:] = 0.0
        self.reversed[-1] = scale
        self.spectrum[:] = scale
        self.plain, self.scale = True, scale

    def take(self, response: np.ndarray) -> None:  # audio thread
        taps = len(self.reversed)
        self.reversed[:] = response[::-1]
        self.padded[:taps] = response
        np.fft.rfft(self.padded, out=self.spectrum)
        self.plain = False

    def approach(self, other: _Filter, share: float) -> None:  # audio thread
        self.reversed += share * (other.reversed - self.reversed)
        self.spectrum += share * (other.spectrum - self.spectrum)
        self.scale += share * (other.scale - self.scale)
        self.plain = self.plain and other.plain


class Convolver:
    """Every channel through the same filter, which fades linearly to each new one over `fade_samples`.

    A scale of 1 passes samples on bit for bit.

    most : largest block, samples; the FFT is chosen for it
    """

    def __init__(self, channels: int, taps: int, fade_samples: int, most: int) -> None:
        fft_samples = fast_length(taps - 1 + most)
        self.most = fft_samples - taps + 1
        self._taps, self._fade_samples, self._fft_samples = taps, fade_samples, fft_samples
        self._history = History(channels, taps - 1, self.most)
        self._old, self._new = _Filter(taps, fft_samples), _Filter(taps, fft_samples)
        self._faded = fade_samples  # samples since the last change, at most fade_samples
        self._ramp = np.ones(fade_samples + self.most)
        self._ramp[:fade_samples] = np.arange(1, fade_samples + 1) / fade_samples
        self._factor = np.empty(self.most)
        self._spectrum = np.empty((channels, fft_samples // 2 + 1), complex)
        self._products = np.empty((2, channels, fft_samples // 2 + 1), complex)
        self._outputs = np.empty((2, channels, fft_samples))

    def reset(self) -> None:
        self._history.reset()
        self._old.scale_only(1.0)
        self._new.scale_only(1.0)
        self._faded = self._fade_samples

    def change(self, response: np.ndarray | None, scale: float = 1.0) -> None:  # audio thread
        """Fade to the impulse response, (taps,), or, if there is none, to a plain gain."""
        if response is None and self._new.plain and self._new.scale == scale and self._faded == self._fade_samples:
            return
        if self._faded < self._fade_samples:
            self._old.approach(self._new, float(self._ramp[self._faded - 1]) if self._faded else 0.0)
        else:
            self._old, self._new = self._new, self._old
        if response is None:
            self._new.scale_only(scale)
        else:
            self._new.take(response)
        self._faded = 0

    def process(self, dry: np.ndarray) -> np.ndarray:  # audio thread
        """dry : (channels, n), float64, n ≤ most. Returns (channels, n), a view overwritten by the next call, or `dry` itself."""
        n = dry.shape[1]
        fading = self._faded < self._fade_samples
        ramp = self._ramp[self._faded : self._faded + n]
        self._faded = min(self._fade_samples, self._faded + n)
        if self._new.plain and (self._old.plain or not fading):
            self._history.append(dry)
            return self._scaled(dry, ramp if fading else None)
        wet = self._direct(dry, fading) if n <= DIRECT_SAMPLES else self._by_fft(dry, fading)
        if fading:
            wet[1] -= wet[0]
            wet[1] *= ramp
            wet[0] += wet[1]
        return wet[0]

    def _scaled(self, dry: np.ndarray, ramp: np.ndarray | None) -> np.ndarray:  # audio thread
        if ramp is None and self._new.scale == 1.0:
            return dry
        wet = self._outputs[0][:, : dry.shape[1]]
        if ramp is None:
            return np.multiply(dry, self._new.scale, out=wet)
        factor = np.multiply(ramp, self._new.scale - self._old.scale, out=self._factor[: len(ramp)])
        factor += self._old.scale
        return np.multiply(dry, factor, out=wet)

    def _direct(self, dry: np.ndarray, fading: bool) -> np.ndarray:  # audio thread
        past = self._history.append(dry)
        wet = self._outputs[:, :, : dry.shape[1]]
        for channel, samples in enumerate(past):
            if fading:
                wet[0, channel] = np.correlate(samples, self._old.reversed, "valid")
                wet[1, channel] = np.correlate(samples, self._new.reversed, "valid")
            else:
                wet[0, channel] = np.correlate(samples, self._new.reversed, "valid")
        return wet

    def _by_fft(self, dry: np.ndarray, fading: bool) -> np.ndarray:  # audio thread
        taps, count = self._taps, 2 if fading else 1
        np.fft.rfft(self._history.append(dry, self._fft_samples), out=self._spectrum)
        np.multiply(self._spectrum, (self._old if fading else self._new).spectrum, out=self._products[0])
        if fading:
            np.multiply(self._spectrum, self._new.spectrum, out=self._products[1])
        np.fft.irfft(self._products[:count], self._fft_samples, out=self._outputs[:count])
        return self._outputs[:, :, taps - 1 : taps - 1 + dry.shape[1]]


def fast_length(samples: int) -> int:
    """The next even length with no prime factor above 5: a fast one for an FFT."""
    samples += samples % 2
    while _without(samples, 2, 3, 5) != 1:
        samples += 2
    return samples


def _without(number: int, *factors: int) -> int:
    for factor in factors:
        while number % factor == 0:
            number //= factor
    return number
