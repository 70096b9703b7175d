"""Filters a stream with a filter that changes, at zero latency and any block size.

What the samples before a *segment* (about a hop) still have to say in it is worked out at once by FFT, through the old
and the new filter and already crossfaded; what its own samples add is convolved directly, block by block. So a small
block costs little.
"""

from __future__ import annotations

import numpy as np

from realtime.dsp.fader import straight_line
from realtime.dsp.fourier import RealFourier, fast_length
from realtime.dsp.history import History

LONGEST_SEGMENT = 512  # samples; within longer ones direct convolution costs more than another FFT


class _Filter:
    """One impulse response in the forms that are needed. `plain` filters only scale.

    padded : (fft_samples,);  spectrum : its spectrum, unless `stale`
    head : (segment,), its first samples, last one first
    """

    def __init__(self, taps: int, fft_samples: int, segment: int) -> None:
        self.padded = np.zeros(fft_samples)
        self.spectrum = np.zeros(fft_samples // 2 + 1, complex)
        self.head = np.zeros(segment)
        self._taps, self._short = taps, min(taps, segment)
        self.scale_only(1.0)

    def scale_only(self, scale: float) -> None:  # audio thread
        self.padded[: self._taps] = 0.0
        self.padded[0] = scale
        self.spectrum[:] = scale
        self.head[:] = 0.0
        self.head[-1] = scale
        self.plain, self.scale, self.stale = True, scale, False

    def take(self, response: np.ndarray) -> None:  # audio thread
        self.padded[: self._taps] = response
        self._renewed()
        self.plain = False

    def approach(self, other: _Filter, share: float) -> None:  # audio thread
        self.padded += share * (other.padded - self.padded)
        self._renewed()
        self.scale += share * (other.scale - self.scale)
        self.plain = self.plain and other.plain

    def _renewed(self) -> None:  # audio thread
        self.head[len(self.head) - self._short :] = self.padded[self._short - 1 :: -1] if self._short else 0.0
        self.stale = True


class Convolver:
    """Every channel through the same filter, which fades linearly to each new one over `fade_samples`.

    A scale of 1 passes samples on bit for bit.

    most : largest block, samples
    """

    def __init__(self, channels: int, taps: int, fade_samples: int, most: int) -> None:
        segment = min(most, LONGEST_SEGMENT)
        fft_samples = fast_length(taps - 1 + segment)
        self.most = most
        self._past, self._fade_samples, self._segment = taps - 1, fade_samples, segment
        self._history = History(channels, taps - 1, segment)
        self._fourier = RealFourier(fft_samples, np.float64)
        self._old, self._new = (_Filter(taps, fft_samples, segment) for _ in range(2))
        self._ramp = np.ones(fade_samples + segment)
        self._ramp[:fade_samples] = straight_line(fade_samples)
        self._factor = np.zeros(segment)
        self._signals = np.zeros((1 + channels, fft_samples))  # a stale filter, and what came before the segment
        self._spectra = np.zeros((1 + channels, fft_samples // 2 + 1), complex)
        self._products = np.zeros((2, channels, fft_samples // 2 + 1), complex)
        self._tails = np.zeros((2, channels, fft_samples))
        self._tail = self._tails[0, :, taps - 1 : taps - 1 + segment]
        self._step = np.zeros(segment)  # from the old filter's head to the new one's
        self._inside = np.zeros((channels, 2 * segment))  # zeros, then the segment's own samples
        self._wet = np.zeros((channels, most))
        self.reset()

    def reset(self) -> None:
        self._history.reset()
        self._old.scale_only(1.0)
        self._new.scale_only(1.0)
        self._faded = self._fade_samples  # samples since the last change, at most fade_samples
        self._at = 0  # samples of the segment that have come
        self._prepared = False  # whether the segment's tail is there

    def change(self, response: np.ndarray | None, scale: float = 1.0) -> None:  # audio thread
        """Fade to the impulse response, (taps,), or, if there is none, to a plain gain."""
        if response is None and self._new.plain and self._new.scale == scale and self._faded == self._fade_samples:
            return
        self._end_segment()
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
        """dry : (channels, n), float64, n ≤ most. Returns (channels, n): `dry` itself, or a view that the next call
        overwrites.
        """
        n = dry.shape[1]
        if self._faded == self._fade_samples and self._new.plain and self._new.scale == 1.0:
            self._keep(dry)
            return dry
        wet, done = self._wet[:, :n], 0
        while done < n:
            if self._at == self._segment:
                self._end_segment()
            m = min(n - done, self._segment - self._at)
            self._filter(dry[:, done : done + m], wet[:, done : done + m])
            done += m
        return wet

    def _keep(self, dry: np.ndarray) -> None:  # audio thread
        """Only remember the samples; what was prepared of the segment is then of no use."""
        done, n = 0, dry.shape[1]
        while done < n:
            if self._at == self._segment:
                self._end_segment()
            m = min(n - done, self._segment - self._at)
            self._take_in(dry[:, done : done + m])
            done += m

    def _take_in(self, dry: np.ndarray) -> None:  # audio thread
        start = self._segment + self._at
        self._at += dry.shape[1]
        self._inside[:, start : start + dry.shape[1]] = dry

    def _end_segment(self) -> None:  # audio thread
        if self._at:
            self._history.append(self._inside[:, self._segment : self._segment + self._at])
        self._at, self._prepared = 0, False

    def _filter(self, dry: np.ndarray, wet: np.ndarray) -> None:  # audio thread
        """Both (channels, m), within one segment."""
        m, old, new = dry.shape[1], self._old, self._new
        fading = self._faded < self._fade_samples
        if new.plain and (old.plain or not fading):
            ramp = self._ramp[self._faded : self._faded + m]
            self._faded = min(self._fade_samples, self._faded + m)
            self._take_in(dry)
            self._scaled(dry, ramp if fading else None, wet)
            return
        if not self._prepared:
            self._prepare(fading)
        at, end = self._at, self._at + m
        self._take_in(dry)
        samples = self._inside[:, self._segment - m + 1 : self._segment + end]
        # np.correlate takes no `out`; its result, a block of one channel, is freed at once. Written into our own array,
        # the same sums take three times as long (einsum), five times (matmul) or copy the windows (dot).
        for channel, out in enumerate(wet):
            if fading:
                out[:] = np.correlate(samples[channel], self._step[self._segment - end :], "valid")  # allocates
                out *= self._ramp[self._faded : self._faded + m]
                out += np.correlate(samples[channel], old.head[self._segment - end :], "valid")  # allocates
            else:
                out[:] = np.correlate(samples[channel], new.head[self._segment - end :], "valid")  # allocates
        wet += self._tail[:, at:end]
        self._faded = min(self._fade_samples, self._faded + m)

    def _prepare(self, fading: bool) -> None:  # audio thread
        """What the samples before the segment will have to say in it, crossfaded. The filter's own FFT is done with
        theirs, which is cheaper.
        """
        signals, spectra, old, new = self._signals, self._spectra, self._old, self._new
        if self._at:
            self._end_segment()
        signals[1:, : self._past] = self._history.newest()
        if fading and old.stale:
            self._fourier.forward(old.padded, old.spectrum)
            old.stale = False
        if new.stale:
            signals[0] = new.padded
            self._fourier.forward(signals, spectra)
            np.copyto(new.spectrum, spectra[0])
            new.stale = False
        else:
            self._fourier.forward(signals[1:], spectra[1:])
        count = 2 if fading else 1
        np.multiply(spectra[1:], new.spectrum, out=self._products[0])
        if fading:
            np.multiply(spectra[1:], old.spectrum, out=self._products[1])
            np.subtract(new.head, old.head, out=self._step)
        self._fourier.inverse(self._products[:count], self._tails[:count])
        if fading:
            was = self._tails[1, :, self._past : self._past + self._segment]
            self._tail -= was
            self._tail *= self._ramp[self._faded : self._faded + self._segment]
            self._tail += was
        self._prepared = True

    def _scaled(self, dry: np.ndarray, ramp: np.ndarray | None, wet: np.ndarray) -> None:  # audio thread
        if ramp is None:
            np.multiply(dry, self._new.scale, out=wet)
            return
        factor = np.multiply(ramp, self._new.scale - self._old.scale, out=self._factor[: len(ramp)])
        factor += self._old.scale
        np.multiply(dry, factor, out=wet)
