"""Delays of single onsets, and the progress of a change sample by sample, from what went in and what came out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.signal

from benchmarks.latency.sounds import GAP_SECONDS, MarkedSound

AUDIBLE = 1e-3  # of a response's peak, −60 dB: there it begins
MARGIN = 256  # samples before an impulse that are looked at with it
ENVELOPE_SECONDS = 0.003
LONGEST_SECONDS = 0.1  # lags are looked for up to this, and so much silence before a beginning is listened to with it
SPECTRUM_SAMPLES, SPECTRUM_FLOOR = 1024, 0.03


@dataclass(frozen=True)
class Delays:
    """What was measured at many beginnings, samples: mean = latency, spread = jitter."""

    count: int
    mean: float
    lowest: float
    highest: float
    deviation: float  # standard
    lost: int = 0  # beginnings of which nothing came out

    @property
    def spread(self) -> float:
        return self.highest - self.lowest

    @property
    def uncertainty(self) -> float:
        """Half the 95 % interval of the mean."""
        return 1.96 * self.deviation / max(1, self.count) ** 0.5

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"spread": self.spread, "uncertainty": self.uncertainty}


def delays_of(found: list[float | None]) -> Delays:
    """None: nothing was heard."""
    heard = np.array([value for value in found if value is not None], float)
    if not len(heard):
        return Delays(0, -1.0, -1.0, -1.0, 0.0, len(found))
    return Delays(
        len(heard),
        float(heard.mean()),
        float(heard.min()),
        float(heard.max()),
        float(heard.std()),
        len(found) - len(heard),
    )


def impulse_delays(sound: MarkedSound, out: np.ndarray, *, symmetric: bool) -> Delays:
    """Where the middle of each impulse's response is, or where it begins, after the impulse itself.

    symmetric : the middle, right where the phases are the input's, whatever the magnitudes; of responses of minimum
        phase the beginning counts
    """
    found: list[float | None] = []
    for echo in _after_each(sound, out, MARGIN):
        heard = echo[MARGIN:]
        height = np.abs(heard).max() if np.isfinite(echo).all() else 0.0
        if height < 1e-6:
            found.append(None)
        elif symmetric:
            found.append(_middle(echo) - MARGIN)
        else:
            found.append(float(np.argmax(np.abs(heard) > AUDIBLE * height)))
    return delays_of(found)


def _middle(pulse: np.ndarray) -> float:
    """The centre of symmetry of the pulse, to half a sample: there it is most like its mirror image."""
    return float(np.argmax(scipy.signal.fftconvolve(pulse, pulse))) / 2


def onset_delays(sound: MarkedSound, out: np.ndarray) -> Delays:
    """The lag at which the envelopes of in and out are most alike, of each onset."""
    before, after = (_envelope(samples, sound.sample_rate) for samples in (sound.samples[: len(out)], out))
    longest = round(LONGEST_SECONDS * sound.sample_rate)
    found: list[float | None] = []
    for one, other in zip(_after_each(sound, before, longest), _after_each(sound, after, longest), strict=True):
        if not np.isfinite(other).all() or other.max() < 1e-5:
            found.append(None)
            continue
        pattern = one[: len(one) - longest]
        likeness = scipy.signal.correlate(other, pattern, "valid")
        energy = _sums(other**2, len(pattern))
        found.append(float(np.argmax(likeness / np.sqrt(np.maximum(energy, 0.01 * energy.max())))))
    return delays_of(found)


def spectral_share(out: np.ndarray, before: np.ndarray, after: np.ndarray, hop: int) -> np.ndarray:
    """How far the spectrum is from `before` to `after`: the change in dB seen along their difference, (frames,), frame
    k around sample k · hop.

    out, before, after : (n,), of the same input: as the knob moved, as if it never had, as if it always had stood there
    """
    was, will, now = (_log_spectra(samples, hop) for samples in (before, after, out))
    way = will - was
    return ((now - was) * way).sum(1) / np.maximum((way * way).sum(1), 1e-9)


def _log_spectra(samples: np.ndarray, hop: int) -> np.ndarray:
    """(frames, bins), nepers, down to a floor that is far below anything heard here."""
    padded = np.pad(samples.astype(float), SPECTRUM_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM_SAMPLES)[::hop] * np.hanning(SPECTRUM_SAMPLES)
    return np.log(np.abs(np.fft.rfft(frames, axis=1)) + SPECTRUM_FLOOR)


def first_departure(out: np.ndarray, expected: np.ndarray, start: int, tolerance: float) -> int | None:
    """Samples after `start` until the sound is no longer the expected one."""
    differs = np.flatnonzero(np.abs(out[start:] - expected[start:]) > tolerance)
    return int(differs[0]) if len(differs) else None


def _after_each(sound: MarkedSound, out: np.ndarray, before: int = 0) -> list[np.ndarray]:
    """What lies between each beginning, less so many samples, and shortly before the next."""
    length = round((GAP_SECONDS - LONGEST_SECONDS) * sound.sample_rate)
    return [out[start - before : start + length] for start in sound.starts if start + length <= len(out)]


def _envelope(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Smoothed root of the power, (n,); the window is centred, so in and out are blurred alike."""
    window = scipy.signal.windows.hann(round(ENVELOPE_SECONDS * sample_rate) | 1)
    power = scipy.signal.fftconvolve(np.nan_to_num(samples.astype(float)) ** 2, window / window.sum(), "same")
    return np.sqrt(np.maximum(power, 0.0))


def _sums(values: np.ndarray, length: int) -> np.ndarray:
    """Of every stretch of that length."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return total[length:] - total[:-length]
