"""Ogg: pages; several streams may follow one another in a file, of which libsndfile decodes the first."""

from __future__ import annotations

from mmap import mmap

from realtime.files.decode.source import Plan

MAGIC = b"OggS"
_FIRST, _LAST = 2, 4  # flags of a page (RFC 3533, section 6)
_HEADER_BYTES = 27
NOT_ENDED = "ends without the page that is marked as the last"


def plan(content: mmap | bytes) -> Plan:
    """How to read it: a stretch for each of the streams that are chained in it."""
    starts: list[int] = []
    place, flags, within, whole = 0, 0, False, True
    while place >= 0 and place + _HEADER_BYTES <= len(content):
        flags, segments = content[place + 5], content[place + _HEADER_BYTES - 1]
        table = content[place + _HEADER_BYTES : place + _HEADER_BYTES + segments]
        if flags & _FIRST and (within or not starts):
            starts.append(place)
        within = not flags & _FIRST
        end = place + _HEADER_BYTES + segments + sum(table)
        whole = end <= len(content)
        place = content.find(MAGIC, end)
    cut_off = "" if flags & _LAST and whole else NOT_ENDED
    stretches = [((start, end),) for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]
    return Plan(tuple(stretches) if len(stretches) > 1 else (), cut_off, counts=False)
