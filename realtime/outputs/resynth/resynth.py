"""The resynth way out (docs/architecture.md): the decoded magnitudes become sound, with phases rebuilt, or the input's,
or something between.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from realtime.bundle import Features
from realtime.dsp.deadline import Deadline
from realtime.dsp.spectrum import frame_scale
from realtime.dsp.step_resampler import StepOutput, resampling_ms, steps_of
from realtime.outputs.resynth.layout import layout_of
from realtime.outputs.resynth.rebuild import Rebuilder

HIGHEST_LOG = 20.0  # of a decoded magnitude over its level, natural log: what is beyond is no spectrum
MOST_GAIN = 100.0  # by which a decoded spectrum is lifted to the loudness of what is heard


class Frame(Protocol):
    """What of the input's newest frame is needed; see `realtime.dsp.spectrum.FrameAnalyser`."""

    amplitude: np.ndarray


class Resynth:
    """Input and decoded spectra to sound, `latency_samples` late.

    Parameters
    ----------
    features : Features, of the model
    device_rate : float, Hz
    latency_ms : float, 3 … 50, resampling included; the nearest possible is taken, at most half the model's window and
        the resampling
    most : int, largest block, samples
    hurry : Deadline, which says when a block is about to be late, or None: time does not count

    Attributes
    ----------
    latency_samples : int, from in to out at `device_rate`
    phase : float, 0 = phases rebuilt from the magnitudes … 1 = the input's; for the caller to set
    follows : bool, True = as loud as the input, its attacks kept; False = as loud as `level` says, of frozen sounds;
        for the caller to set
    """

    def __init__(
        self, features: Features, device_rate: float, latency_ms: float, most: int, hurry: Deadline | None = None
    ) -> None:
        layout = layout_of(features, latency_ms - resampling_ms(features.sample_rate, device_rate))
        self._hops = steps_of(features, device_rate, layout.step)
        self._output = StepOutput(features.sample_rate, device_rate, layout.step, layout.latency)
        self.latency_samples = self._output.latency_samples
        self._rebuilder = Rebuilder(features, layout, hurry or Deadline())
        self._scale = 1 / frame_scale(features).amplitude
        self._floor = features.log_floor
        self._shape = np.empty(features.bins)
        self._wanted, self._heard = np.zeros(features.bins, np.float32), np.zeros(features.bins, np.float32)
        self._silence = np.zeros(layout.step)
        self._out = np.zeros(most)
        self.phase, self.follows = 0.0, True
        self.reset()

    def reset(self) -> None:
        """As new: the same sound gives the same answer, bit for bit."""
        self._hops.reset()
        self._output.reset()
        self._rebuilder.reset()
        self._wanted[:] = 0.0
        self._heard[:] = 0.0
        self._due = False  # whether a step has ended that nothing was made of yet

    def hear(self, log_decoded: np.ndarray, frame: Frame, level: float) -> None:  # audio thread
        """Once per hop of the model, after its last sample was processed: what to play from now on.

        log_decoded : (bins,), as edited, natural log of the level-normalised amplitude and the floor
        frame : the input's, that was decoded;  level : linear, what its amplitude was divided by
        """
        wanted = np.minimum(log_decoded, HIGHEST_LOG, out=self._shape)
        np.exp(wanted, out=wanted)
        wanted -= self._floor
        np.maximum(wanted, 0.0, out=wanted)
        power, heard = float(np.dot(wanted, wanted)), float(np.dot(frame.amplitude, frame.amplitude))
        if not math.isfinite(power + heard + level):
            self._wanted[:] = 0.0
            self._heard[:] = 0.0
            return
        gain = level
        if self.follows and power > 0.0:
            gain = min(math.sqrt(heard / power), MOST_GAIN * level)
        np.multiply(wanted, gain * self._scale, out=self._wanted, casting="same_kind")
        np.multiply(frame.amplitude, self._scale, out=self._heard, casting="same_kind")

    def process(self, mono: np.ndarray, active: bool) -> np.ndarray:  # audio thread
        """The next samples; any cutting of a sound into blocks gives the same ones.

        mono : (n,), float64, n ≤ most
        active : whether they are heard; if not, only the input is remembered

        Returns
        -------
        ndarray, (n,), float64, a view overwritten by the next call
        """
        n, done = len(mono), 0
        while True:
            if self._due:
                self._make(active)
            taken = self._hops.take(mono[done:])
            self._output.take(self._out[done : done + taken])
            done += taken
            if self._hops.ended:
                self._rebuilder.listen(self._hops.hop[0])
                self._due = True
            if done == n:
                return self._out[:n]

    def _make(self, active: bool) -> None:  # audio thread
        self._due = False
        if active:
            self._output.put(self._rebuilder.play(self._wanted, self._heard, self.phase, self.follows))
        else:
            self._rebuilder.pause()
            self._output.put(self._silence)
