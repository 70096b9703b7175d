"""Eight keys, each a voice: a pitch that glides, and a level that falls when it is let go."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest
from realtime.hop.smoothing import glide_rate
from realtime.kinds import VOICES

KEY_LEVEL = 0.17  # A-weighted level of a key at full velocity: about −20 dBFS
RELEASE_SECONDS = 0.06  # time constant
SILENT = 1e-4  # of the level, where a voice that was let go ends
LEAST_VELOCITY = 0.05


class Keys:
    """Follows the targets key[i] and key_velocity[i], a hop at a time.

    Attributes
    ----------
    note : (VOICES,), MIDI notes, as they glide, without transposition;  level : (VOICES,), linear
    loudness : (VOICES,), told to the decoder;  struck, begins : (VOICES,), bool, in this hop: an attack; a voice that
        was silent
    """

    def __init__(self, manifest: Manifest, index: dict[str, int]) -> None:
        self._key = slice(index["key[0]"], index[f"key[{VOICES - 1}]"] + 1)
        self._velocity = slice(index["key_velocity[0]"], index[f"key_velocity[{VOICES - 1}]"] + 1)
        self._hop_seconds = manifest.features.hop_seconds
        self._release = math.exp(-self._hop_seconds / RELEASE_SECONDS)
        self._seen = np.full(VOICES, -1.0)
        self.note, self.level, self.loudness = np.full(VOICES, 60.0), np.zeros(VOICES), np.zeros(VOICES)
        self.struck, self.begins = np.zeros(VOICES, bool), np.zeros(VOICES, bool)
        self.reset()

    def reset(self) -> None:
        self._seen[:] = -1.0
        self.note[:], self.level[:], self.loudness[:] = 60.0, 0.0, 0.0
        self.struck[:] = self.begins[:] = False
        self._last: float | None = None  # the note that was struck last

    def follow(self, target: np.ndarray, on: bool, portamento: float, legato: bool) -> None:  # audio thread
        """target : (targets,), where the knobs lead;  on : else all are let go
        portamento : s, in which a pitch has gone two thirds of its way;  legato : tied notes have no attack
        """
        keys, velocity, rate = target[self._key], target[self._velocity], self._glide(portamento)
        for i in range(VOICES):
            wanted = float(keys[i]) if on else -1.0
            before, self._seen[i] = float(self._seen[i]), wanted
            self.struck[i] = self.begins[i] = False
            if wanted < 0:
                self._let_go(i)
                continue
            strength = max(LEAST_VELOCITY, float(velocity[i]))
            if wanted != before and not (legato and before >= 0):
                self._strike(i, wanted, portamento)
                self.loudness[i] = math.log(strength)
                self._last = wanted
            elif wanted != before:
                self._last = wanted
            self.note[i] += rate * (wanted - self.note[i])
            self.level[i] = KEY_LEVEL * strength

    def _strike(self, i: int, note: float, portamento: float) -> None:  # audio thread
        self.begins[i] = self.level[i] == 0.0
        self.struck[i] = True
        self.note[i] = note if self._last is None or portamento <= 0 else self._last

    def _let_go(self, i: int) -> None:  # audio thread
        level = self.level[i] * self._release
        self.level[i] = level if level > SILENT * KEY_LEVEL else 0.0

    def _glide(self, portamento: float) -> float:  # audio thread
        return 1.0 if portamento <= 0 else glide_rate(self._hop_seconds, portamento)
