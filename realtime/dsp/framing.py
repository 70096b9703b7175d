"""The analysis branch: one channel out of several, cut into hops at the model's rate, whatever the block size and the
device's rate.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from realtime.bundle import Features

# Native samples fed to the resampler at a time, so that its answers do not depend on the block size.
LARGEST_QUANTUM = 64
CANCELLED = 0.05  # the mean's power over the channels' below which they cancel, and one of them is heard instead
AGREED = 0.2  # from which the mean is heard again
LOUDER = 4.0  # times the power of the one heard, from which another one takes its place


class HopSource:
    """Collects native samples and hands out hops of `hop_samples` at the model's rate.

    hop : (1, hop_samples), float64, the newest hop;  ended : whether the last `take` completed it
    fade_samples : how long a change of filter may take, native samples: what always lies between two hops
    most_samples : what at most lies between two hops, native samples
    """

    def __init__(self, features: Features, device_rate: float) -> None:
        self._features, self._device_rate = features, device_rate
        hop = features.hop_samples
        self._resampling = device_rate != features.sample_rate
        native = hop * device_rate / features.sample_rate
        self._quantum_samples = (
            min(LARGEST_QUANTUM, 2 ** max(0, math.floor(math.log2(native)))) if self._resampling else hop
        )
        self.fade_samples = max(self._quantum_samples, int(native) // self._quantum_samples * self._quantum_samples)
        self.most_samples = math.ceil(native) + self._quantum_samples if self._resampling else hop
        self._quantum = np.zeros(self._quantum_samples)
        made = math.ceil(self._quantum_samples * features.sample_rate / device_rate) + 16
        self._ready = np.zeros(hop + 4 * made)
        self.hop = np.zeros((1, hop))
        self.reset()

    def reset(self) -> None:
        self._filled = self._waiting = 0
        self.ended = False
        # Variable-rate mode: answers evenly, where the other mode answers in bursts of several hops.
        if self._resampling:
            self._resampler = soxr.ResampleStream(
                self._device_rate, self._features.sample_rate, 1, dtype="float64", quality="HQ", vr=True
            )

    def take(self, mono: np.ndarray) -> int:  # audio thread
        """Take in samples, (n,), up to the end of the next hop.

        Returns
        -------
        int : the samples taken, n if no hop ended; see `ended`
        """
        if self._resampling:
            return self._take_resampled(mono)
        n = min(len(mono), self._quantum_samples - self._filled)  # the quantum is the hop itself
        self._filled += n
        self.hop[0, self._filled - n : self._filled] = mono[:n]
        self.ended = self._filled == self._quantum_samples
        if self.ended:
            self._filled = 0
        return n

    def _take_resampled(self, mono: np.ndarray) -> int:  # audio thread
        taken, hop_samples = 0, self.hop.shape[1]
        self.ended = False
        while not self.ended:
            if self._waiting >= hop_samples:
                self._give(hop_samples)
            elif taken == len(mono):
                break
            else:
                n = min(len(mono) - taken, self._quantum_samples - self._filled)
                self._quantum[self._filled : self._filled + n] = mono[taken : taken + n]
                self._filled += n
                taken += n
                if self._filled == self._quantum_samples:
                    self._pass_on()
        return taken

    def _pass_on(self) -> None:  # audio thread
        samples = self._resampler.resample_chunk(self._quantum)
        n = min(len(samples), len(self._ready) - self._waiting)
        self._ready[self._waiting : self._waiting + n] = samples[:n]
        self._waiting += n
        self._filled = 0

    def _give(self, hop_samples: int) -> None:  # audio thread
        self.hop[0] = self._ready[:hop_samples]
        self._waiting -= hop_samples
        self.ended = True
        self._ready[: self._waiting] = self._ready[hop_samples : hop_samples + self._waiting]


class Downmix:
    """The mean of the channels; where they cancel in it, the loudest of them.

    Chosen anew at the end of every hop, by the hop's power, so the answer does not depend on the blocks.
    """

    def __init__(self, channels: int, most: int) -> None:
        self._channels, self._mono = channels, np.zeros(most)
        self._powers = np.zeros(channels)
        self.reset()

    def reset(self) -> None:
        self._chosen = -1  # the channel that is heard, -1 = the mean
        self._powers[:] = 0.0
        self._mean_power = 0.0

    def mix(self, sound: np.ndarray, out: np.ndarray) -> np.ndarray:  # audio thread
        """sound : (channels, n).  Returns (n,), in `out`."""
        mono = out[: sound.shape[1]]
        if self._chosen >= 0:
            np.copyto(mono, sound[self._chosen])
            return mono
        np.add.reduce(sound, axis=0, out=mono)
        if self._channels > 1:
            mono /= self._channels
        return mono

    def heard(self, sound: np.ndarray) -> None:  # audio thread
        """sound : (channels, n), the next samples of this hop"""
        if self._channels == 1:
            return
        for i, channel in enumerate(sound):
            self._powers[i] += float(np.dot(channel, channel))
        mean = np.add.reduce(sound, axis=0, out=self._mono[: sound.shape[1]])
        self._mean_power += float(np.dot(mean, mean)) / self._channels**2

    def hop_ended(self) -> bool:  # audio thread
        """Whether another choice was made."""
        if self._channels == 1:
            return False
        powers, before = self._powers, self._chosen
        average, loudest = float(powers.sum()) / self._channels, int(powers.argmax())
        if average > 0:
            if self._mean_power < CANCELLED * average:
                held = before if before >= 0 and powers[before] * LOUDER > powers[loudest] else loudest
                self._chosen = held
            elif self._mean_power > AGREED * average:
                self._chosen = -1
        powers[:] = 0.0
        self._mean_power = 0.0
        return self._chosen != before
