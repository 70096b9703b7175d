"""Writes what is heard to a file, in the control process: a thread drains the ring that the audio callback fills and
that waits for nobody.

When the audio process has to be started again, the recording goes on where it was: the gap is not in it. What the
thread could not fetch before the ring came round is silence of the same length, and counted. A device that comes back
at another rate is resampled to the file's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from realtime.files.audio_files import AudioFileError, output_format
from realtime.files.recording import RecordingFile
from realtime.live.shared import RING_FRAMES, SharedBlock

DRAIN_SECONDS = 0.1
CHUNK_FRAMES = 8192
SAFE_FRAMES = RING_FRAMES - 2 * CHUNK_FRAMES  # what is older may be overwritten while it is read


@dataclass(frozen=True)
class Recorded:
    """What a recorder wrote.

    frames : samples per channel
    lost : of these, the samples that are silence because the disk was too slow
    path : None if nothing was heard
    """

    frames: int
    lost: int
    seconds: float
    path: Path | None


class Recorder:
    """Records from the first sound of `block` to `close`.

    path : the file, .wav or .flac by its extension. Until `close` it is written beside itself, as NAME.part.
    say : told in one line if recording has to end early; the sound goes on.
    drain_seconds : how often the thread looks for new sound; the ring holds RING_FRAMES of it.

    Raises
    ------
    AudioFileError
        If the extension is unknown or the folder cannot be written to.
    """

    def __init__(
        self, block: SharedBlock, path: Path, say: Callable[[str], None], *, drain_seconds: float = DRAIN_SECONDS
    ) -> None:
        output_format(path)
        if not path.parent.is_dir():
            raise AudioFileError(f"cannot record to {path}: there is no folder {path.parent}")
        self._record, self._path, self._say = block.record, path, say
        self._file: RecordingFile | None = None
        self._resampler: soxr.ResampleStream | None = None
        self._rate, self._drain_seconds = 0, drain_seconds
        self._failed = False
        self._read = int(self._record["ring_frames"])
        self._frames = self._lost = 0
        self._chunk = np.zeros((CHUNK_FRAMES, self._record["ring"].shape[1]), np.float32)
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._drain_often, name="neiro recorder", daemon=True)
        self._thread.start()

    def close(self) -> Recorded:
        """Write what is left and give the file its name. The audio process should have ended before."""
        self._leave.set()
        self._thread.join()
        self.drain()
        if self._file is None:
            return Recorded(0, 0, 0.0, None)
        path = None
        with self._told():
            self._file.finish()
            path = self._path
        return Recorded(self._frames, self._lost, self._frames / self._file.sample_rate, path)

    def _drain_often(self) -> None:
        while not self._leave.wait(self._drain_seconds):
            self.drain()

    def drain(self) -> None:
        """Everything new, to the file."""
        written = int(self._record["ring_frames"])
        if self._failed or written == self._read:
            return
        with self._told():
            rate = round(float(self._record["sample_rate"]))
            if self._file is None:
                self._file, self._rate = RecordingFile(self._path, rate, self._chunk.shape[1]), rate
            if rate != self._rate:
                self._rate = rate
                same = rate == self._file.sample_rate
                self._resampler = (
                    None
                    if same
                    else soxr.ResampleStream(rate, self._file.sample_rate, self._chunk.shape[1], dtype="float32")
                )
            while self._read < written:
                self._fetch(min(CHUNK_FRAMES, written - self._read))
            self._file.save_header()

    def _fetch(self, n: int) -> None:
        """The next n frames, from ring to file."""
        assert self._file is not None
        start = self._read % RING_FRAMES
        first = min(n, RING_FRAMES - start)
        chunk, ring = self._chunk[:n], self._record["ring"]
        chunk[:first], chunk[first:] = ring[start : start + first], ring[: n - first]
        overwritten = int(np.clip(int(self._record["ring_frames"]) - SAFE_FRAMES - self._read, 0, n))
        chunk[:overwritten] = 0.0
        self._read += n
        self._lost += overwritten
        samples = self._resampler.resample_chunk(chunk) if self._resampler is not None else chunk
        self._file.write(samples)
        self._frames += len(samples)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except AudioFileError as error:
            self._failed = True
            self._say(f"{error}; recording ended, the sound goes on")
