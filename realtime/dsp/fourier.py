"""Real FFTs of one length and precision, into arrays that are there already; lengths, windows and weights for them."""

from __future__ import annotations

from typing import Any

import numpy as np


class RealFourier:
    """`numpy.fft.rfft` and `irfft`, along the last axis, of any number of rows: two rows take hardly longer than one.

    numpy's functions spend a fifth of the time of a transform of 2048 on finding out what is asked of them, and `rfft`
    works in float64 even where float32 goes in and out; so the loops beneath them are called where they are there and,
    tried once, give the same answers.

    dtype : float32 or float64, of the signals; spectra have the complex type of the same precision
    """

    def __init__(self, samples: int, dtype: type[np.floating[Any]] = np.float32) -> None:
        self._samples = samples
        self._one, self._share = dtype(1), np.reciprocal(samples, dtype=dtype)
        loops = getattr(np.fft, "_pocketfft_umath", None)
        self._rfft: Any = getattr(loops, "rfft_n_odd" if samples % 2 else "rfft_n_even", None)
        self._irfft: Any = getattr(loops, "irfft", None)
        self._direct = self._agrees(dtype)

    def forward(self, signal: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """signal : (…, samples);  out : (…, samples // 2 + 1), complex"""
        if self._direct:
            self._rfft(signal, self._one, out=out)
        else:
            np.fft.rfft(signal, out=out)

    def inverse(self, spectrum: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """spectrum : (…, samples // 2 + 1), complex;  out : (…, samples)"""
        if self._direct:
            self._irfft(spectrum, self._share, out=out)
        else:
            np.fft.irfft(spectrum, self._samples, out=out)

    def _agrees(self, dtype: type) -> bool:
        signal: np.ndarray = np.random.default_rng(0).standard_normal((2, self._samples)).astype(dtype)
        wanted = np.fft.rfft(signal)
        back = np.fft.irfft(wanted, self._samples)
        spectrum, found = np.empty_like(wanted), np.empty_like(back)
        try:
            self._rfft(signal, self._one, out=spectrum)
            self._irfft(wanted, self._share, out=found)
        except (TypeError, ValueError):  # a numpy that has none, or others
            return False
        close = 100 * float(np.finfo(dtype).eps)
        return bool(
            np.abs(spectrum - wanted).max() <= close * np.abs(wanted).max()
            and np.abs(found - back).max() <= close * np.abs(back).max()
        )


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


def periodic_hann(samples: int) -> np.ndarray:
    """(samples,), float64: the Hann window whose period is its length."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def falling_cosine(samples: int) -> np.ndarray:
    """(samples,), float64: from 1 to 0 as half a cosine; backwards it is one minus itself."""
    return 0.5 + 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / samples)


def bin_weights(samples: int) -> np.ndarray:
    """(samples // 2 + 1,), float64: for how many bins of the full spectrum of an even length each bin stands."""
    weights = np.full(samples // 2 + 1, 2.0)
    weights[[0, -1]] = 1.0
    return weights
