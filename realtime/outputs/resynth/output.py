"""Resynth as a way out: what it needs of a hop, its wet and dry shares, and the input it must remember."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Features
from realtime.dsp.deadline import Deadline
from realtime.dsp.fader import Fader
from realtime.dsp.history import History
from realtime.outputs.base import Answer, DecodedHop
from realtime.outputs.resynth.resynth import Resynth

KEYS_RMS = 0.1  # of a note played from the keys at full velocity, −20 dBFS


class ResynthPart:
    """What a hop tells the resynthesis.

    curve : (bins,), the decoded spectrum as edited;  amplitude : (bins,), of the input's frame
    level : linear, what the frame was divided by;  phase : 0 … 1
    keys : notes play;  velocity : of the note held, 0 if none is
    """

    def __init__(self, bins: int) -> None:
        self.curve, self.amplitude = np.zeros(bins), np.zeros(bins)
        self.level = self.phase = self.velocity = 0.0
        self.keys = False

    def clear(self) -> None:  # audio thread
        """Its level is 0 then, and nothing of it is read."""


class ResynthOutput:
    """wet · resynth + dry · input, as late as resynth; see `realtime.outputs.base.Output`.

    While it is not heard the resynthesis sleeps; woken at the end of a hop, it is told the last window of sound.

    most : largest block, samples
    deadline : says when a block is about to be late
    """

    name = "resynth"

    def __init__(
        self,
        features: Features,
        channels: int,
        device_rate: float,
        latency_ms: float,
        fade_samples: int,
        most: int,
        deadline: Deadline,
    ) -> None:
        self._resynth = Resynth(features, device_rate, latency_ms, most, deadline)
        self.latency_samples = self._resynth.latency_samples
        self._bins, self._floor = features.bins, features.log_floor
        self._amplitude = np.zeros(features.bins)
        self._wet, self._dry = Fader(fade_samples, most), Fader(fade_samples, most)
        self._most = most
        window = math.ceil(features.window_samples * device_rate / features.sample_rate)
        self._past = History(channels + 1, max(window, self.latency_samples), most)  # every channel, then their mean
        self._waiting = np.zeros((channels + 1, most))  # for `_past`, taken in once per hop while asleep
        self._sound, self._scaled = np.zeros((channels, most)), np.zeros((channels, most))
        self._count = 0

    def new_part(self) -> ResynthPart:
        return ResynthPart(self._bins)

    def reset_hop_side(self) -> None:
        """It has no state there."""

    def describe(self, hop: DecodedHop, part: ResynthPart) -> None:  # audio thread
        np.copyto(part.curve, hop.decoded[1])
        np.copyto(part.amplitude, hop.amplitude)
        part.phase, part.keys, part.velocity = hop.phase, hop.keys, hop.velocity
        part.level = self._keys_level(part.curve) if part.keys else hop.level

    def rest(self, hop: DecodedHop) -> None:  # audio thread
        """It has no state there."""

    def _keys_level(self, curve: np.ndarray) -> float:  # audio thread
        """The level at which the decoded spectrum has the loudness of a key.

        A Hann frame spreads a partial's power over 1.5 bins.
        """
        amplitude = np.exp(curve, out=self._amplitude)
        amplitude -= self._floor
        np.maximum(amplitude, 0.0, out=amplitude)
        power = float(np.dot(amplitude, amplitude)) / 3
        return KEYS_RMS / math.sqrt(power) if power > 0 else 0.0

    def reset(self) -> None:
        for part in (self._resynth, self._past, self._wet, self._dry):
            part.reset()
        self._count = 0

    def warm_up(self, part: ResynthPart) -> None:
        self._resynth.hear(part.curve, part, 1.0)

    def begin(self, mix: float, gain: float) -> None:
        self._wet.reset(mix * gain)
        self._dry.reset((1 - mix) * gain)

    def wake(self, answer: Answer, part: ResynthPart) -> None:  # audio thread
        self._remember()
        self._resynth.reset()
        past = self._past.newest()[-1]
        for start in range(0, len(past), self._most):
            self._resynth.process(past[start : start + self._most], False)
        self._wet.reset(self._wet_share(answer, part))
        self._dry.reset(self._dry_share(answer, part))

    def change(self, answer: Answer, part: ResynthPart) -> None:  # audio thread
        self._wet.go(self._wet_share(answer, part))
        self._dry.go(self._dry_share(answer, part))
        self._resynth.phase, self._resynth.follows = part.phase, not part.keys
        self._resynth.hear(part.curve, part, part.level)

    def process(self, dry: np.ndarray, mono: np.ndarray, heard: bool) -> np.ndarray:  # audio thread
        n = dry.shape[1]
        if self._count + n > self._most:
            self._remember()
        block = self._waiting[:, self._count : self._count + n]
        block[:-1], block[-1] = dry, mono
        self._count += n
        sound = self._sound[:, :n]
        if heard:
            late = self._past.keep - self.latency_samples
            past = self._remember()[:-1, late : late + n]
            np.multiply(past, self._dry.process(n), out=sound)
            made = np.multiply(self._resynth.process(mono, True), self._wet.process(n), out=self._scaled[0, :n])
            sound += made
        return sound

    @staticmethod
    def _wet_share(answer: Answer, part: ResynthPart) -> float:  # audio thread
        return answer.wet * answer.gain * (part.velocity if part.keys else 1.0)

    @staticmethod
    def _dry_share(answer: Answer, part: ResynthPart) -> float:  # audio thread
        return 0.0 if part.keys else answer.dry * answer.gain

    def _remember(self) -> np.ndarray:  # audio thread
        """Take in what waits.  Returns (channels + 1, keep + samples that waited), a view."""
        past = self._past.append(self._waiting[:, : self._count])
        self._count = 0
        return past
