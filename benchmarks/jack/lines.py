"""Requests and answers as JSON lines between a program and a process that it started."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.jack.server import PATIENCE, ROOT, RigError, environment, last_line, start


def serve(answer: Callable[[str, Any], Any]) -> None:
    """Inside the started process: answer one request after the other, until standard input ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        name, argument = json.loads(line)
        print(json.dumps(answer(name, argument)), flush=True)


class LineProcess:
    """A process that runs `serve`, seen from the program that started it.

    what : its name in messages
    command : Python's arguments
    """

    def __init__(self, what: str, command: Sequence[str]) -> None:
        self._what = what
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        self._process = start([sys.executable, *command], cwd=ROOT, text=True, env=environment(), **pipes)
        if self._answer() != "ready\n":
            message = f"{what} did not start: {self._said()}"
            self.close()
            raise RigError(message)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, name: str, argument: Any = None) -> Any:
        """The answer to a request.

        Raises
        ------
        RigError
            If the process died or did not answer in time; it is ended then.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([name, argument]) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RigError(f"{self._what} died at {name!r}: {self._said()}")
        return json.loads(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        """The next line, "" at the end. A process that does not answer is killed."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self._process.kill()
        return self._process.stdout.readline()

    def _said(self) -> str:
        self._log.seek(0)
        return last_line(self._log.read())
