"""The time limit of a block: work that goes in rounds asks it whether to stop early."""

from __future__ import annotations

import math
import time

BLOCK_SHARE = 0.6  # of a block's duration; beyond it the block is about to be late


class Deadline:
    """How long work that could go on may go on.

    shortened : how often it was cut short; for the caller to clear
    """

    def __init__(self) -> None:
        self._due = math.inf
        self.shortened = 0

    def begin(self, started: float, block_seconds: float) -> None:  # audio thread
        """A block that lasts so long began at that time (time.perf_counter). Without a call there is no hurry."""
        self._due = started + BLOCK_SHARE * block_seconds

    def cuts_short(self) -> bool:  # audio thread
        """Whether to stop now."""
        if time.perf_counter() < self._due:
            return False
        self.shortened += 1
        return True
