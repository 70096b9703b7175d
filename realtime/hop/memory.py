"""What a session must know to go on where another one, whose process has died, had been."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from realtime.dsp.pitch import PitchTracker
from realtime.dsp.spectrum import FrameAnalyser
from realtime.hop.edits import Edits
from realtime.hop.hearing import Hearing
from realtime.hop.model import StreamingModel


class Memory:
    """Writes the parts' state to a `realtime.hop.published` record and reads it back.

    Its length is `realtime.hop.published.memory_floats`.
    """

    def __init__(
        self, model: StreamingModel, frame: FrameAnalyser, pitch: PitchTracker | Hearing, edits: Edits
    ) -> None:
        self._model, self._frame, self._pitch, self._edits = model, frame, pitch, edits

    def write(self, published: np.ndarray) -> None:  # audio thread
        """Into the bank that nobody reads, which then becomes the one to read."""
        bank = 1 - max(0, int(published["bank"]))
        memory, end = published["memory"][bank], 0
        for array in self._arrays():
            memory[end : end + array.size] = array.reshape(-1)
            end += array.size
        level, count = self._frame.level_state
        note = self._pitch.midi_note
        held = sum(2**i for i, kept in enumerate(self._edits.kept.values()) if kept.on)
        memory[end : end + 4] = level, count, math.nan if note is None else note, held
        published["bank"] = bank

    def read(self, published: np.ndarray) -> bool:
        """Take over what was written last. False, and nothing changed, if nothing (or nothing sound) is there."""
        bank = int(published["bank"])
        if bank not in (0, 1):
            return False
        memory = published["memory"][bank].copy()
        note = memory[-2]
        if not np.isfinite(np.delete(memory, -2)).all():
            return False
        end = 0
        for array in self._arrays():
            array[:] = memory[end : end + array.size].reshape(array.shape)
            end += array.size
        self._frame.restore(float(memory[-4]), int(memory[-3]))
        if math.isfinite(note):
            self._pitch.midi_note = float(note)
        for i, kept in enumerate(self._edits.kept.values()):
            if int(memory[-1]) >> i & 1:
                kept.on, kept.share = True, 1.0
        return True

    def _arrays(self) -> Iterator[np.ndarray]:  # audio thread
        yield from self._model.states().values()
        yield from self._model.latents.values()
        for kept in self._edits.kept.values():
            yield kept.held
