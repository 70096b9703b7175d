"""What a way out to sound is, and what a hop tells it.

A way out has two sides. The *hop side* (`describe`, `rest`, `reset_hop_side`) turns what the model decoded into what
shall sound; it runs where the model runs, on the audio thread or on the worker's. The *sound side* (everything else)
makes samples from the newest description, always on the audio thread. The two share nothing but the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from realtime.outputs.synth.played import Played


class DecodedHop:
    """Everything a way out may want to know of a hop. One object per step, its fields are set anew at each hop.

    decoded : (2, bins), float32, natural log; row 0 as heard, row 1 as edited
    log_amplitude, amplitude : (bins,), of the input's frame that was decoded;  sounding : whether it sounds
    level : linear, what the newest frame was divided by
    period_samples : of the sound's pitch at the model's rate, 0 if it has none
    settled : nothing is edited, and the last edit's echo in the decoder is gone
    mix, gain : smoothed knobs, linear;  phase : knob
    keys : MIDI notes play;  velocity : 0 … 1, of the note held, 0 if none is
    played : the voices that a harmonic model draws; None for other kinds
    """

    def __init__(self, bins: int, played: Played | None = None) -> None:
        self.played = played
        self.decoded: np.ndarray = np.zeros((2, bins), np.float32)
        self.log_amplitude: np.ndarray = np.zeros(bins, np.float32)
        self.amplitude: np.ndarray = np.zeros(bins)
        self.sounding = self.settled = self.keys = False
        self.mix, self.gain = 1.0, 1.0
        self.level = self.period_samples = self.phase = self.velocity = 0.0


class Part(Protocol):
    """What one hop tells one way out. Its arrays are overwritten when the same object is used again.

    A part may have a `share`, 0 … 1: how much of the way out's level it takes; the first way out takes the rest.
    """

    def clear(self) -> None:  # audio thread
        """Nothing is described: the dry sound shall pass."""


class Answer:
    """What the sound side does until the next hop's answer.

    parts : one for each way out;  levels : of each, 0 … 1
    gain : linear;  wet, dry : shares of edited and dry sound, without `gain`
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.levels = [1.0] + [0.0] * (len(parts) - 1)
        self.gain, self.wet, self.dry = 1.0, 1.0, 0.0

    def pass_dry(self, gain: float) -> None:  # audio thread
        """The dry sound, through the first way out."""
        self.gain, self.wet, self.dry = gain, 0.0, 1.0
        for i, part in enumerate(self.parts):
            part.clear()
            self.levels[i] = 1.0 if i == 0 else 0.0


class Output(Protocol):
    """A way out to sound.

    name : what it is called; the knob of this name is its level (the first way out sounds as the others leave room)
    latency_samples : from in to out at the device's rate
    """

    name: str
    latency_samples: int

    def new_part(self) -> Any:
        """An object for `describe` to fill."""

    def reset_hop_side(self) -> None:
        """As new."""

    def describe(self, hop: DecodedHop, part: Any) -> None:  # audio thread
        """What shall sound; called for every hop in which this way out has a level."""

    def rest(self, hop: DecodedHop) -> None:  # audio thread
        """The model was not asked, or failed; `hop` has the input's frame alone."""

    def reset(self) -> None:
        """The sound side as new: the same sound gives the same answer, bit for bit."""

    def warm_up(self, part: Any) -> None:
        """Touch every buffer and code path of the sound side; `reset` follows."""

    def begin(self, mix: float, gain: float) -> None:
        """After a reset: as if the knobs had always stood there."""

    def wake(self, answer: Answer, part: Any) -> None:  # audio thread
        """It was not heard and is to be heard from now on; `change` follows."""

    def change(self, answer: Answer, part: Any) -> None:  # audio thread
        """From now on as described, by a fade; called only for the first way out, and for those that have a level."""

    def process(self, dry: np.ndarray, mono: np.ndarray, heard: bool) -> np.ndarray:  # audio thread
        """The next samples, within a hop.

        dry : (channels, n);  mono : (n,), their mean
        heard : if not, the input is only remembered and what is returned is not used

        Returns
        -------
        ndarray, (channels, n), a view overwritten by the next call, or `dry` itself
        """
