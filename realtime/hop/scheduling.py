"""Scheduling of the audio process's other threads: whoever may hold the interpreter lock must not be pushed aside by
ordinary programs.

Sound servers call back on a thread with real-time priority (SCHED_FIFO under JACK). Python's lock knows no priorities:
while an ordinary thread of the same process holds it and another program takes its core, the callback waits for that
program. So the other threads follow the callback's, one step below.
"""

from __future__ import annotations

import contextlib
import os
import sys


class Follower:
    """Of the thread that uses it. Safe to call often: it asks the system once for each thread that is followed."""

    def __init__(self) -> None:
        self._followed = 0

    def follow(self, thread: int) -> None:
        """Take the real-time scheduling of that thread of this process, one priority lower, if it has any and the
        system allows it.

        thread : its number for the kernel (threading.get_native_id); 0 = not known yet
        """
        if thread and thread != self._followed:
            self._followed = thread
            if sys.platform == "linux":
                _take_scheduling_of(thread)


def _take_scheduling_of(thread: int) -> None:
    with contextlib.suppress(OSError):  # not allowed, or the thread has ended
        policy = os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
        if policy in (os.SCHED_FIFO, os.SCHED_RR):
            lower = os.sched_getparam(thread).sched_priority - 1
            os.sched_setscheduler(0, policy, os.sched_param(max(os.sched_get_priority_min(policy), lower)))
