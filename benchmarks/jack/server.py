"""JACK with its dummy driver: a real audio and MIDI server without hardware."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVER = os.environ.get("NEIRO_TEST_JACK", "neiro-jack")  # one name, reused: the server registry holds only eight
PATIENCE = 60.0  # seconds; the machine may be busy


class RigError(Exception):
    """What keeps the server, its clients or the program between them from working; the message says what to do."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`; RigError after that many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RigError(f"waited {seconds:g} s in vain for {what}; run it again on a quieter machine")
        time.sleep(0.02)
    return value


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """A process that Ctrl-C does not reach. Ctrl-C during its start is held back until the process can be ended."""
    waiting: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        process = subprocess.Popen(command, start_new_session=True, **options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if waiting:
        process.kill()
        process.wait()
        raise KeyboardInterrupt
    return process


def environment() -> dict[str, str]:
    """For every process that shall find this server and no other."""
    return {
        **os.environ,
        "JACK_NO_START_SERVER": "1",
        "JACK_DEFAULT_SERVER": SERVER,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


class JackServer:
    """`jackd` with the dummy driver; it can be killed and started again.

    rate : Hz
    period : samples
    """

    def __init__(self, rate: int, period: int) -> None:
        self._command = ["jackd", "-n", SERVER, "-d", "dummy", "-r", str(rate), "-p", str(period)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        RigError
            If it is missing or does not answer.
        """
        if shutil.which("jackd") is None:
            raise RigError("jackd is missing; run: make setup")
        forget_dead_servers()
        with tempfile.TemporaryFile() as log:
            self._process = start(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
            wait_until(lambda: self._answers(log), "the JACK server")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it without a warning to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it and remove what it left behind."""
        self.kill()  # asked politely it sometimes hangs
        forget_dead_servers()

    def _answers(self, log: Any) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log.seek(0)
            raise RigError(
                f"jackd ended with code {self._process.returncode} ({last_line(log.read())}); is another server named "
                f"{SERVER} running? Set NEIRO_TEST_JACK to another name"
            )
        return subprocess.run(["jack_lsp"], env=environment(), capture_output=True, timeout=PATIENCE).returncode == 0


@contextlib.contextmanager
def jack_server(rate: int, period: int) -> Iterator[JackServer]:
    """A server that runs, and is gone afterwards."""
    server = JackServer(rate, period)
    try:
        server.start()
        yield server
    finally:
        server.close()


def forget_dead_servers() -> None:
    """Killed servers leave segments that block new ones; remove them unless some jackd runs."""
    for command in (Path(entry) / "comm" for entry in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            if command.read_text().strip() in ("jackd", "jackdbus"):
                return
    for path in Path("/dev/shm").glob("jack*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def last_line(log: bytes) -> str:
    """Of what a program said, for a message."""
    return log.decode("utf-8", errors="replace").strip().rpartition("\n")[2] or "without a word"
