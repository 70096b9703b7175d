"""FLAC: the number of samples in its header, which may be 0 for unknown, or wrong."""

from __future__ import annotations

from typing import BinaryIO

from training.data.decode.source import Plan, patched

MAGIC = b"fLaC"
_TOTAL_AT = 4 + 4 + 13  # marker, block header, then sizes, rate, channels and bits; the low 4 bits belong to the total
_TOTAL_BYTES = 5


def plan(file: BinaryIO, size: int) -> tuple[Plan, int]:
    """How to read it, without its count, and that count (RFC 9639, section 8.2); 0 where it tells none."""
    file.seek(_TOTAL_AT)
    field = file.read(_TOTAL_BYTES)
    if len(field) < _TOTAL_BYTES:
        return Plan(), 0
    total = int.from_bytes(field, "big") & (2**36 - 1)
    return Plan((patched(size, {_TOTAL_AT: bytes([field[0] & 0xF0]) + bytes(4)}),), counts=False), total
