"""A small control process inside the test: knobs in shared memory and a supervised audio process, no command line."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.jack.server import wait_until
from realtime.bundle import load_bundle
from realtime.hop.published import clear_published
from realtime.knobs.bank import KnobBank
from realtime.live.shared import BlockSizes, SharedBlock, State, StreamRequest
from realtime.live.supervisor import Supervisor


class _OtherChild(Supervisor):
    """Starts a given program as the audio process."""

    def __init__(self, block: SharedBlock, request: StreamRequest, say: Any, program: list[str]) -> None:
        super().__init__(block, request, say)
        self._other = program

    def _program(self) -> list[str]:
        return self._other


class Control:
    """said : what the player would have been told;  times : when each line was said (time.monotonic)."""

    def __init__(self, bundle: Path, program: list[str] | None = None, **request: Any) -> None:
        manifest = load_bundle(bundle).manifest
        sizes = BlockSizes.of(manifest, 2)
        self.block = SharedBlock(sizes)
        self.record = self.block.record
        self.bank = KnobBank(manifest, self.record["knobs"], self.record["smoothing"], self.record["slots"])
        clear_published(self.record["published"])
        asked: dict[str, Any] = {
            "device": None,
            "input_device": "mic",
            "output_device": "spk",
            "channels": 1,
            "block_size": 0,
            "provider": "cpu",
        }
        asked |= {"worker": False, **request}
        whole = StreamRequest(
            memory=self.block.handle, sizes=sizes, generation=0, bundle=str(bundle), wait_for_device=False, **asked
        )
        self.said: list[str] = []
        self.supervisor = _OtherChild(
            self.block, whole, self.said.append, program or [sys.executable, "-m", "realtime.live.audio_process"]
        )
        self.error: Exception | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: self.error or self.frames > 0, "the first block")
        if self.error:
            raise self.error
        wait_until(lambda: self.supervisor.running, "the audio process to say that it plays")

    @property
    def frames(self) -> int:
        """Samples played so far."""
        return int(self.record["meters"]["frames"])

    @property
    def pid(self) -> int:
        assert self.supervisor.child_pid is not None
        return self.supervisor.child_pid

    @property
    def waiting_for(self) -> str:
        """What the audio process says it waits for, "" if it does not wait."""
        return self.block.read_text("message") if self.record["state"] == State.WAITING else ""

    def seconds_until_sound(self) -> float:
        """From now to the next sample made."""
        started, before = time.monotonic(), self.frames
        while self.frames == before:
            assert time.monotonic() < started + 60, self.said
            time.sleep(0.001)
        return time.monotonic() - started

    def close(self) -> None:
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.supervisor.stop()
        self.block.close()

    def _look_after(self) -> None:
        while not self._leave.wait(0.003):
            try:
                self.supervisor.poll()
            except Exception as error:  # for the test's own thread
                self.error = error
                return


@contextlib.contextmanager
def control(bundle: Path, **request: Any) -> Iterator[Control]:
    """The sound on its way, and all of it gone afterwards."""
    made = Control(bundle, **request)
    try:
        made.start()
        yield made
    finally:
        made.close()
