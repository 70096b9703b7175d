"""One audio process, as the control process sees it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from typing import Any

from realtime.live.shared import StreamRequest

LEAVE_SECONDS = 4.0
SPARE = "--spare"  # told to a process that shall get ready and wait for `go`


class AudioChild:
    """A child process. It leaves when its standard input closes, so it never outlives this one.

    program : what is started; the request is its last argument
    descriptor : of the shared block, to be inherited; None on Windows
    spare : it loads everything, then waits for `go`
    """

    def __init__(
        self, program: list[str], request: StreamRequest, descriptor: int | None, *, spare: bool = False
    ) -> None:
        self.request = request
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `forget`
        apart: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is for the control process alone
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        elif descriptor is not None:
            apart["pass_fds"] = (descriptor,)
        command = [*program, *([SPARE] if spare else []), request.model_dump_json()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, **apart
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def go(self) -> None:
        """To a spare: now play."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # if it has just died, its end is noticed like any other's
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()

    def how_it_ended(self) -> str:
        """For the player, if the process itself could not say."""
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        code = self._process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the audio process ended unexpectedly ({how}{': ' + last if last and code > 0 else ''})"

    def forget(self) -> None:
        """Ask it to leave, then insist. Nothing of it is left afterwards."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
