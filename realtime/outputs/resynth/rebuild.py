"""Sound from magnitudes while it plays: the newest samples are chosen to give all frames they are in their magnitudes.

Frames that end now are known; frames that will end soon are expected to look alike, and are trusted less the further
they are ahead. Of all these frames only the samples not yet played are free. Their phases begin as RTPGHI has them
(`PartialAdvance`) and are then made to agree with what was played and with each other by a few rounds of Griffin and
Lim (1984) over these frames, as in RTISI-LA (Zhu, Beauregard and Wyse 2007), but without waiting for frames to come.
With the input's phases a frame's own magnitudes give back the very input.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from realtime.bundle import Features
from realtime.dsp.deadline import Deadline
from realtime.dsp.fourier import RealFourier, falling_cosine
from realtime.outputs.resynth.input_phases import NOTHING, InputPhases, likeness, to_unit
from realtime.outputs.resynth.layout import Layout
from realtime.outputs.resynth.level import LevelFollower
from realtime.outputs.resynth.partials import PartialAdvance

FEWEST_ROUNDS = 2  # however little time there is
# Momentum of the rounds between the first and the last (fast Griffin-Lim, Perraudin, Balazs and Søndergaard 2013).
MOMENTUM = np.float32(1.2)


class Rebuilder:
    """Input, magnitudes and phases to the next `layout.step` samples, `layout.latency` late."""

    def __init__(self, features: Features, layout: Layout, hurry: Deadline) -> None:
        window, frames, bins = features.window_samples, len(layout.ends), features.bins
        self._layout, self._hurry, self._window32 = layout, hurry, layout.window.astype(np.float32)
        self._now = window - int(layout.ends[0])  # index of now in the sound
        self._sound = np.zeros(self._now + layout.last_end, np.float32)  # what was played, then what is still open
        self._framed_view = as_strided(self._sound, (frames, window), (layout.spacing * 4, 4))
        self._input = InputPhases(features, layout, self._now)
        self._level = LevelFollower(layout)
        self._fourier = RealFourier(window)
        self._partials = PartialAdvance(window, layout.step)
        self._framed = np.empty((frames, window), np.float32)
        self._last_framed = np.empty(window, np.float32)
        self._spectra, self._mixed = (np.empty((frames, bins), np.complex64) for _ in range(2))
        self._size, self._ratio = np.empty((frames, bins), np.float32), np.zeros((frames, bins), np.complex64)
        self._ahead, self._last = np.empty(bins, np.complex64), np.empty(bins, np.complex64)
        self._total, self._before, self._expected = (np.empty(layout.weights.shape[1], np.float32) for _ in range(3))
        # The first open sample in the first frame; in each later one it lies earlier.
        first = window - layout.latency - int(layout.ends[0])
        self._open_view = as_strided(
            self._framed.reshape(-1)[first:], layout.weights.shape, (4 * (window - layout.spacing), 4)
        )
        self._weighed = np.empty(layout.weights.shape, np.float32)
        self._fade = falling_cosine(max(1, layout.step // 4)).astype(np.float32)
        self._promised, self._step_back = np.zeros_like(self._fade), np.empty_like(self._fade)
        self.reset()

    def reset(self) -> None:
        self._sound[:] = 0.0
        self._input.reset()
        self._level.reset()
        self._going = False

    def listen(self, samples: np.ndarray) -> None:  # audio thread
        """samples : (step,), the newest of the input"""
        self._input.listen(samples)

    def pause(self) -> None:  # audio thread
        """Nothing is played for now."""
        self._going = False
        self._input.forget_attack()
        self._level.reset()

    def play(self, magnitude: np.ndarray, heard: np.ndarray, phase: float, follows: bool) -> np.ndarray:  # audio thread
        """The next samples.

        magnitude, heard : (bins,), float32, of the wanted frame and of the input's, in the units of the windowed FFT
        phase : 0 = rebuilt … 1 = the input's
        follows : whether the sound is the input's, so that its attacks are kept

        Returns
        -------
        ndarray, (step,), float32, a view overwritten by the next call
        """
        if self._going:
            self._go_on(magnitude)
        else:
            self._begin()
        share = max(phase, self._input.attack() * likeness(magnitude, heard)) if follows else 0.0
        if share > 0.0:
            self._input.hear()
        begin, promised = self._now - self._layout.latency, self._layout.latency == self._layout.step
        self._promised[:] = self._sound[begin : begin + len(self._promised)]
        last = 0 if share > 0.999 else self._layout.rounds - 1
        for number in range(last + 1):
            self._agree(magnitude, share, first=number == 0)
            if FEWEST_ROUNDS <= number + 1 <= last and self._hurry.cuts_short():
                break
            if 0 < number < last:
                self._overshoot()
            self._before[:] = self._total
        if promised:  # without the rest of the input, as yet
            self._join(begin, share)
        if share > 0.0:
            self._keep_the_rest(magnitude, heard, share)
        if not promised:
            self._join(begin, share)
        if not math.isfinite(float(np.dot(self._sound, self._sound))):
            self._sound[:] = 0.0
        made = self._sound[begin : begin + self._layout.step]
        going_on = np.multiply(self._fade, np.float32(1 - share), out=self._expected[: len(self._fade)])
        going_on *= self._promised
        return self._level.follow(made, going_on, self._input.samples, heard, 1 - phase if follows else 0.0)

    def _go_on(self, magnitude: np.ndarray) -> None:  # audio thread
        """A step later: the last frame's phases move on with its partials."""
        step, sound = self._layout.step, self._sound
        np.multiply(sound[len(sound) - len(self._window32) :], self._window32, out=self._last_framed)
        self._fourier.forward(self._last_framed, self._last)
        self._partials.advance(magnitude, self._last, self._ahead)
        sound[:-step] = sound[step:]
        sound[-step:] = 0.0

    def _begin(self) -> None:  # audio thread
        """As if the input had been played so far: the sound then goes on from it."""
        self._sound[: self._now] = self._input.samples[-self._now :]
        self._input.hear()
        np.multiply(self._input.heard, self._input.amplitude, out=self._mixed)
        self._fourier.inverse(self._mixed, self._framed)
        self._overlap(self._total)
        self._sound[self._now :] = self._total[self._layout.latency :]
        self._ahead[:] = self._input.heard[-1]
        self._going = True

    def _agree(self, magnitude: np.ndarray, share: float, first: bool) -> None:  # audio thread
        """One round: the frames' phases from the sound, their magnitudes as wanted, the open samples from both."""
        spectra = self._spectra
        np.multiply(self._framed_view, self._window32, out=self._framed)
        self._fourier.forward(self._framed, spectra)
        if first:
            spectra[-1] = self._ahead
            spectra += self._input.chance
        if share > 0.0:
            to_unit(spectra, self._size)
            spectra *= np.float32(1 - share)
            spectra += np.multiply(self._input.heard, np.float32(share), out=self._mixed)
        np.abs(spectra, out=self._size)
        self._size += NOTHING
        np.divide(magnitude, self._size, out=self._ratio.real)
        spectra *= self._ratio
        self._fourier.inverse(spectra, self._framed)
        self._overlap(self._total)
        self._sound[self._now - self._layout.latency :] = self._total

    def _join(self, begin: int, share: float) -> None:  # audio thread
        """Begin where the step before meant to go on: what was agreed on since then would begin with a small leap. The
        input has none.
        """
        played = self._sound[begin : begin + len(self._fade)]
        back = np.subtract(self._promised, played, out=self._step_back)
        back *= self._fade
        back *= np.float32(1 - share)
        played += back

    def _overshoot(self) -> None:  # audio thread
        """Go on a little in the direction of the last round."""
        further = np.subtract(self._total, self._before, out=self._expected)
        further *= MOMENTUM
        self._sound[self._now - self._layout.latency :] += further

    def _overlap(self, total: np.ndarray) -> None:  # audio thread
        """`_framed`, weighed, overlapped and added where samples are open; beyond a frame's ends, where others lie, its
        weight is 0.
        """
        np.multiply(self._open_view, self._layout.weights, out=self._weighed)
        np.add.reduce(self._weighed, axis=0, out=total)

    def _keep_the_rest(self, magnitude: np.ndarray, heard: np.ndarray, share: float) -> None:  # audio thread
        """Add what frames miss of the input, above all the beginning of an attack, at the level that is wanted."""
        latency = self._layout.latency
        wanted, present = float(np.dot(magnitude, magnitude)), float(np.dot(heard, heard))
        gain = share * min(1.0, math.sqrt(wanted / present)) if present > 0.0 else share
        np.multiply(self._input.heard, heard, out=self._mixed)
        self._fourier.inverse(self._mixed, self._framed)
        self._overlap(self._expected)
        rest = self._expected[:latency]
        np.subtract(self._input.samples[-latency:], rest, out=rest, casting="same_kind")
        rest *= np.float32(gain)
        self._sound[self._now - latency : self._now] += rest
