"""Steps made beside the audio thread, for models that are slow but not too slow: each answer comes a hop later."""

from __future__ import annotations

import queue
import threading
import time

import numpy as np

from realtime.hop.scheduling import Follower
from realtime.hop.step import HopStep
from realtime.outputs.base import Answer

WAITING_HOPS = 4  # hops that may wait for the model; older ones are dropped
ANSWERS = 4  # objects in turn: one is read while the next is written


class Worker:
    """A thread that makes the steps. The audio thread hands over hops and fetches answers; neither waits for the other.

    step_seconds : how long the last step took (writer: the thread)
    """

    def __init__(self, step: HopStep, hop_samples: int) -> None:
        self._step = step
        self._hops = np.zeros((2 * WAITING_HOPS, 1, hop_samples))  # ring; writer: the audio thread
        # Writer: the thread, never the one that was finished last.
        self._answers = [step.new_answer() for _ in range(ANSWERS)]
        self._giver = 0  # the kernel's number of the audio thread; writer: the audio thread
        self._given = 0  # hops handed over; writer: the audio thread
        self._done = 0  # hops dealt with; writer: the thread
        self._made = 0  # answers made; writer: the thread
        self._fetched = 0  # writer: the audio thread
        self.step_seconds = 0.0
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="neiro worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Hops handed over that have no answer yet."""
        return self._given - self._done

    def give(self, hop: np.ndarray) -> bool:  # audio thread
        """hop : (1, hop_samples), is copied.  False if too many are waiting: this one is dropped."""
        if self.waiting >= WAITING_HOPS:
            return False
        self._giver = self._giver or threading.get_native_id()
        self._hops[self._given % len(self._hops)] = hop
        self._given += 1
        self._bell.put(True)  # never waits: a SimpleQueue has no limit, and putting takes no lock that getting holds
        return True

    def fetch(self) -> Answer | None:  # audio thread
        """The newest answer, if there is one that was not fetched before."""
        made = self._made
        if made == self._fetched:
            return None
        self._fetched = made
        return self._answers[(made - 1) % ANSWERS]

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until nothing waits. Not on the audio thread."""
        end = time.monotonic() + seconds
        while self.waiting and time.monotonic() < end:
            time.sleep(0.001)

    def close(self) -> None:
        self._bell.put(False)
        self._thread.join(5.0)

    def _work(self) -> None:
        with np.errstate(all="ignore"):
            follower = Follower()
            while self._bell.get():
                follower.follow(self._giver)
                started = time.perf_counter()
                self._step.run(self._hops[self._done % len(self._hops)], self._answers[self._made % ANSWERS])
                self.step_seconds = time.perf_counter() - started
                self._made += 1
                self._done += 1
