"""All ways out side by side, each at its level, fading where levels move; nothing is computed that is not heard."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from realtime.dsp.fader import Fader
from realtime.outputs.base import Answer, Output


class Mixer:
    """out = Σ level · way out. The first way out hears every sample; the others sleep while they have no level.

    Parameters
    ----------
    outputs : the ways out
    channels : int
    fade_samples : how long a change of level takes
    most : largest block, samples
    seconds : ndarray, (outputs,), seconds spent on each; this is its only writer
    """

    def __init__(
        self, outputs: Sequence[Output], channels: int, fade_samples: int, most: int, seconds: np.ndarray
    ) -> None:
        self._outputs, self._seconds = tuple(outputs), seconds
        self._levels = [Fader(fade_samples, most, 1.0 if i == 0 else 0.0) for i in range(len(self._outputs))]
        self._awake = [i == 0 for i in range(len(self._outputs))]
        self._sum, self._scaled = np.zeros((channels, most)), np.zeros((channels, most))
        self._most = most

    def reset(self) -> None:
        for i, output in enumerate(self._outputs):
            output.reset()
            self._levels[i].reset()
            self._awake[i] = i == 0

    def begin(self, levels: Sequence[float], mix: float, gain: float) -> None:
        """After a reset: as if the knobs had always stood there.

        levels : of every way out
        """
        for i, output in enumerate(self._outputs):
            self._levels[i].reset(levels[i])
            output.begin(mix, gain)
            self._awake[i] = i == 0 or levels[i] > 0.0

    def warm_up(self, answer: Answer) -> None:
        """Touch every buffer and code path that a first hop would otherwise pay for; `reset` follows."""
        dry = np.zeros((self._sum.shape[0], self._most))
        for output, part in zip(self._outputs, answer.parts, strict=True):
            output.warm_up(part)
            output.process(dry, dry[0], True)

    def change(self, answer: Answer) -> None:  # audio thread
        """From now on, by a fade."""
        for i, output in enumerate(self._outputs):
            level = self._levels[i]
            level.go(answer.levels[i])
            heard = i == 0 or not level.silent
            if heard and not self._awake[i]:
                output.wake(answer, answer.parts[i])
            if i == 0 or answer.levels[i] > 0.0:
                output.change(answer, answer.parts[i])
            self._awake[i] = heard

    def process(self, dry: np.ndarray, mono: np.ndarray, out: np.ndarray) -> None:  # audio thread
        """dry, out : (channels, n), within a hop;  mono : (n,), their mean"""
        n, total = dry.shape[1], self._sum[:, : dry.shape[1]]
        alone = not any(self._awake[1:]) and self._levels[0].open
        for i, output in enumerate(self._outputs):
            started = time.perf_counter()
            sound = output.process(dry, mono, self._awake[i])
            level = self._levels[i]
            if i == 0 and alone:
                out[:] = sound  # at rest, bit for bit
            elif i == 0:
                np.multiply(sound, level.process(n), out=total)
            elif self._awake[i]:
                total += np.multiply(sound, level.process(n), out=self._scaled[:, :n])
            self._seconds[i] += time.perf_counter() - started
        if not alone:
            out[:] = total
