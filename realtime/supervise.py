"""Keeps the audio process alive: starts it, hears from it through the shared block, starts it again when it died, ends it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from realtime.shared import SharedBlock, State, StreamRequest

STALL_SECONDS = {State.STARTING: 60.0, State.WAITING: 30.0, State.RUNNING: 5.0, State.FAILED: 5.0}
LEAVE_SECONDS = 4.0
STEADY_SECONDS = 5.0  # a run that lasted this long is followed by a restart at once
LONGEST_PAUSE_SECONDS = 2.0


class StreamError(Exception):
    """The sound could not be started; the message is the audio process's own."""


class Supervisor:
    """Starts and restarts the audio process. Call `poll` every few milliseconds from one thread.

    say : called with one line when the sound stops and when it is back.
    restarts : how often it had to be started again.
    """

    def __init__(self, block: SharedBlock, request: StreamRequest, say: Callable[[str], None]) -> None:
        self._block, self._request, self._say = block, request, say
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._ran_at: float | None = None  # when the present child began to play
        self._ever_ran = False
        self._down = False  # the user has been told
        self._pause = 0.0
        self._next_start = 0.0
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
                self._spawn(now)
        elif self._child.poll() is not None:
            self._ended(now)
        elif self._state() is State.RUNNING and self._ran_at is None:
            self._began(now)
        else:
            self._check_heartbeat(now)

    def stop(self) -> None:
        """End the child: first ask, then insist. Nothing of it is left afterwards."""
        if self._child is not None:
            self._ask_to_leave(self._child)
            self._forget_child()

    def _spawn(self, now: float) -> None:
        generation = self._request.generation + 1
        self._request = self._request.model_copy(update={"generation": generation, "wait_for_device": self._ever_ran})
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed when the child has ended
        apart: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is for the control process alone
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        elif self._block.descriptor is not None:
            apart["pass_fds"] = (self._block.descriptor,)
        command = [sys.executable, "-m", "realtime.stream", self._request.model_dump_json()]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, **apart)
        self._ran_at, self._heard_at = None, now
        self.restarts += self._ever_ran

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
        reason = self._reason()
        if not self._ever_ran:
            self._forget_child()
            raise StreamError(reason)
        steady = self._ran_at is not None and now - self._ran_at > STEADY_SECONDS
        self._pause = 0.0 if steady else min(max(0.1, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._next_start = now + self._pause
        self._forget_child()
        if not self._down:
            self._say(f"the sound stopped: {reason}; starting it again")
        self._down = True

    def _forget_child(self) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        self._child, self._ran_at = None, None

    def _reason(self) -> str:
        assert self._child is not None
        assert self._errors is not None
        message = self._block.read_text("message") if self._mine() else ""
        with self._errors as errors:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        code = self._child.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return message or f"the audio process ended unexpectedly ({how}{': ' + last if last and code > 0 else ''})"

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

    @staticmethod
    def _ask_to_leave(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
