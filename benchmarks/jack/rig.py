"""A JACK server without hardware for measuring: the dummy driver, sample-exact clients, and `python -m realtime.run`
between them.

Everything started here ends with the `with` block it was started in, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SERVER = os.environ.get("NEIRO_TEST_JACK", "neiro-bench")  # one name, reused: the server registry holds only eight
PATIENCE = 60.0  # seconds; the machine may be busy


class RigError(Exception):
    """What keeps the rig from working; the message says what to do."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`; RigError after that many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RigError(f"waited {seconds:g} s in vain for {what}; run it again on a quieter machine")
        time.sleep(0.02)
    return value


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """A process that Ctrl-C does not reach. One that comes while it starts waits until it can be ended, so that it is
    not left behind.
    """
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


@contextlib.contextmanager
def jack_server(rate: int, period: int) -> Iterator[subprocess.Popen[bytes]]:
    """JACK's dummy driver.  rate : Hz;  period : samples"""
    if shutil.which("jackd") is None:
        raise RigError("jackd is missing; run: make setup")
    forget_dead_servers()
    command = ["jackd", "-n", SERVER, "-d", "dummy", "-r", str(rate), "-p", str(period)]
    with tempfile.TemporaryFile() as log:
        server = start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        try:
            wait_until(lambda: _answers(server), "the JACK server")
            yield server
        finally:
            server.kill()  # asked politely it sometimes hangs
            server.wait()
            forget_dead_servers()


def _answers(server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise RigError(
            f"jackd ended with code {server.returncode}; is another server named {SERVER} running? Set NEIRO_TEST_JACK "
            "to another name"
        )
    return subprocess.run(["jack_lsp"], env=environment(), capture_output=True, timeout=PATIENCE).returncode == 0


def forget_dead_servers() -> None:
    """Killed servers leave segments that block new ones; remove them unless some jackd runs."""
    for command in (Path(entry) / "comm" for entry in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            if command.read_text().strip() in ("jackd", "jackdbus"):
                return
    for path in Path("/dev/shm").glob("jack*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Clients:
    """Microphone `mic`, loudspeaker `spk` and keyboard `keys` in a process of their own (`benchmarks.jack.clients`)."""

    def __init__(self, folder: Path, names: Sequence[str] = ("mic", "spk", "keys")) -> None:
        self._folder, self._takes = folder, 0
        self._errors = folder / "clients.log"
        command = [sys.executable, "-m", "benchmarks.jack.clients", *names]
        with self._errors.open("ab") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self._process = start(command, cwd=ROOT, text=True, env=environment(), **pipes)
        if self._answer() != "ready\n":
            self.close()
            raise RigError(f"the JACK clients did not start: {_last_line(self._errors)}")

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def load(self, sound: np.ndarray) -> None:
        """What the microphone will loop, (samples,), full scale 1."""
        path = self._folder / "sound.npy"
        np.save(path, sound.astype(np.float32))
        self._ask("load", str(path))

    def play(self) -> None:
        """Start the sound from its beginning and forget what was recorded."""
        self._ask("play")

    def midi(self, *message: int) -> None:
        """Send a message now."""
        self._ask("midi", message)

    def midi_at(self, events: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Send messages at samples counted from the first of the sound, ascending; before `play`."""
        self._ask("midi_at", events)

    def freewheel(self, on: bool) -> None:
        """Let the server run as fast as its clients can, without losing a sample."""
        self._ask("freewheel", on)

    def period(self, samples: int) -> None:
        """Change the server's."""
        self._ask("period", samples)

    def elapsed(self) -> int:
        """Samples the loudspeaker got since `play`."""
        return int(self._ask("elapsed"))

    def heard(self, samples: int) -> np.ndarray:
        """Wait for that much, then: what the loudspeaker got from the sound's first sample on, (samples,); NaN where
        the server lost time.
        """
        wait_until(lambda: self.elapsed() >= samples, f"{samples} samples of sound", PATIENCE + samples / 44100)
        self._takes += 1
        path = self._folder / f"take{self._takes}.npz"
        self._ask("save", str(path))
        with np.load(path) as take:
            times, blocks = take["times"], take["samples"]
        path.unlink()
        out = np.full(samples, np.nan)
        inside = (times >= 0) & (times < samples)
        out[times[inside]] = blocks[inside]
        return out

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, name: str, argument: Any = None) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([name, argument]) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RigError(f"the JACK clients died: {_last_line(self._errors)}")
        return json.loads(answer)

    def _answer(self) -> str:
        """The next line, "" at the end. Who does not answer is killed."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self._process.kill()
        return self._process.stdout.readline()


class Performance:
    """`python -m realtime.run` from `mic` to `spk`, as a user would start it in an empty folder.

    options : of its command line
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._log, self._json = folder / "performance.log", folder / "performance.json"
        self._json.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "realtime.run",
            "--input-device",
            "mic",
            "--output-device",
            "spk",
            "--json",
            str(self._json),
            *options,
        ]
        with self._log.open("wb") as log:
            self.process = start(
                command, cwd=folder, env=environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> Performance:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()  # the audio process leaves with its parent
            self.process.wait()

    def wait_for(self, line: str) -> None:
        """Until it has said so."""
        wait_until(
            lambda: self._alive() and line in self.said(),
            f"{line!r} from realtime.run, which said: {_last_line(self._log)}",
        )

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def audio_process(self) -> int:
        """Its process number."""
        pid = self.process.pid
        children = wait_until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), "the audio process")
        return int(children[0])

    def end(self) -> dict[str, Any]:
        """Ask it to end, as Ctrl-C does. Returns its account, what --json writes."""
        self.process.send_signal(signal.SIGINT)
        wait_until(lambda: self.process.poll() is not None, "realtime.run to end")
        if self.process.returncode != 0:
            raise RigError(f"realtime.run ended with code {self.process.returncode}: {_last_line(self._log)}")
        return json.loads(self._json.read_text(encoding="utf-8"))

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise RigError(f"realtime.run ended at once: {_last_line(self._log)}")
        return True


def _last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2] or "without a word"
