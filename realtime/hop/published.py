"""What the session lets others see of the sound, and what it needs to go on after its process died: one record, perhaps
in shared memory.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest

EXTRAS = 4  # level, frames counted, note heard, whether something is held


def memory_floats(manifest: Manifest) -> int:
    """Everything a session remembers for longer than a window: states of both graphs, latents, what is held or frozen,
    the level.
    """
    ports = (port for name in manifest.streaming for port in manifest.graphs[name].states)
    states = sum(math.prod(int(size) for size in port.shape) for port in ports)
    return states + 2 * sum(manifest.latents.values()) + EXTRAS


def published_record(timbre: int, memory: int) -> np.dtype:
    """timbre, memory : their sizes.

    Writer of every field: the session (audio thread). A reader may see two neighbouring hops mixed, which does no harm.
    """
    return np.dtype(
        [
            ("timbre", "<f8", (timbre,)),  # z^t as heard
            ("midi_note", "<f8"),  # the pitch heard last, NaN = none yet
            ("memory", "<f8", (2, memory)),  # two banks: the one that is not `bank` may be half written
            ("bank", "<i8"),  # the bank that is whole, −1 = none yet
        ]
    )


def new_published(manifest: Manifest) -> np.ndarray:
    """One record, shape (), of nothing heard yet."""
    record = np.zeros((), published_record(manifest.timbre_size, memory_floats(manifest)))
    clear_published(record)
    return record


def clear_published(record: np.ndarray) -> None:
    record["midi_note"], record["bank"] = math.nan, -1
