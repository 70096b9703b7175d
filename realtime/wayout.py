"""The resynth way out beside the morph: both at their levels, fading where knobs move, and nothing computed that is not heard."""

from __future__ import annotations

import numpy as np

from realtime.bundle import Features
from realtime.faders import Fader
from realtime.lookahead import SampleDelay
from realtime.resynth import Resynth
from realtime.step import Answer


class ResynthWay:
    """out = (1 − r) · morph + r · (wet · resynth + dry · input, as late as resynth) · gain

    latency_samples : of resynth, at the device's rate
    most : largest block, samples
    """

    def __init__(self, features: Features, channels: int, device_rate: float, latency_ms: float, fade_samples: int, most: int) -> None:
        self._resynth = Resynth(features, device_rate, latency_ms, most)
        self.latency_samples = self._resynth.latency_samples
        self._morph = Fader(fade_samples, most, 1.0)
        self._wet, self._dry = Fader(fade_samples, most), Fader(fade_samples, most)
        self._late = SampleDelay(channels, self.latency_samples, most)
        self._sum = np.empty((channels, most))

    def reset(self) -> None:
        for part in (self._resynth, self._late, self._morph, self._wet, self._dry):
            part.reset()

    def begin(self, share: float, mix: float, gain: float) -> None:
        """After a reset: as if the knobs had always stood there."""
        self._morph.reset(1 - share)
        self._wet.reset(share * mix * gain)
        self._dry.reset(share * (1 - mix) * gain)

    def warm_up(self, answer: Answer) -> None:
        self._resynth.hear(answer.curve, answer, 1.0)
        self._resynth.process(np.zeros(self._sum.shape[1]), True)
        self.reset()

    def change(self, answer: Answer) -> None:  # audio thread
        """From now on, by a fade."""
        share = answer.resynth
        self._morph.go(1 - share)
        gate = answer.velocity if answer.keys else 1.0
        self._wet.go(share * answer.wet * answer.gain * gate)
        self._dry.go(0.0 if answer.keys else share * answer.dry * answer.gain)
        if share > 0.0:
            self._resynth.phase, self._resynth.follows = answer.phase, not answer.keys
            self._resynth.hear(answer.curve, answer, answer.level)

    def process(self, dry: np.ndarray, mono: np.ndarray, morphed: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """dry, morphed, out : (channels, n);  mono : (n,), the channels' mean"""
        n = dry.shape[1]
        late = self._late.process(dry)
        silent = self._wet.silent and self._dry.silent
        made = self._resynth.process(mono, not silent)
        if self._morph.open and silent:
            out[:] = morphed
            return
        total = np.multiply(morphed, self._morph.process(n), out=self._sum[:, :n])
        total += self._wet.process(n) * made
        total += self._dry.process(n) * late
        out[:] = total
