"""A process's memory, as the system counts it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def private_kib(pid: int | None = None) -> int:
    """Memory that is the process's own, KiB; shared memory and files are left out. Of a process that is gone: 0."""
    try:
        status = Path(f"/proc/{pid or os.getpid()}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def growth(values: Sequence[float], warm: int) -> float:
    """How much memory grew: the median of the last tenth minus that of the first tenth after the warm-up."""
    later = np.asarray(values[warm:], float)
    tenth = max(1, len(later) // 10)
    return float(np.median(later[-tenth:]) - np.median(later[:tenth])) if len(later) else 0.0
