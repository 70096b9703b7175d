"""What a hop tells the ways out. The hop's step fills it in; each way out reads the fields it needs."""

from __future__ import annotations

import numpy as np


class Answer:
    """What the audio side does until the next one. Arrays are overwritten when the same object is used again.

    filtered : whether `response`, (taps,), is the filter; else the dry sound passes, times `gain`
    wet, dry : linear, shares of edited and dry sound, without `gain`
    resynth : 0 … 1, share of that way out;  phase : 0 … 1, of it
    curve : (bins,), the decoded spectrum as edited;  log_amplitude, amplitude : (bins,), of the frame it answers
    sounding : of that frame
    level : linear, what the frame was divided by;  keys : notes play;  velocity : of the note held, 0 if none is
    """

    def __init__(self, bins: int, taps: int) -> None:
        self.response = np.zeros(taps)
        self.curve, self.log_amplitude, self.amplitude = (np.zeros(bins) for _ in range(3))
        self.filtered = self.sounding = self.keys = False
        self.gain, self.wet, self.dry = 1.0, 1.0, 0.0
        self.resynth = self.phase = self.level = self.velocity = 0.0

    def pass_dry(self, gain: float) -> None:  # audio thread
        self.filtered, self.gain, self.wet, self.dry, self.resynth = False, gain, 0.0, 1.0, 0.0
