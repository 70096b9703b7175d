"""The audio callback: the session makes the sound; the callback hands it over and keeps it for a recorder.

It never raises.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from realtime.devices.stream_config import LARGEST_BLOCK
from realtime.live.shared import RING_FRAMES

if TYPE_CHECKING:
    from realtime.devices.stream_config import StreamConfig
    from realtime.session import Session


class Callback:
    """Called by PortAudio.

    recording : whether what is heard is copied to the ring
    last : time of the last call (time.perf_counter). Writer: the audio thread.
    thread : the kernel's number of the thread that calls, 0 before its first call. Writer: the audio thread.
    """

    def __init__(self, session: Session, config: StreamConfig, record: np.ndarray, *, recording: bool) -> None:
        self._session = session
        self._taken = slice(config.first_input, config.first_input + config.channels)
        self._direct = config.outputs == config.channels
        self._scratch = np.zeros((LARGEST_BLOCK, config.channels), np.float32)
        self._sample_seconds = 1 / config.sample_rate
        self._xruns, self._errors, self._late = record["xruns"], record["callback_errors"], record["late_blocks"]
        self._block = record["block_samples"]
        self._recording, self._ring, self._ring_frames = recording, record["ring"], record["ring_frames"]
        self._kept = int(record["ring_frames"])  # a process before this one may have filled it so far
        self._width = min(config.outputs, self._ring.shape[1])
        self.last = time.perf_counter()
        self.thread = 0

    def __call__(
        self, block_in: np.ndarray, block_out: np.ndarray, frames: int, _time: Any, status: Any
    ) -> None:  # audio thread
        started = self.last = time.perf_counter()
        self.thread = self.thread or threading.get_native_id()
        self._block[...] = frames
        if status.input_overflow or status.output_underflow or status.input_underflow or status.output_overflow:
            self._xruns += 1
        block_in = block_in[:, self._taken]
        for start in range(0, frames, LARGEST_BLOCK):
            self._process(block_in[start : start + LARGEST_BLOCK], block_out[start : start + LARGEST_BLOCK])
        if self._recording:
            self._keep(block_out)
        if time.perf_counter() - started > frames * self._sample_seconds:
            self._late += 1

    def _process(self, block_in: np.ndarray, block_out: np.ndarray) -> None:  # audio thread
        wet = block_out if self._direct else self._scratch[: len(block_in)]
        try:
            self._session.process_block(block_in, wet)
        except Exception:  # a defect in the session must not end the sound
            np.copyto(wet, block_in)
            np.nan_to_num(wet, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            self._errors += 1
        if not self._direct:
            block_out[:] = wet

    def _keep(self, block: np.ndarray) -> None:  # audio thread
        """Copy a block to the ring, which is longer than any block. One output fills all columns.

        The counter moves last, so that a reader never runs ahead.
        """
        start, n = self._kept % RING_FRAMES, len(block)
        first = min(n, RING_FRAMES - start)
        columns = slice(None) if block.shape[1] == 1 else slice(self._width)
        self._ring[start : start + first, columns] = block[:first, columns]
        if first < n:
            self._ring[: n - first, columns] = block[first:, columns]
        self._kept += n
        self._ring_frames[...] = self._kept
