"""Attacks and endings in time: within each frame, the resynthesised sound follows the input's level.

A frame's magnitudes say nothing of when, within its 46 ms, a sound began; so a rebuilt sound swells and fades as slowly
as the window does. Here its short-time level is made to follow the input's, where the input's is far from that of the
frame: a sustained note stays untouched.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.dsp.decibels import DB_PER_NEPER
from realtime.outputs.resynth.layout import Layout

LONG_SHARE, SHORT_SHARE = 1 / 4, 3 / 32  # of the window: how long the two running levels look back, 11.6 and 4.4 ms
# the periods of a low note beat by less than the one; from the other on a difference is made up for entirely
UNTOUCHED_DB = 2.0
FOLLOWED_DB = 6.0
MOST_DB = 60.0
SMALLEST_POWER = 1e-14
NEPERS = 1 / DB_PER_NEPER  # in a decibel


class LevelFollower:
    """Layout of the resynthesis to gains for each of its steps."""

    def __init__(self, layout: Layout) -> None:
        window, step = len(layout.window), layout.step
        self._long = max(1, round(LONG_SHARE * window))
        self._short = max(1, round(SHORT_SHARE * window))
        self._step = step
        self._begin = -layout.latency - self._long  # of what is looked at, from the input's end
        self._frame_power = 2 / (window * float(layout.window @ layout.window))  # of a spectrum's squared size
        # Levels in nepers, from the frame of the sound played now to the newest.
        self._levels = np.zeros(max(1, layout.latency // step))
        self._past = np.zeros(self._long + step)  # what was made so far
        self._sums = np.zeros(self._long + step + 1)
        self._heard, self._brief, self._made, self._other = (np.empty(step) for _ in range(4))
        self._played = np.zeros(step, np.float32)
        self.reset()

    def reset(self) -> None:
        self._past[:] = 0.0
        self._levels[:] = 0.5 * math.log(SMALLEST_POWER)
        self._last = 0.0  # gain at the end of the step before, nepers

    def follow(
        self, made: np.ndarray, before: np.ndarray, samples: np.ndarray, frame: np.ndarray, share: float
    ) -> np.ndarray:  # audio thread
        """made : (step,), float32, to be played now
        before : (fade,), float32, how much of its beginning is the end of what was made a step before, with the gain it
            had then
        samples : the input up to now;  frame : (bins,), float32, of the input, that `made` was made of, in the units of
            the windowed FFT
        share : 0 = leave it as it is … 1 = follow

        Returns
        -------
        ndarray, (step,), float32: `made` itself where nothing is to be done, else a view overwritten by the next call
        """
        past, levels, step = self._past, self._levels, self._step
        levels[:-1] = levels[1:]
        levels[-1] = 0.5 * math.log(float(np.dot(frame, frame)) * self._frame_power + SMALLEST_POWER)
        past[:-step] = past[step:]
        past[-step:] = made
        last = self._last
        if share <= 0.0 and last == 0.0:
            return made
        end = self._begin + self._long + step
        self._sum(samples[self._begin : end or None])
        heard = self._running(self._long, self._heard)
        np.maximum(heard, self._running(self._short, self._brief), out=heard)
        self._sum(past)
        quiet = self._running(self._long, self._made)
        np.maximum(quiet, (self._sums[-1] - self._sums[self._long]) / step, out=quiet)
        gain = self._gain(heard, quiet, share)
        if gain is None:
            return made
        played = np.multiply(made, gain, out=self._played, casting="same_kind")
        n = len(before)
        more = np.subtract(math.exp(last), gain[:n], out=self._brief[:n])
        more *= before
        np.add(played[:n], more, out=played[:n], casting="same_kind")
        return played

    def _gain(self, heard: np.ndarray, made: np.ndarray, share: float) -> np.ndarray | None:  # audio thread
        """Where what was made and a frame it was made of are both quieter than what is heard, or both louder: the
        smaller difference.

        heard, made : (step,), powers, overwritten.  Returns None for a gain of 1 throughout
        """
        heard += SMALLEST_POWER
        made += SMALLEST_POWER
        np.log(np.divide(heard, made, out=made), out=made)
        made *= 0.5
        np.log(heard, out=heard)
        heard *= 0.5
        least = np.subtract(heard, self._levels.min(), out=self._brief)
        most = np.subtract(heard, self._levels.max(), out=self._other)
        np.minimum(least, made, out=least)
        np.maximum(most, made, out=most)
        np.maximum(least, 0.0, out=least)
        np.minimum(most, 0.0, out=most)
        nepers = np.add(least, most, out=self._heard)
        size = np.abs(nepers, out=self._brief)
        size -= UNTOUCHED_DB * NEPERS
        size /= (FOLLOWED_DB - UNTOUCHED_DB) * NEPERS
        np.clip(size, 0.0, 1.0, out=size)
        nepers *= size
        nepers *= share
        np.clip(nepers, -MOST_DB * NEPERS, MOST_DB * NEPERS, out=nepers)
        idle = self._last == 0.0 and not nepers.any()
        self._last = float(nepers[-1])
        if idle:
            return None
        return np.exp(nepers, out=nepers)

    def _sum(self, samples: np.ndarray) -> None:  # audio thread
        np.multiply(samples, samples, out=self._sums[1:])
        np.cumsum(self._sums[1:], out=self._sums[1:])

    def _running(self, length: int, out: np.ndarray) -> np.ndarray:  # audio thread
        """Mean power of the last `length` samples, at each of the step's."""
        last = len(self._sums)
        np.subtract(self._sums[last - self._step :], self._sums[last - self._step - length : last - length], out=out)
        out /= length
        return np.maximum(out, 0.0, out=out)
