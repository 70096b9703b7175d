"""What libsndfile is given to read in place of a file: pieces of it, with a header that is right."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

Piece: TypeAlias = bytes | tuple[int, int]  # bytes as they are, or start and end within the file


@dataclass(frozen=True)
class Plan:
    """How a file is read, found by looking at its structure and not at its counts.

    sources : the pieces of each stretch to decode, one stretch after the other; none: the file as it is
    cut_off : what is missing of it, a clause that "it" stands before; "" if nothing
    remarks : what is wrong with its header, a clause each
    counts : whether the length that libsndfile tells is that of an undamaged file
    """

    sources: tuple[tuple[Piece, ...], ...] = ()
    cut_off: str = ""
    remarks: tuple[str, ...] = ()
    counts: bool = True


class SplicedFile(io.RawIOBase):
    """Pieces of a file and bytes of our own, as one file that is read. `failure` is the error that reading met."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file, self._pieces, self._place = file, [piece for piece in pieces if _length(piece)], 0
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + _length(piece))
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        end = self._starts[-1] if size < 0 else min(self._starts[-1], self._place + size)
        parts = []
        while self._place < end:
            index = bisect_right(self._starts, self._place) - 1
            part = self._part(index, self._place - self._starts[index], end - self._place)
            if not part:
                break
            parts.append(part)
            self._place += len(part)
        return b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _part(self, index: int, start: int, most: int) -> bytes:
        piece = self._pieces[index]
        if isinstance(piece, bytes):
            return piece[start : start + most]
        try:
            self._file.seek(piece[0] + start)
            return self._file.read(min(most, piece[1] - piece[0] - start))
        except OSError as error:  # raised within libsndfile it would be printed
            self.failure = error
            return b""


def patched(size: int, patches: dict[int, bytes]) -> tuple[Piece, ...]:
    """Pieces of a file of so many bytes, other bytes at some offsets."""
    pieces: list[Piece] = []
    done = 0
    for offset in sorted(patches):
        pieces += [(done, offset), patches[offset]]
        done = offset + len(patches[offset])
    return (*pieces, (done, size))


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
