"""One channel out of several, for the analysis."""

from __future__ import annotations

import numpy as np

CANCELLED = 0.05  # the mean's power over the channels' below which they cancel, and one of them is heard instead
AGREED = 0.2  # from which the mean is heard again
LOUDER = 4.0  # times the power of the one heard, from which another one takes its place


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
