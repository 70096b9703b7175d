"""Sizes that a header declares, beside what is there."""

from __future__ import annotations

# What programs that write into a pipe declare, where they cannot know: from 0x7F000000 (sox, AIFF) and 0x7FFFF000
# (sox, WAV) to all ones, some rounded down to whole samples.
UNKNOWN_BYTES = 0x7EFF0000
MOST_HEADER_BYTES = 512


def compared(declared: int, held: int, header_bytes: int, unit: str = "bytes of sound") -> tuple[str, str]:
    """What a size that is larger than what is there means.

    header_bytes : before the sound; a size too large by no more than this is a writer's mistake (it counted its header)

    Returns
    -------
    what is missing, what is wrong with the header; "" each where there is nothing of the kind
    """
    if declared <= held or declared >= UNKNOWN_BYTES:
        return "", ""
    if declared - held <= min(header_bytes, MOST_HEADER_BYTES):
        return "", f"its header declares {declared} {unit} and it holds {held}"
    return f"declares {declared} {unit} and holds {held}", ""
