"""Keeps the audio process alive: starts it, watches it through the shared block, restarts it when it died, ends it.

While the sound runs, a spare process waits with everything loaded: should the playing one die, only the session and the
device are left to be opened.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from realtime.live.audio_child import AudioChild
from realtime.live.shared import SharedBlock, State, StreamRequest

STALL_SECONDS = {State.STARTING: 60.0, State.WAITING: 10.0, State.RUNNING: 5.0, State.FAILED: 5.0}
STEADY_SECONDS = 1.0  # a run that lasted this long is followed by a restart at once
LONGEST_PAUSE_SECONDS = 0.5  # between restarts that come to nothing
SPARE_SECONDS = 0.5  # of sound, before a spare is made; loading it costs half a second of another core
NEXT_SPARE_SECONDS = 30.0  # after a spare that died by itself


class StreamError(Exception):
    """The sound could not be started; the message is the audio process's own."""


class Supervisor:
    """Starts and restarts the audio process. Call `poll` every few milliseconds from one thread.

    say : called with one line when the sound stops and when it is back.
    restarts : how often it had to be started again.
    """

    def __init__(self, block: SharedBlock, request: StreamRequest, say: Callable[[str], None]) -> None:
        self._block, self._request, self._say = block, request, say
        self._child: AudioChild | None = None
        self._spare: AudioChild | None = None
        self._ran_at: float | None = None  # when the present child began to play
        self._ever_ran = False
        self._down = False  # the user has been told
        self._pause = 0.0
        self._next_start = self._next_spare = 0.0
        self._heartbeat, self._heard_at = -1, 0.0
        self.restarts = 0

    @property
    def running(self) -> bool:
        return self._ran_at is not None

    @property
    def child_pid(self) -> int | None:
        return self._child.pid if self._child else None

    def poll(self) -> None:
        """Look after the child.

        Raises
        ------
        StreamError
            When the very first start fails. Later failures are told and retried for ever.
        """
        now = time.monotonic()
        if self._child is None:
            if now >= self._next_start:
                self._start(now)
        elif self._child.ended:
            self._ended(now)
        elif self._state() is State.RUNNING and self._ran_at is None:
            self._began(now)
        else:
            self._check_heartbeat(now)
            self._look_after_spare(now)

    def stop(self) -> None:
        """End the children: first ask, then insist. Nothing of them is left afterwards."""
        if self._child is not None:
            self._child.forget()
        self._child = self._ran_at = None
        self._end_spare()

    def _start(self, now: float) -> None:
        """The spare takes over, or a new process starts."""
        self._request = self._next_request()
        if self._spare is not None and not self._spare.ended and self._spare.request == self._request:
            self._child = self._spare
            self._child.go()
        else:
            self._child = AudioChild(self._program(), self._request, self._block.descriptor)
            self._end_spare()
        self._spare, self._ran_at, self._heard_at = None, None, now
        self.restarts += self._ever_ran

    def _next_request(self) -> StreamRequest:
        return self._request.model_copy(
            update={"generation": self._request.generation + 1, "wait_for_device": self._ever_ran}
        )

    def _program(self) -> list[str]:
        return [sys.executable, "-m", "realtime.live.audio_process"]

    def _look_after_spare(self, now: float) -> None:
        if self._spare is not None and self._spare.ended:
            self._spare.forget()
            self._spare, self._next_spare = None, now + NEXT_SPARE_SECONDS
        if (
            self._spare is None
            and self._ran_at is not None
            and now > max(self._ran_at + SPARE_SECONDS, self._next_spare)
        ):
            self._spare = AudioChild(self._program(), self._next_request(), self._block.descriptor, spare=True)

    def _end_spare(self) -> None:
        if self._spare is not None:
            self._spare.kill()  # it holds nothing that it would have to close
            self._spare.forget()
            self._spare = None

    def _began(self, now: float) -> None:
        self._ran_at = now
        if self._down:
            self._say("the sound is back")
        self._down = False
        self._ever_ran = True
        # Numbers may shift when devices come and go; the full names of what was opened do not.
        names = {field: self._block.read_text(field) for field in ("input_device", "output_device")}
        self._request = self._request.model_copy(update={"device": None, **names})

    def _ended(self, now: float) -> None:
        assert self._child is not None
        reason = (self._block.read_text("message") if self._mine() else "") or self._child.how_it_ended()
        self._child.forget()
        self._child = None
        if not self._ever_ran:
            raise StreamError(reason)
        steady = self._ran_at is not None and now - self._ran_at > STEADY_SECONDS
        self._pause = 0.0 if steady else min(max(0.1, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._next_start, self._ran_at = now + self._pause, None
        if not self._down:
            self._say(f"the sound stopped: {reason}; starting it again")
        self._down = True

    def _mine(self) -> bool:
        """Whether the block already speaks of the present child, not of the one before."""
        return int(self._block.record["generation"]) == self._request.generation

    def _state(self) -> State:
        return State(int(self._block.record["state"])) if self._mine() else State.STARTING

    def _check_heartbeat(self, now: float) -> None:
        assert self._child is not None
        beat = int(self._block.record["heartbeat"])
        if beat != self._heartbeat:
            self._heartbeat, self._heard_at = beat, now
        elif now - self._heard_at > STALL_SECONDS[self._state()]:
            self._child.kill()
