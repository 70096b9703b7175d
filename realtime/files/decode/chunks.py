"""WAV, RF64 and AIFF: chunks with sizes, any of which can be wrong while the sound is whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from realtime.files.decode.sizes import UNKNOWN_BYTES, compared
from realtime.files.decode.source import Plan, patched

MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM")
_ALL_ONES = 0xFFFFFFFF
_SSND_HEADER = 8  # offset and block size come before the samples of an AIFF file
_JUNK_BYTES = 1024  # after the sound; more than this, and no chunks, is sound
_TAIL_BYTES = 2**16
_AFTER_SOUND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"cue ", b"smpl", b"fact", b"PEAK", b"NAME",
                b"ANNO", b"AUTH", b"MARK", b"INST", b"COMT", b"(c) ")  # fmt: skip


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int  # of its content
    size: int  # as declared


def plan(file: BinaryIO, size: int) -> Plan | None:
    """How to read a file that begins with one of `MAGIC`; None where its sound is not found.

    size : bytes of the file
    """
    file.seek(0)
    magic = file.read(4)
    order = ">" if magic in (b"FORM", b"RIFX") else "<"
    whole = struct.unpack(order + "I", file.read(4))[0]
    form = file.read(4)
    wanted = b"SSND" if magic == b"FORM" else b"data"
    if form not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    before = {}
    for chunk in _chunks(file, 12, size, order):
        before[chunk.name] = chunk
        if chunk.name == wanted:
            break
    else:
        return None
    skipped = _SSND_HEADER if wanted == b"SSND" else 0
    start, declared, patches = chunk.start + skipped, chunk.size - skipped, {}
    if magic == b"RF64" and b"ds64" in before and chunk.size == _ALL_ONES:
        file.seek(before[b"ds64"].start)
        whole, declared = struct.unpack("<QQ", file.read(16))
    held, cut_off, remark = _sound_bytes(file, start, declared, size, order)
    if not cut_off and not remark and whole != 0 and size < whole + 8 and whole < UNKNOWN_BYTES:
        remark = f"its header declares {whole + 8} bytes and it has {size}, with all of the sound"
    if held == declared and whole + 8 == size:
        return Plan()
    for offset, value in ((4, size - 8), (chunk.start - 4, held + skipped)):
        patches[offset] = struct.pack(order + "I", min(value, _ALL_ONES))
    if magic == b"RF64" and b"ds64" in before:
        patches = {before[b"ds64"].start: struct.pack("<QQ", size - 8, held)}
    return Plan((patched(size, patches),), cut_off, (remark,) if remark else ())


def _sound_bytes(file: BinaryIO, start: int, declared: int, size: int, order: str) -> tuple[int, str, str]:
    """How many bytes of sound there are, what is missing, what is wrong with the header."""
    held = size - start
    if declared > held:
        end = _end_of_sound(file, start, size, order) - start
        cut_off, remark = compared(declared, end, start)
        return (held if cut_off else end), cut_off, remark
    declared = max(declared, 0)
    rest = held - declared
    if rest <= (_JUNK_BYTES if declared else 1) or _only_chunks(file, start + declared, size, order):
        return declared, "", ""
    end = _end_of_sound(file, start, size, order) - start
    return end, "", f"its header declares {declared} bytes of sound and it holds {end}"


def _chunks(file: BinaryIO, place: int, size: int, order: str) -> Iterator[_Chunk]:
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(order + "4sI", file.read(8))
        yield _Chunk(name, place + 8, length)
        place += 8 + length + length % 2


def _only_chunks(file: BinaryIO, place: int, size: int, order: str) -> bool:
    """Whether chunks fill the file from here on, padded to even sizes or not. (Some writers forget the padding.)"""
    while size - place > 8:
        file.seek(place)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if not name.isascii() or not name.decode().isprintable():
            file.seek(place + 1)
            name, length = struct.unpack(order + "4sI", file.read(8).ljust(8, b"\xff"))
            if not name.isascii() or not name.decode().isprintable():
                return False
            place += 1
        place += 8 + length
        if place > size + 1:
            return False
    return True


def _end_of_sound(file: BinaryIO, start: int, size: int, order: str) -> int:
    """Where sound without a size ends: before the chunks that fill the rest of the file, else at its end."""
    first = max(start, size - _TAIL_BYTES)
    file.seek(first)
    tail = file.read()
    places = sorted(place for name in _AFTER_SOUND if (place := tail.find(name)) >= 0)
    return next((first + place for place in places if _only_chunks(file, first + place, size, order)), size)
