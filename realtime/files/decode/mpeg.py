"""MPEG audio (MP3): frames, counted one by one, since no header of it is sure to know their number."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap

from realtime.files.decode.source import Piece, Plan

_KBITS = {  # by MPEG-1 or not, and layer; index 0 is a free rate, 15 is none
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version bits
_SAME = 0xFFFE0C00  # bits that all frames of a stream share: sync, version, layer, rate
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")
_OTHERS = (b"fLaC", b"OggS", b"RIFF", b"FORM")  # behind an ID3 tag as well
_LAME_DELAY_AT = 21  # delay and padding, 12 bits each, so many bytes into LAME's part of the tag
_MOST_JUNK_BYTES = 4096  # between frames that nobody needs to be told of


@dataclass(frozen=True)
class _Tag:
    """The frame that counts the others (Xing, Info or VBRI). `frames` 0: it does not; `place` : of its counts."""

    frames: int
    place: int
    patchable: bool
    delay_place: int  # 0 where it has none


def plan(content: mmap | bytes) -> Plan | None:
    """How to read it: its frames, and nothing else, behind a tag that counts them; None where it has none."""
    if content[(place := _after_id3(content)) : place + 4] in _OTHERS:
        return None
    ranges, sizes, cut, junk = _walk(content)
    if not sizes:
        return None
    first = ranges[0][0]
    header = int.from_bytes(content[first : first + 4], "big")
    layer3, tag = (header >> 17) & 3 == 1, _tag(content, first, sizes[0])
    if tag:
        frames, ranges = len(sizes) - 1, [(first + sizes[0], ranges[0][1]), *ranges[1:]]
    else:
        frames = len(sizes)
    missing = tag.frames - frames if tag else 0
    cut_off = f"declares {tag.frames} frames and holds {frames}" if tag and missing > 1 else ""
    if not cut_off and cut and not (tag and tag.frames):
        cut_off = "ends within a frame"
    remarks = (
        [f"its header counts {tag.frames} frames and it holds {frames}"] if tag and tag.frames and missing < -1 else []
    )
    if junk > _MOST_JUNK_BYTES:
        remarks.append(f"it has {junk} bytes among its frames that are none of this sound and were passed over")
    total = sum(end - start for start, end in ranges)
    lead: Piece = b""
    if layer3 and frames:
        old = content[first : first + sizes[0]]
        lead = (
            _patched_tag(old, tag, frames, total, missing) if tag and tag.patchable else _new_tag(header, frames, total)
        )
    return Plan(((lead, *ranges),), cut_off, tuple(remarks), counts=False)


def _walk(content: mmap | bytes) -> tuple[list[tuple[int, int]], list[int], bool, int]:
    """Stretches of whole frames, the bytes of every frame, whether the last one is not complete, bytes between them."""
    end, junk = len(content), 0
    ranges: list[tuple[int, int]] = []
    sizes: list[int] = []
    place, same = _after_id3(content), None
    lengths: dict[int, int] = {}
    while place + 4 <= end:
        header = int.from_bytes(content[place : place + 4], "big")
        if header not in lengths:
            lengths[header] = frame_bytes(header)
        size = lengths[header]
        if not size or (same is not None and _kind(header) != same):
            start, place = place, _resync(content, place + 1, same)
            if not content[start : start + 11].startswith(_TAGS):
                junk += place - start if place < end or any(content[start : start + 64]) else 0
            continue
        if same is None and not _followed(content, place, size, _kind(header)):
            place += 1
            continue
        same = _kind(header)
        if place + size > end:
            return ranges, sizes, True, junk
        if ranges and ranges[-1][1] == place:
            ranges[-1] = ranges[-1][0], place + size
        else:
            ranges.append((place, place + size))
        sizes.append(size)
        place += size
    return ranges, sizes, False, junk


def _kind(header: int) -> tuple[int, bool]:
    return header & _SAME, (header >> 6) & 3 == 3  # mono


def _followed(content: mmap | bytes, place: int, size: int, kind: tuple[int, bool]) -> bool:
    following = content[place + size : place + size + 4]
    return len(following) < 4 or _kind(int.from_bytes(following, "big")) == kind


def _resync(content: mmap | bytes, place: int, kind: tuple[int, bool] | None) -> int:
    """The next frame that another follows, else the end."""
    while 0 <= (place := content.find(b"\xff", place)) <= len(content) - 4:
        header = int.from_bytes(content[place : place + 4], "big")
        size = frame_bytes(header)
        if size and kind in (None, _kind(header)) and _followed(content, place, size, _kind(header)):
            return place
        place += 1
    return len(content)


def _after_id3(content: mmap | bytes) -> int:
    """Past the ID3v2 tags at the beginning (their size has 7 bits to a byte)."""
    place = 0
    while content[place : place + 3] == b"ID3" and len(content) >= place + 10:
        flags, *digits = content[place + 5 : place + 10]
        place += 10 + sum((digit & 127) << shift for digit, shift in zip(digits, (21, 14, 7, 0), strict=True))
        place += 10 if flags & 16 else 0
    return place


def frame_bytes(header: int) -> int:
    """Bytes of the frame with this header (32 bits); 0 where it is none, or of a free rate (ISO 11172-3, 2.4.2.3)."""
    version, layer, kbits, rate = header >> 19 & 3, 4 - (header >> 17 & 3), header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return 0
    bits_per_second = 1000 * _KBITS[version == 3, layer][kbits]
    padding = header >> 9 & 1
    if layer == 1:
        return (12 * bits_per_second // _RATES[version][rate] + padding) * 4
    slots = 72 if layer == 3 and version != 3 else 144
    return slots * bits_per_second // _RATES[version][rate] + padding


def _tag_at(header: int) -> int:
    """Bytes from the beginning of a frame to its tag: header and side information."""
    mono = (header >> 6) & 3 == 3
    return 4 + ((17 if mono else 32) if header >> 19 & 3 == 3 else (9 if mono else 17))


def _tag(content: mmap | bytes, first: int, size: int) -> _Tag | None:
    frame = content[first : first + size]
    at = _tag_at(int.from_bytes(frame[:4], "big"))
    if frame[at : at + 4] in (b"Xing", b"Info") and size >= at + 8:
        flags = frame[at + 7]
        counts = at + 8
        frames = int.from_bytes(frame[counts : counts + 4], "big") if flags & 1 else 0
        delay = counts + sum(length for bit, length in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
        delay += _LAME_DELAY_AT
        return _Tag(frames, counts, flags & 3 == 3, delay if delay + 3 <= size else 0)
    if frame[36:40] == b"VBRI" and size >= 54:
        return _Tag(int.from_bytes(frame[50:54], "big"), 0, False, 0)
    return None


def _patched_tag(frame: bytes, tag: _Tag, frames: int, total: int, missing: int) -> bytes:
    """The file's own tag with what is there; where its count was wrong, nothing is taken off the end as padding."""
    content = bytearray(frame)
    content[tag.place : tag.place + 8] = struct.pack(">II", frames, len(frame) + total)
    if missing and tag.delay_place:
        content[tag.delay_place + 1] &= 0xF0
        content[tag.delay_place + 2] = 0
    return bytes(content)


def _new_tag(header: int, frames: int, total: int) -> bytes:
    """A frame of silence that counts the others, like them in all but its bits per second."""
    at = _tag_at(header)
    options = ((header & ~0xF200 | kbits << 12) | 0x10000 for kbits in range(1, 15))
    fitting = next(option for option in options if frame_bytes(option) >= at + 16)
    size = frame_bytes(fitting)
    tag = b"Xing" + struct.pack(">III", 3, frames, size + total)
    return (fitting.to_bytes(4, "big") + bytes(at - 4) + tag).ljust(size, b"\0")
