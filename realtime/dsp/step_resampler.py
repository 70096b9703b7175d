"""Between the device's rate and the model's: sound to steps, and what was made of them to sound, sample by sample and
never too late.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

import numpy as np

from realtime.bundle import Features
from realtime.dsp.framing import HopSource
from realtime.dsp.polyphase import Polyphase, half_of


class Steps(Protocol):
    """What cuts the input; see `realtime.dsp.framing.HopSource`.  hop : (1, step), the newest
    ended : whether the last `take` completed it
    """

    hop: np.ndarray
    ended: bool

    def reset(self) -> None: ...

    def take(self, mono: np.ndarray) -> int: ...


class ResampledSteps:
    """Steps at the model's rate from samples at the device's, each as soon as its last sample can be computed."""

    def __init__(self, model_rate: float, device_rate: float, step: int) -> None:
        self._polyphase = Polyphase(device_rate, model_rate, step)
        self.hop = np.zeros((1, step))
        self._made = np.zeros(step, np.float32)
        self._kept = np.zeros(math.ceil(step * self._polyphase.step_ratio) + 2 * self._polyphase.half + 2, np.float32)
        self.reset()

    def reset(self) -> None:
        self._kept[:] = 0.0
        self._filled = self._polyphase.half - 1
        # place in the sound of the first sample kept; outputs made so far
        self._first = -self._filled
        self._outputs = 0
        self.ended = False

    def take(self, mono: np.ndarray) -> int:  # audio thread
        """Take in samples, (n,), up to the end of the next step.  Returns how many"""
        step = self.hop.shape[1]
        missing = self._polyphase.needed_for(self._outputs + step) - (self._first + self._filled)
        n = min(len(mono), missing)
        self._kept[self._filled : self._filled + n] = mono[:n]
        self._filled += n
        self.ended = n == missing
        if self.ended:
            self._polyphase.make(self._kept, self._outputs * self._polyphase.step_ratio - self._first, self._made)
            self.hop[0] = self._made
            self._outputs += step
            self._forget()
        return n

    def _forget(self) -> None:  # audio thread
        next_place = int(self._outputs * self._polyphase.step_ratio)
        past = next_place - self._polyphase.half + 1 - self._first
        self._filled -= past
        self._kept[: self._filled] = self._kept[past : past + self._filled]
        self._first += past


class StepOutput:
    """Steps to a queue of samples at the device's rate, `latency_samples` after what they are the sound of.

    latency : at the model's rate, from the end of the input to the first sample of a step
    """

    def __init__(self, model_rate: float, device_rate: float, step: int, latency: int) -> None:
        self._polyphase = (
            None
            if model_rate == device_rate
            else Polyphase(model_rate, device_rate, math.ceil(step * device_rate / model_rate) + 2)
        )
        self._step, most = step, step
        self.latency_samples, self._lead = latency, step
        if self._polyphase is not None:
            into, out = _waits(model_rate, device_rate)
            ratio = self._polyphase.step_ratio
            self.latency_samples = into + math.ceil((latency + out) / ratio)
            # Place of the first output among the samples of the steps.
            self._origin = latency - step - self.latency_samples * ratio
            self._lead = self._polyphase.made_of(0, self._origin)
            most = math.ceil(step / ratio) + 2
            self._kept, self._made = np.zeros(step + 2 * self._polyphase.half, np.float32), np.zeros(most, np.float32)
        self._queue = np.zeros(self._lead + 4 * most)
        self.reset()

    def reset(self) -> None:
        self._queue[:] = 0.0
        self._waiting = self._outputs = self._lead
        self._source = 0
        if self._polyphase is not None:
            self._kept[:] = 0.0

    def put(self, made: np.ndarray) -> None:  # audio thread
        """made : (step,), at the model's rate"""
        samples = made if self._polyphase is None else self._resampled(self._polyphase, made)
        self._queue[self._waiting : self._waiting + len(samples)] = samples
        self._waiting += len(samples)

    def take(self, out: np.ndarray) -> None:  # audio thread
        """Fill `out`, (n,), with the oldest samples."""
        n = len(out)
        out[:] = self._queue[:n]
        self._waiting -= n
        self._queue[: self._waiting] = self._queue[n : n + self._waiting]

    def _resampled(self, polyphase: Polyphase, made: np.ndarray) -> np.ndarray:  # audio thread
        step, kept = self._step, self._kept
        kept[:-step] = kept[step:]
        kept[-step:] = made
        self._source += step
        count = polyphase.made_of(self._source, self._origin)
        samples = self._made[: count - self._outputs]
        origin: Fraction = self._origin + self._outputs * polyphase.step_ratio - (self._source - len(kept))
        polyphase.make(kept, origin, samples)
        self._outputs = count
        return samples


def resampling_ms(model_rate: float, device_rate: float) -> float:
    """Milliseconds that going to the model's rate and back adds to the latency; 0 if the rates are one."""
    if model_rate == device_rate:
        return 0.0
    into, out = _waits(model_rate, device_rate)
    return 1000 * (into / device_rate + out / model_rate)


def _waits(model_rate: float, device_rate: float) -> tuple[int, int]:
    """Samples at the device's rate by which a step ends later than its last sample, and at the model's by which it is
    later played.
    """
    return half_of(device_rate, model_rate) + 1, half_of(model_rate, device_rate) + 1


def steps_of(features: Features, device_rate: float, step: int) -> Steps:
    """What cuts the device's sound into steps at the model's rate."""
    if device_rate == features.sample_rate:
        return HopSource(features.model_copy(update={"hop_samples": step}), device_rate)
    return ResampledSteps(features.sample_rate, device_rate, step)
