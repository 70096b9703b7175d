"""`python -m realtime.run` between a microphone and a loudspeaker that JACK clients play."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.jack.server import RigError, environment, last_line, start, wait_until


class Performance:
    """`python -m realtime.run` from `mic` to `spk`, as a user would start it in an empty folder.

    options : of its command line
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._log, self._json = folder / "performance.log", folder / "performance.json"
        self._json.unlink(missing_ok=True)
        devices = ["--input-device", "mic", "--output-device", "spk"]
        command = [sys.executable, "-m", "realtime.run", *devices, "--json", str(self._json), *options]
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
            f"{line!r} from realtime.run, which said: {last_line(self._log.read_bytes())}",
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
            raise RigError(
                f"realtime.run ended with code {self.process.returncode}: {last_line(self._log.read_bytes())}"
            )
        return json.loads(self._json.read_text(encoding="utf-8"))

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise RigError(f"realtime.run ended at once: {last_line(self._log.read_bytes())}")
        return True
