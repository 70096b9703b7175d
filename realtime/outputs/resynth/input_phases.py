"""What resynthesis takes from the input besides its frames: phases, now and extrapolated, and where an attack is."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.dsp.fourier import RealFourier
from realtime.outputs.resynth.layout import Layout

# How much louder than its frame the newest sound is where an attack begins to be heard as one, and where it surely is.
ONSET_DB = (4.0, 10.0)
ONSET_SECONDS = 0.0114  # time constant with which an attack is left behind
NOTHING = np.float32(1e-30)
SMALLEST_POWER = 1e-12


class InputPhases:
    """The newest input.

    samples : (kept,), float64, up to now
    heard : (frames, bins), complex64, phasors of size 1 for every frame of the layout, after `hear`
    amplitude : (bins,), float32, of the frame that ends now, after `hear`
    chance : (bins,), complex64, tiny: the phases of a sound that begins from nothing
    """

    def __init__(self, features: Features, layout: Layout, kept: int) -> None:
        window, frames, bins = features.window_samples, len(layout.ends), features.bins
        self._layout = layout
        self.samples = np.zeros(kept + layout.spacing)
        self.heard = np.zeros((frames, bins), np.complex64)
        self.amplitude = np.zeros(bins, np.float32)
        angles = np.random.default_rng(1).uniform(0, 2 * np.pi, bins)
        self.chance = (1e-20 * np.exp(1j * angles)).astype(np.complex64)
        self._fourier = RealFourier(window)
        self._windowed, self._window_power = np.empty(window), float(layout.window @ layout.window)
        self._pair, self._spectra = np.empty((2, window), np.float32), np.empty((2, bins), np.complex64)
        self._turn, self._size = np.empty(bins, np.complex64), np.empty(bins, np.float32)
        self._onset_keep = math.exp(-layout.step / (ONSET_SECONDS * features.sample_rate))
        self._none = np.zeros(layout.step)
        self.reset()

    def reset(self) -> None:
        self.samples[:] = 0.0
        self._onset = 0.0

    def listen(self, samples: np.ndarray) -> None:  # audio thread
        """samples : (step,), the newest of the input"""
        step, kept = self._layout.step, self.samples
        kept[:-step] = kept[step:]
        kept[-step:] = samples if math.isfinite(float(np.dot(samples, samples))) else self._none

    def forget_attack(self) -> None:  # audio thread
        self._onset = 0.0

    def attack(self) -> float:  # audio thread
        """0 … 1: how surely the newest sound is an attack, or was just now. Once per step."""
        recent = self.samples[-self._layout.spacing :]
        np.multiply(self.samples[-len(self._windowed) :], self._layout.window, out=self._windowed)
        newest = float(np.dot(recent, recent)) / len(recent)
        usual = float(np.dot(self._windowed, self._windowed)) / self._window_power
        louder_db = 0.5 * DB_PER_NEPER * math.log((newest + SMALLEST_POWER) / (usual + SMALLEST_POWER))
        sure = (louder_db - ONSET_DB[0]) / (ONSET_DB[1] - ONSET_DB[0])
        self._onset = max(self._onset * self._onset_keep, min(max(sure, 0.0), 1.0))
        return self._onset if self._onset > 1e-3 else 0.0

    def hear(self) -> None:  # audio thread
        """The phases of the frame that ends now, extrapolated forwards and backwards at the frequency they had over the
        last `spacing` samples.
        """
        window, now, heard, turn = len(self._windowed), self._layout.now_frame, self.heard, self._turn
        for row, end in enumerate((len(self.samples) - self._layout.spacing, len(self.samples))):
            np.multiply(self.samples[end - window : end], self._layout.window, out=self._pair[row], casting="same_kind")
        self._fourier.forward(self._pair, self._spectra)
        before, present = self._spectra
        np.abs(present, out=self.amplitude)
        np.conjugate(before, out=turn)
        turn *= present
        turn += self.chance
        to_unit(turn, self._size)
        np.add(present, self.chance, out=heard[now])
        to_unit(heard[now], self._size)
        for row in range(now + 1, len(heard)):
            np.multiply(heard[row - 1], turn, out=heard[row])
        np.conjugate(turn, out=turn)
        for row in range(now - 1, -1, -1):
            np.multiply(heard[row + 1], turn, out=heard[row])


def to_unit(spectrum: np.ndarray, size: np.ndarray) -> None:  # audio thread
    """Divide `spectrum`, complex64, by its absolute values; `size` is of its shape, for them."""
    np.abs(spectrum, out=size)
    size += NOTHING
    spectrum /= size


def likeness(magnitude: np.ndarray, heard: np.ndarray) -> float:  # audio thread
    """0 … 1, squared cosine: an attack is the wanted sound's own as far as their spectra are alike."""
    wanted = float(np.dot(magnitude, magnitude))
    present = float(np.dot(heard, heard))
    both = float(np.dot(magnitude, heard))
    return min(1.0, both / wanted * (both / present)) if wanted > 0.0 and present > 0.0 else 0.0
