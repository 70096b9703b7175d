"""The audio of a data set, and where it has them the pitch tracks, any sound readable without touching the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.data.manifest import FULL_SCALE, REMAKE, DataError, SoundSet
from training.decibels import amplitude_of

PITCH_STEP_SAMPLES = 64  # a sound with a pitch track begins at a multiple of it


def pitch_file(file: Path) -> Path:
    """Where the pitch tracks of this sound file's sounds are."""
    return file.with_suffix(".pitch.f32")


class SoundStore:
    """Random access to the audio of a SoundSet. Files are mapped on first use, in each process; a pickled store carries
    no maps.
    """

    def __init__(self, sound_set: SoundSet) -> None:
        self.sound_set = sound_set
        self._maps: dict[str, np.memmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"sound_set": self.sound_set, "_maps": {}}

    def read(self, row: int, start: int = 0, length: int | None = None, *, original_level: bool = False) -> np.ndarray:
        """Samples `start` … `start + length` of one sound, fewer where the sound ends earlier.

        original_level : give back the level before normalisation; by default every whole sound peaks at `PEAK_DBFS`.

        Returns
        -------
        ndarray, (samples,), float32, full scale = 1

        Raises
        ------
        IndexError
            For a row that is not there, or a negative start or length.
        """
        if start < 0 or (length is not None and length < 0):
            raise IndexError(f"start={start} and length={length} must not be negative")
        sounds = self.sound_set
        end = int(sounds.length[row]) if length is None else min(int(sounds.length[row]), start + length)
        offset = int(sounds.offset[row])
        samples = self._map(str(sounds.file[row]))[offset + min(start, end) : offset + end]
        scale = (amplitude_of(float(sounds.gain_db[row])) if original_level else 1.0) / FULL_SCALE
        return samples.astype(np.float32) * np.float32(scale)

    def pitch_track(self, row: int) -> np.ndarray | None:
        """How the pitch of one sound moves; None where the data set has no tracks.

        Returns
        -------
        ndarray, (⌈length / PITCH_STEP_SAMPLES⌉,), float32, MIDI note, NaN where no pitch is heard

        Raises
        ------
        DataError
            If the tracks are damaged.
        """
        sounds = self.sound_set
        path = pitch_file(sounds.directory / str(sounds.file[row]))
        if not path.is_file():
            return None
        first, count = int(sounds.offset[row]) // PITCH_STEP_SAMPLES, -(-int(sounds.length[row]) // PITCH_STEP_SAMPLES)
        try:
            track = np.fromfile(path, "<f4", count, offset=4 * first)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}); {REMAKE} {sounds.directory}") from None
        if len(track) < count:
            size = path.stat().st_size
            raise DataError(
                f"{path} has {size} bytes, sound {sounds.sound[row]} needs {4 * (first + count)}; {REMAKE} "
                f"{sounds.directory}"
            )
        return track

    def _map(self, file: str) -> np.memmap:
        if file not in self._maps:
            try:
                self._maps[file] = np.memmap(self.sound_set.directory / file, dtype="<i2", mode="r")
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{self.sound_set.directory / file} cannot be read ({error}); {REMAKE} {self.sound_set.directory}"
                ) from None
        return self._maps[file]
