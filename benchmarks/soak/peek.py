"""A look into a running performance from outside: the shared memory of `python -m realtime.run`, read only."""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path

import numpy as np

from realtime.bundle import Manifest
from realtime.hop.meters import HOP_HISTORY
from realtime.live.shared import BlockSizes, layout

COUNTS = ("xruns", "late_blocks", "callback_errors")
METERS = ("hops", "silent_hops", "late_hops", "failed_hops", "bypassed_hops")
MOST_OUTPUTS = 64


class SharedMemoryView:
    """record : the same as both processes see, see `realtime.live.shared`

    Raises
    ------
    FileNotFoundError
        The process holds no such memory (any more).
    """

    def __init__(self, pid: int, manifest: Manifest) -> None:
        by_size = {layout(BlockSizes.of(manifest, outputs)).itemsize: outputs for outputs in range(1, MOST_OUTPUTS)}
        path = next((path for path in _memories(pid) if path.stat().st_size in by_size), None)
        if path is None:
            raise FileNotFoundError(f"process {pid} shares no memory of this bundle")
        dtype = layout(BlockSizes.of(manifest, by_size[path.stat().st_size]))
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), dtype.itemsize, prot=mmap.PROT_READ)
        self.record = np.ndarray((), dtype, buffer=self._memory)
        self._hops = 0

    def counts(self) -> dict[str, int]:
        """Everything that is counted and should stay small, and the hops."""
        meters = self.record["meters"]
        return {name: int(self.record[name]) for name in COUNTS} | {name: int(meters[name]) for name in METERS}

    def new_hop_ms(self) -> np.ndarray:
        """Times of the hops since the last call, (hops,)."""
        meters = self.record["meters"]
        hops = int(meters["hops"])
        first, self._hops = max(self._hops, hops - HOP_HISTORY), hops
        return np.array(meters["hop_ms"])[np.arange(first, hops) % HOP_HISTORY]


def _memories(pid: int) -> list[Path]:
    """The nameless files that the process holds open."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(path.readlink()).startswith("/memfd:neiro") or os.fspath(path.readlink()).endswith("(deleted)"):
                found.append(path)
    return found
