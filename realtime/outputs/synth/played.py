"""What a hop says of the voices that sound: the hop side fills it, the synthesizer plays it."""

from __future__ import annotations

import numpy as np

from realtime.bundle import Harmonic
from realtime.kinds import VOICES

ROWS = 1 + VOICES


class Played:
    """Row 0 is the voice that follows the input, the others are keys.

    f0_hz : (ROWS,), Hz, at the end of the hop
    level : (ROWS,), linear, the A-weighted level that the row sounds at (`HarmonicVAE.weighted_level`); 0 is silent
    struck : (ROWS,), bool, a note begins: phases start anew, nothing glides from what the row played before
    voicing : (ROWS,), 0 … 1
    envelope, offsets, noise : (ROWS, size);  inharmonicity : (ROWS,)
    harmonics, hiss : linear, gains of harmonics and noise, after the level was set
    transient : 0 … 1, how much of the input passes, while it begins
    sure : 0 … 1, how much of this way out is to be heard; the rest is morph's
    """

    def __init__(self, facts: Harmonic) -> None:
        self.f0_hz, self.level, self.voicing, self.inharmonicity = (np.zeros(ROWS) for _ in range(4))
        self.struck = np.zeros(ROWS, bool)
        self.envelope = np.zeros((ROWS, facts.envelope_cosines))
        self.offsets = np.zeros((ROWS, facts.offsets))
        self.noise = np.zeros((ROWS, facts.noise_cosines))
        self.clear()

    def clear(self) -> None:  # audio thread
        """Nothing sounds."""
        self.f0_hz[:] = 440.0
        for array in (self.level, self.voicing, self.inharmonicity, self.envelope, self.offsets, self.noise):
            array[:] = 0.0
        self.struck[:] = False
        self.harmonics = self.hiss = self.sure = 1.0
        self.transient = 0.0

    def copy_from(self, other: Played) -> None:  # audio thread
        for name in ("f0_hz", "level", "struck", "voicing", "envelope", "offsets", "noise", "inharmonicity"):
            np.copyto(getattr(self, name), getattr(other, name))
        self.harmonics, self.hiss = other.harmonics, other.hiss
        self.transient, self.sure = other.transient, other.sure
