"""A sound file block by block, to its real end, with what is wrong with it.

The package `decode` is in `realtime` and in `training`, word for word but for its own name, since neither may import
the other; a test holds them together.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from realtime.files.decode import chunks, flac, mpeg, ogg
from realtime.files.decode.sizes import MOST_HEADER_BYTES, compared
from realtime.files.decode.source import Piece, Plan, SplicedFile

BLOCK_BYTES = 2**20  # decoded at a time
_MOST_FRAMES = 2**62  # libsndfile's word for a length that it does not know lies beyond
_SIZES = re.compile(r"(\d+) \(should be (\d+)\)")  # in libsndfile's log, of formats that we do not read the header of


class DecodeError(Exception):
    """A file that cannot be decoded; the message is the reason, in a few words."""


class SoundReader:
    """A file that is being decoded.

    sample_rate : Hz;  channels : of the first stream in it;  subtype : libsndfile's name of its coding
    cut_off : what is missing of it, a clause that "it" stands before; "" if nothing
    remarks : what is wrong with its header, a clause each
    Both are known when the last block was read.

    Raises
    ------
    DecodeError
        If it is no sound that libsndfile knows, or several of different rates or channels.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self._spliced: SplicedFile | None = None
        try:
            self._plan, self._declared = self._look()
            self._streams: tuple[tuple[Piece, ...] | None, ...] = self._plan.sources or (None,)
            self._sound = self._opened(self._streams[0])
        except BaseException:
            self._file.close()
            raise
        self.sample_rate, self.channels = self._sound.samplerate, self._sound.channels
        self.subtype = self._sound.subtype
        self.cut_off, self.remarks = self._plan.cut_off, self._plan.remarks

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sound.close()
        self._file.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """(frames, channels), float32, each; call it once."""
        found = 0
        for number, stream in enumerate(self._streams):
            if number:
                self._sound.close()
                self._sound = self._opened(stream)
                if (self._sound.samplerate, self._sound.channels) != (self.sample_rate, self.channels):
                    raise DecodeError("it is several sounds of different rates or channels, one after the other")
            for block in self._decoded():
                found += len(block)
                yield block
        self._judge(found)

    def _look(self) -> tuple[Plan, int]:
        """How to read the file, and the samples that it declares where its plan leaves them out."""
        size = os.fstat(self._file.fileno()).st_size
        magic = self._file.read(4)
        if magic in chunks.MAGIC:
            return chunks.plan(self._file, size) or Plan(), 0
        if magic == flac.MAGIC:
            return flac.plan(self._file, size)
        if magic == ogg.MAGIC:
            return self._mapped(ogg.plan), 0
        return (self._mapped(mpeg.plan) if magic.startswith((b"ID3", b"\xff")) else Plan()), 0

    def _mapped(self, plan: Callable[[mmap.mmap], Plan | None]) -> Plan:
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return plan(content) or Plan()

    def _opened(self, stream: tuple[Piece, ...] | None) -> soundfile.SoundFile:
        self._spliced = None if stream is None else SplicedFile(self._file, stream)
        # As bytes, since soundfile refuses names that are not text.
        name = str(self._path) if os.name == "nt" else os.fsencode(self._path)
        try:
            return soundfile.SoundFile(self._spliced or name)
        except soundfile.LibsndfileError as error:
            self._raise_failure()
            raise DecodeError(_words(error)) from None
        except (TypeError, ValueError) as error:  # what soundfile itself cannot take
            raise DecodeError(_words(error)) from None

    def _decoded(self) -> Iterator[np.ndarray]:
        """Blocks of the stream that is open. What cannot be decoded ends it.

        (Not by soundfile's own method: that asks for the length and the place, which some formats do not know.)
        """
        most = max(1, BLOCK_BYTES // (4 * self.channels))
        while True:
            block = np.empty((most, self.channels), np.float32)
            values = soundfile._ffi.cast("float*", block.ctypes.data)
            count = int(soundfile._snd.sf_readf_float(self._sound._file, values, most))
            self._raise_failure()
            if count > 0:
                yield block[:count]
            else:
                code = soundfile._snd.sf_error(self._sound._file)
                if code and not self.cut_off:
                    self.cut_off = f"breaks off where it cannot be decoded ({_words(soundfile.LibsndfileError(code))})"
                return

    def _raise_failure(self) -> None:
        if self._spliced and self._spliced.failure:
            raise self._spliced.failure

    def _judge(self, found: int) -> None:
        """Compare what was found with what the header says of it."""
        declared = self._declared
        if self._plan.counts and not self._plan.sources:
            declared = self._sound.frames if self._sound.frames < _MOST_FRAMES else 0
            for held, size in ((int(held), int(size)) for size, held in _SIZES.findall(self._sound.extra_info)):
                cut_off, remark = compared(size, held, MOST_HEADER_BYTES, "bytes")
                self.cut_off = self.cut_off or cut_off
                self.remarks += (remark,) if remark and not self.remarks else ()
        if found < declared and not self.cut_off:
            self.cut_off = f"declares {declared} samples and holds {found}"
        elif declared and found > declared:
            self.remarks += (f"its header declares {declared} samples and it holds {found}",)


def _words(error: Exception) -> str:
    return " ".join((getattr(error, "error_string", "") or str(error)).split()).strip(" .")
