"""A sound file that grows for hours and opens at any moment, even if the program is killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from realtime.files.atomic_file import replaceable
from realtime.files.audio_files import AudioFileError, output_format

UPDATE_HEADER_NOW, RF64_AUTO_DOWNGRADE = 0x1060, 0x1210  # commands of libsndfile that soundfile has no names for


class RecordingFile:
    """Written as NAME.part, beside `path`, and renamed by `finish`.

    A WAV file is an RF64 file until it is finished, so that it may exceed 4 GB; one that did not is then an ordinary
    WAV file.

    Raises
    ------
    AudioFileError
        Here and in every method, if the format cannot hold this sound or the disk refuses; what was written is kept.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        if not replaceable(path):
            raise AudioFileError(f"cannot record to {path}: it is no regular file; choose a file")
        self.path, self.sample_rate = path, sample_rate
        self._part = path.with_name(f"{path.name}.part")
        kind, subtype = output_format(path)
        with self._refusals():
            kind = "RF64" if kind == "WAV" else kind
            self._file = soundfile.SoundFile(
                str(self._part), "w", samplerate=sample_rate, channels=channels, format=kind, subtype=subtype
            )
        if kind == "RF64":
            self._command(RF64_AUTO_DOWNGRADE)

    def write(self, samples: np.ndarray) -> None:
        """samples : (frames, channels), float32"""
        with self._refusals():
            self._file.write(samples)

    def save_header(self) -> None:
        """Let the header know of everything written so far."""
        self._command(UPDATE_HEADER_NOW)

    def finish(self) -> None:
        """Close and rename."""
        with self._refusals():
            try:
                self._file.close()
            finally:
                os.replace(self._part, self.path)  # noqa: PTH105  also what a full disk cut short

    def _command(self, number: int) -> None:
        soundfile._snd.sf_command(self._file._file, number, soundfile._ffi.NULL, 1)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, AssertionError, ValueError) as error:  # soundfile asserts complete writes
            reason = (
                getattr(error, "strerror", None)
                or getattr(error, "error_string", None)
                or str(error)
                or "not everything was written"
            )
            raise AudioFileError(f"cannot record to {self.path} ({reason.strip(' .')}; is the disk full?)") from None
