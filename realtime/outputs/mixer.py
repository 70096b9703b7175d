"""The resynth way out beside the morph: both at their levels, fading where knobs move, and nothing computed that is not
heard.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.dsp.deadline import Deadline
from realtime.dsp.fader import Fader
from realtime.dsp.history import History
from realtime.outputs.base import Answer
from realtime.outputs.resynth.resynth import Resynth


class ResynthWay:
    """out = (1 − r) · morph + r · (wet · resynth + dry · input, as late as resynth) · gain

    While it is not heard the resynthesis sleeps; woken at the end of a hop, it is told the last window of sound.

    latency_samples : of resynth, at the device's rate
    most : largest block, samples
    hurry : says when a block is about to be late
    """

    def __init__(
        self,
        features: Features,
        channels: int,
        device_rate: float,
        latency_ms: float,
        fade_samples: int,
        most: int,
        hurry: Deadline,
    ) -> None:
        self._resynth = Resynth(features, device_rate, latency_ms, most, hurry)
        self.latency_samples = self._resynth.latency_samples
        self._morph = Fader(fade_samples, most, 1.0)
        self._wet, self._dry = Fader(fade_samples, most), Fader(fade_samples, most)
        self._most = most
        window = math.ceil(features.window_samples * device_rate / features.sample_rate)
        self._past = History(channels + 1, max(window, self.latency_samples), most)  # every channel, then their mean
        self._waiting = np.zeros((channels + 1, most))  # for `_past`, taken in once per hop while asleep
        self._sum = np.zeros((channels, most))
        self.reset()

    def reset(self) -> None:
        for part in (self._resynth, self._past, self._morph, self._wet, self._dry):
            part.reset()
        self._count, self._asleep = 0, True

    def begin(self, share: float, mix: float, gain: float) -> None:
        """After a reset: as if the knobs had always stood there."""
        self._morph.reset(1 - share)
        self._wet.reset(share * mix * gain)
        self._dry.reset(share * (1 - mix) * gain)
        self._asleep = self._silent

    def warm_up(self, answer: Answer) -> None:
        self._resynth.hear(answer.curve, answer, 1.0)
        self._resynth.process(np.zeros(self._most), True)
        self.reset()

    def change(self, answer: Answer) -> None:  # audio thread
        """From now on, by a fade."""
        share = answer.resynth
        self._morph.go(1 - share)
        gate = answer.velocity if answer.keys else 1.0
        self._wet.go(share * answer.wet * answer.gain * gate)
        self._dry.go(0.0 if answer.keys else share * answer.dry * answer.gain)
        self._remember()
        if self._asleep and not self._silent:
            self._wake()
        self._asleep = self._silent
        if share > 0.0:
            self._resynth.phase, self._resynth.follows = answer.phase, not answer.keys
            self._resynth.hear(answer.curve, answer, answer.level)

    def process(self, dry: np.ndarray, mono: np.ndarray, morphed: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """dry, morphed, out : (channels, n);  mono : (n,), the channels' mean"""
        n = dry.shape[1]
        if self._count + n > self._most:
            self._remember()
        block = self._waiting[:, self._count : self._count + n]
        block[:-1], block[-1] = dry, mono
        self._count += n
        if self._asleep:
            if self._morph.open:
                out[:] = morphed
            else:
                np.multiply(morphed, self._morph.process(n), out=out, casting="same_kind")
            return
        late = self._past.keep - self.latency_samples
        past = self._remember()[:-1, late : late + n]
        made = self._resynth.process(mono, True)
        total = np.multiply(morphed, self._morph.process(n), out=self._sum[:, :n])
        total += self._wet.process(n) * made
        total += self._dry.process(n) * past
        out[:] = total

    @property
    def _silent(self) -> bool:
        return self._wet.silent and self._dry.silent

    def _remember(self) -> np.ndarray:  # audio thread
        """Take in what waits.  Returns (channels + 1, keep + samples that waited), a view."""
        past = self._past.append(self._waiting[:, : self._count])
        self._count = 0
        return past

    def _wake(self) -> None:  # audio thread
        self._resynth.reset()
        past = self._past.newest()[-1]
        for start in range(0, len(past), self._most):
            self._resynth.process(past[start : start + self._most], False)
