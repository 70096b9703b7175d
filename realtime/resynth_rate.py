"""What was made at the model's rate, in steps, handed out at the device's, sample by sample and never too late."""

from __future__ import annotations

import math

import numpy as np
import soxr

from realtime.bundle import Features
from realtime.hops import HopSource

MEASURED_SECONDS = 2.0  # how long the ways in and out are watched, when a device's rate is not the model's
SPARE_SAMPLES = 8  # beyond what was ever missing meanwhile


class StepOutput:
    """A queue of samples at the device's rate.

    lead_samples : zeros that stand before the first step, so that samples are always there when they are due
    """

    def __init__(self, model_rate: float, device_rate: float, step: int, lead_samples: int) -> None:
        self._rates, self._lead = (model_rate, device_rate), lead_samples
        self._resampling = model_rate != device_rate
        most = math.ceil(step * device_rate / model_rate) + 64
        self._queue = np.zeros(lead_samples + 8 * most)
        self.reset()

    def reset(self) -> None:
        self._queue[:] = 0.0
        self.waiting, self._owed = self._lead, 0
        if self._resampling:
            self._resampler = soxr.ResampleStream(*self._rates, 1, dtype="float64", quality="HQ", vr=True)

    def put(self, made: np.ndarray) -> None:  # audio thread
        """made : (step,), at the model's rate"""
        samples = self._resampler.resample_chunk(made.astype(np.float64)) if self._resampling else made
        skipped = min(self._owed, len(samples))  # zeros went out in their place, so that the delay stays what it is
        self._owed -= skipped
        n = min(len(samples) - skipped, len(self._queue) - self.waiting)
        self._queue[self.waiting : self.waiting + n] = samples[skipped : skipped + n]
        self.waiting += n

    def take(self, out: np.ndarray) -> None:  # audio thread
        """Fill `out`, (n,), with the oldest samples."""
        n = min(len(out), self.waiting)
        out[:n] = self._queue[:n]
        out[n:] = 0.0
        self._owed += len(out) - n
        self.waiting -= n
        self._queue[: self.waiting] = self._queue[n : n + self.waiting]


def lead_and_latency(features: Features, device_rate: float, latency: int) -> tuple[int, int]:
    """How many zeros must stand before the first step, and the delay from in to out, both in samples at the device's rate.

    features : with steps as hops;  latency : at the model's rate, of what makes the steps

    At another rate both are measured: an impulse is sent in, resampled, cut into steps, put together again late and resampled.
    """
    if device_rate == features.sample_rate:
        return features.hop_samples, latency
    hops, step = HopSource(features, device_rate), features.hop_samples
    output = StepOutput(features.sample_rate, device_rate, step, 0)
    late = np.zeros(latency)
    total = math.ceil(MEASURED_SECONDS * device_rate)
    impulse = total // 2
    sound = np.zeros(total)
    sound[impulse] = 1.0
    made: list[np.ndarray] = []
    taken, given, missing = 0, 0, 0
    while taken < total:
        n = hops.take(sound[taken:])
        taken += n
        missing = max(missing, taken - given)
        if hops.ended:
            late[:-step] = late[step:]
            late[-step:] = hops.hop[0]
            before = output.waiting
            output.put(late[:step])
            part = np.empty(output.waiting - before)
            output.take(part)
            given += len(part)
            made.append(part)
    lead = missing + SPARE_SAMPLES
    return lead, lead + int(np.argmax(np.abs(np.concatenate(made)))) - impulse
