"""Another room, another microphone, another hand: what changes a sound on its way, but not the instrument.

Light on purpose: the sound keeps its pitch and its character, and models learn that the rest is none of their business.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from training.units import amplitude_of

MOST_TILT_DB = 4.0  # of each of the bands of the microphone's curve
CURVE_HZ = (60.0, 200.0, 600.0, 1800.0, 5400.0, 16000.0)
CURVE_TAPS = 511
ROOM_SECONDS = (0.1, 0.5)  # in which its sound falls by 60 dB
ROOM_DB = (-26.0, -10.0)  # level of the room's sound beside the direct one
FIRST_ECHO_SECONDS = 0.004
HISS_DB = (-80.0, -50.0)  # below the sound's level
MOST_SWELL_DB = 9.0  # how far the level moves
SWELL_POINTS = 4


def coloured(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The sound at a level that moves, through a microphone, in a small room, with a little hiss.

    Parameters
    ----------
    audio : (samples,), float32
    rng : everything is drawn from it

    Returns
    -------
    ndarray, (samples,), float32, peak as before; nothing comes earlier than in `audio`
    """
    peak = float(np.abs(audio).max(initial=0.0))
    if not peak:
        return audio
    sound = _swell(len(audio), rng) * audio
    sound = scipy.signal.oaconvolve(sound, _microphone(sample_rate, rng))[: len(audio)]
    room = scipy.signal.oaconvolve(sound, _room(sample_rate, rng))[: len(audio)]
    level = float(np.sqrt(np.square(sound).mean()))
    sound = sound + room + level * amplitude_of(rng.uniform(*HISS_DB)) * rng.standard_normal(len(audio))
    return (sound * (peak / np.abs(sound).max())).astype(np.float32)


def _swell(samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples,), linear gain between a few points."""
    points = rng.uniform(-MOST_SWELL_DB, 0, SWELL_POINTS)
    places = np.linspace(0, samples - 1, SWELL_POINTS)
    return np.power(10, np.interp(np.arange(samples), places, points) / 20)


def _microphone(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth curve over frequency as an impulse response of minimum phase."""
    nyquist = sample_rate / 2
    grid = np.linspace(0, nyquist, CURVE_TAPS + 1)
    gain = rng.uniform(-MOST_TILT_DB, MOST_TILT_DB, len(CURVE_HZ))
    curve = np.interp(np.log(np.maximum(grid, 1.0)), np.log(CURVE_HZ), gain)
    cepstrum = np.fft.irfft(curve * (np.log(10) / 20))
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:CURVE_TAPS]


def _room(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that dies away, of the level drawn beside the direct sound's."""
    seconds = rng.uniform(*ROOM_SECONDS)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    response = rng.standard_normal(len(time)) * np.power(10, -3 * time / seconds)
    response[: round(FIRST_ECHO_SECONDS * sample_rate)] = 0
    return response * amplitude_of(rng.uniform(*ROOM_DB)) / np.sqrt(np.square(response).sum())
