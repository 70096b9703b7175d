"""The shared-memory block between the control process and the audio process. Every field names its single writer.

The memory has no name that could be left behind: an anonymous file whose descriptor the child inherits (on Windows a mapping that
vanishes with its last user). It is gone when both processes are, whatever ended them.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import secrets
import sys
import tempfile

import numpy as np
from pydantic import BaseModel, ConfigDict

from realtime.meters import METERS


class State(enum.IntEnum):
    """Where the audio process stands."""

    STARTING = 0
    WAITING = 1  # for a device or audio server that is not there now
    RUNNING = 2
    FAILED = 3  # `message` says why


class StreamRequest(BaseModel):
    """What the control process asks of the audio process; travels as JSON on its command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: str  # handle of the SharedBlock
    targets: int  # knob targets, so that both sides agree on the layout
    generation: int
    bundle: str
    device: str | None
    input_device: str | None
    output_device: str | None
    channels: int
    block_size: int  # samples, 0 = the driver's choice
    provider: str
    wait_for_device: bool  # look for the device until it is there, rather than fail


def layout(targets: int) -> np.dtype:
    """The record for a bundle with that many knob targets."""
    return np.dtype(
        [
            # Writer: the control process.
            ("knobs", "<f8", (targets,)),
            # Writer: the session, in the audio callback of the audio process.
            ("meters", METERS),
            # Writer: the audio callback.
            ("xruns", "<i8"),  # blocks flagged late by the driver
            ("callback_errors", "<i8"),  # blocks passed through dry because the session raised
            ("block_samples", "<i8"),  # size of the last block
            # Writer: the audio process, outside the callback.
            ("generation", "<i8"),  # which start, counted by the parent, the fields below belong to
            ("state", "<i8"),  # a State
            ("heartbeat", "<i8"),  # grows while the process is alive
            ("sample_rate", "<f8"),
            ("channels", "<i8"),
            ("latency_samples", "<i8"),  # the session's own
            ("input_latency_seconds", "<f8"),  # the device's; NaN = not known
            ("output_latency_seconds", "<f8"),
            ("provider", "S64"),
            ("provider_note", "S512"),
            ("input_device", "S256"),
            ("output_device", "S256"),
            ("message", "S2048"),  # why it failed, waits or left
        ],
        align=True,
    )


class SharedBlock:
    """One record of `layout(targets)` in shared memory.

    record : ndarray, shape (), the record itself; `record["knobs"]` and so on are views into the shared memory.
    handle : what the child needs to find the memory, see `attach`.
    descriptor : the file descriptor to pass to the child, None on Windows.
    """

    def __init__(self, targets: int, handle: str | None = None) -> None:
        dtype = layout(targets)
        self.descriptor: int | None = None
        if sys.platform == "win32":
            self.handle = handle or f"neiro-{os.getpid()}-{secrets.token_hex(8)}"
            self._memory = mmap.mmap(-1, dtype.itemsize, tagname=self.handle)
        else:
            self.descriptor = _anonymous_file(dtype.itemsize) if handle is None else int(handle)
            self.handle = str(self.descriptor)
            self._memory = mmap.mmap(self.descriptor, dtype.itemsize)
        self.record = np.ndarray((), dtype, buffer=self._memory)

    @classmethod
    def attach(cls, targets: int, handle: str) -> SharedBlock:
        """The same memory, in the child."""
        return cls(targets, handle)

    def write_text(self, field: str, text: str) -> None:
        self.record[field] = text.encode()[: self.record.dtype[field].itemsize]

    def read_text(self, field: str) -> str:
        return bytes(self.record[field][()]).decode(errors="ignore")

    def close(self) -> None:
        """Give the descriptor back. The memory itself goes with the last view of it."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = None


def _anonymous_file(size: int) -> int:
    """A file in memory that no folder lists; the descriptor is its only handle."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("neiro")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
