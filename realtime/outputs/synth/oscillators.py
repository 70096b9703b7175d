"""Partials with continuous phase, a hop at a time; frequency and amplitude move in straight lines."""

from __future__ import annotations

import math

import numpy as np

from realtime.outputs.synth.played import ROWS

MOST_PARTIALS = 400
SPREAD_TURNS = 0.7 / (2 * math.pi)  # phases that differ from partial to partial keep the crest factor low
FADED = 1e-7  # amplitude below which a partial that was is no longer heard


class Oscillators:
    """Voices beside each other.

    device_rate : Hz
    glide_samples : in which frequencies and amplitudes arrive
    most : samples that a hop may last
    """

    def __init__(self, device_rate: float, glide_samples: int, most: int) -> None:
        self._rate, self._glide, self._most = device_rate, glide_samples, most
        self._line = np.minimum(1.0, np.arange(1, most + 1) / glide_samples)
        self._start = SPREAD_TURNS * np.square(np.arange(1.0, MOST_PARTIALS + 1)) % 1.0
        self._phase = np.zeros((ROWS, MOST_PARTIALS))  # turns, at the present
        self._amplitude = np.zeros((ROWS, 2, MOST_PARTIALS))  # where the present hop began, and where it leads
        self._f0, self._goal = np.zeros(ROWS), np.zeros(ROWS)  # Hz, the same
        self._stretch = np.ones((ROWS, MOST_PARTIALS))
        self._count = np.zeros(ROWS, int)
        self._turns = np.zeros(most)  # of the fundamental since the hop began, and …
        self._ends = np.zeros((ROWS, most))  # … those of every row
        self._angle = np.zeros(MOST_PARTIALS * most)
        self._wave = np.zeros(MOST_PARTIALS * most, np.float32)
        self._gains = np.zeros((2, MOST_PARTIALS), np.float32)
        self._parts = np.zeros((2, most), np.float32)
        self._sum, self._work = np.zeros(most), np.zeros(most)
        self.reset()

    def reset(self) -> None:
        self._phase[:] = 0.0
        self._amplitude[:] = 0.0
        self._f0[:] = self._goal[:] = 440.0
        self._count[:] = 0
        self._ends[:] = 0.0

    def pass_by(self, samples: int) -> None:  # audio thread
        """So many samples of the present hop have been played: all rows stand there now."""
        if not samples:
            return
        share = float(self._line[samples - 1])
        self._f0 += share * (self._goal - self._f0)
        for row in range(ROWS):
            count = int(self._count[row])
            if count:
                phase = self._phase[row, :count]
                phase += self._stretch[row, :count] * self._ends[row, samples - 1]  # allocates: one row
                phase -= np.floor(phase)  # allocates: one row
                start, end = self._amplitude[row, 0, :count], self._amplitude[row, 1, :count]
                start += share * (end - start)  # allocates: one row

    def set_row(
        self, row: int, f0_hz: float, amplitude: np.ndarray, stretch: np.ndarray, struck: bool
    ) -> None:  # audio thread
        """Where a row goes from here.  amplitude, stretch : (partials,)"""
        count, before = len(amplitude), int(self._count[row])
        present, goal = self._amplitude[row]
        if struck or not before:
            self._phase[row] = self._start
            present[:] = 0.0
            self._f0[row] = f0_hz
            before = 0
        elif count > before:
            self._phase[row, before:count] = self._start[before:count]
            present[before:count] = 0.0
        elif count < before and float(np.maximum.reduce(present[count:before])) < FADED:
            before = count
        goal[:count] = amplitude
        goal[count:] = 0.0
        # Partials that are no longer there fade out where they are.
        self._stretch[row, :count] = stretch
        self._count[row] = max(count, before)
        self._goal[row] = f0_hz

    def silence_row(self, row: int) -> None:  # audio thread
        """It fades out within the hop."""
        count = int(self._count[row])
        if count:
            if float(np.maximum.reduce(self._amplitude[row, 0, :count])) < FADED:
                self._count[row] = 0
            self._amplitude[row, 1, :] = 0.0

    def render(self) -> np.ndarray:  # audio thread
        """The hop from here on, (most,), a view overwritten by the next call."""
        total = self._sum
        total[:] = 0.0
        for row in range(ROWS):
            count = int(self._count[row])
            if count:
                self._render_row(row, count)
                parts = self._parts
                np.subtract(parts[1], parts[0], out=self._work)
                self._work *= self._line
                self._work += parts[0]
                total += self._work
        return total

    def _render_row(self, row: int, count: int) -> None:  # audio thread
        """Σ a cos φ with the amplitudes of both ends, into `_parts`."""
        turns = self._ends[row]
        np.multiply(self._line, self._goal[row] - self._f0[row], out=turns)
        turns += self._f0[row]
        turns /= self._rate
        np.add.accumulate(turns, out=turns)
        angle = self._angle[: count * self._most].reshape(count, self._most)
        wave = self._wave[: count * self._most].reshape(count, self._most)
        np.multiply(self._stretch[row, :count, None], turns, out=angle)
        angle += self._phase[row, :count, None]
        np.floor(angle, out=wave, casting="same_kind")
        np.subtract(angle, wave, out=wave, casting="same_kind")
        wave *= np.float32(2 * math.pi)
        np.cos(wave, out=wave)
        gains = self._gains[:, :count]
        np.copyto(gains, self._amplitude[row, :, :count], casting="same_kind")
        np.matmul(gains, wave, out=self._parts)
