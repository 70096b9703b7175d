"""The shared-memory block between the control process and the audio process. Every field names its single writer.

The memory has no name that could be left behind: an anonymous file whose descriptor the child inherits (on Windows a
mapping that vanishes with its last user). It is gone when both processes are, whatever ended them.
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

from realtime.bundle import Manifest
from realtime.hop.meters import METERS
from realtime.hop.published import memory_floats, published_record
from realtime.knobs.targets import DEFAULT_LATENCY_MS, SLOTS, targets_of

RING_FRAMES = 2**19  # for a recorder to be late by: 11 s at 48 kHz


class State(enum.IntEnum):
    """Where the audio process stands."""

    STARTING = 0
    WAITING = 1  # for a device or audio server that is not there now
    RUNNING = 2
    FAILED = 3  # `message` says why


class BlockSizes(BaseModel):
    """What the layout depends on, so that both sides agree on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    targets: int
    timbre: int  # dimensions
    memory: int  # floats, see `realtime.hop.published`
    outputs: int  # channels of the recording ring

    @classmethod
    def of(cls, manifest: Manifest, outputs: int) -> BlockSizes:
        return cls(
            targets=len(targets_of(manifest)),
            timbre=manifest.timbre_size,
            memory=memory_floats(manifest),
            outputs=outputs,
        )


class StreamRequest(BaseModel):
    """What the control process asks of the audio process; travels as JSON on its command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: str  # handle of the SharedBlock
    sizes: BlockSizes
    generation: int
    bundle: str
    device: str | None
    input_device: str | None
    output_device: str | None
    host_api: str | None = None  # part of its name, to choose among devices of one name
    channels: int  # taken from the input
    input_channel: int | None = None  # 1 … : take this one alone
    block_size: int  # samples, 0 = the driver's choice
    sample_rate: float | None = None  # Hz, None = the model's where the device can
    provider: str
    latency_ms: float = DEFAULT_LATENCY_MS  # of the resynth way out
    worker: bool | None = None  # inference beside the audio thread, a hop later; None = if the model is too slow
    recording: bool = False  # fill the ring
    wait_for_device: bool  # look for the device until it is there, rather than fail


def layout(sizes: BlockSizes) -> np.dtype:
    """The record of a performance."""
    return np.dtype(
        [
            # Writer: the control process.
            ("knobs", "<f8", (sizes.targets,)),
            ("smoothing", "<f8", (sizes.targets,)),
            ("slots", "<f8", (SLOTS, sizes.timbre)),
            # Writer: the session, in the audio callback of the audio process.
            ("meters", METERS),
            ("published", published_record(sizes.timbre, sizes.memory)),
            # Writer: the audio callback.
            ("xruns", "<i8"),  # blocks flagged late by the driver
            ("callback_errors", "<i8"),  # blocks passed through dry because the session raised
            ("late_blocks", "<i8"),  # blocks that took longer to make than they last
            ("block_samples", "<i8"),  # size of the last block
            ("ring", "<f4", (RING_FRAMES, sizes.outputs)),  # what is heard: frame k is at k % RING_FRAMES
            ("ring_frames", "<i8"),  # frames ever written to it
            # Writer: the audio process, outside the callback.
            ("generation", "<i8"),  # which start, counted by the parent, the fields below belong to
            ("state", "<i8"),  # a State
            ("heartbeat", "<i8"),  # grows while the process is alive
            ("sample_rate", "<f8"),
            ("channels", "<i8"),
            ("input_latency_seconds", "<f8"),  # the device's; NaN = not known
            ("output_latency_seconds", "<f8"),
            ("worker", "<i8"),  # 1 = inference runs beside the audio thread
            ("provider", "S64"),
            ("provider_note", "S512"),
            ("input_device", "S256"),
            ("output_device", "S256"),
            ("message", "S2048"),  # why it failed, waits or left
        ],
        align=True,
    )


class SharedBlock:
    """One record of `layout(sizes)` in shared memory.

    record : ndarray, shape (), the record itself; `record["knobs"]` and so on are views into the shared memory.
    handle : what the child needs to find the memory, see `attach`.
    descriptor : the file descriptor to pass to the child, None on Windows.
    """

    def __init__(self, sizes: BlockSizes, handle: str | None = None) -> None:
        dtype = layout(sizes)
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
    def attach(cls, sizes: BlockSizes, handle: str) -> SharedBlock:
        """The same memory, in the child."""
        return cls(sizes, handle)

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
