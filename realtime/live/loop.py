"""The control process of a live performance: it supervises the audio process and polls everything else."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

from realtime.bundle import Bundle
from realtime.cli.run_report import RunReport, counted, knobs_of, latencies, milliseconds
from realtime.controls.desk import Desk
from realtime.hop.meters import summarize
from realtime.hop.published import clear_published
from realtime.knobs.bank import KnobBank
from realtime.live.shared import BlockSizes, SharedBlock, StreamRequest
from realtime.live.supervisor import Supervisor

POLL_SECONDS = 0.001  # how long a MIDI message may wait: less than a period of 64 samples


class Service(Protocol):
    """What the control loop polls and closes in the end. Neither call may block or raise."""

    def poll(self) -> object: ...

    def close(self) -> object: ...


class CallbackService:
    """A service made of two functions."""

    def __init__(self, poll: Callable[[], object] = lambda: None, close: Callable[[], object] = lambda: None) -> None:
        self.poll, self.close = poll, close


class Live:
    """One performance.

    bank : the knobs, in shared memory; set them before `play`.
    block, record : what is shared with the audio process, see `realtime.live.shared`
    stop : ends the performance
    """

    def __init__(
        self,
        bundle: Bundle,
        outputs: int,
        request: Callable[[SharedBlock, BlockSizes], StreamRequest],
        say: Callable[[str], None],
    ) -> None:
        self._bundle, self._say = bundle, say
        sizes = BlockSizes.of(bundle.manifest, outputs)
        self.block = SharedBlock(sizes)
        self.record = self.block.record
        self.bank = KnobBank(bundle.manifest, *(self.record[name] for name in ("knobs", "smoothing", "slots")))
        clear_published(self.record["published"])
        self._request = request(self.block, sizes)
        self._supervisor = Supervisor(self.block, self._request, say)
        self._stopped = False
        self._defects: set[str] = set()  # that were told

    def stop(self) -> None:
        self._stopped = True

    def play(self, services: Sequence[Service], restarted: Callable[[], object], seconds: float | None = None) -> None:
        """Play until a signal (Ctrl-C, SIGTERM, closed terminal) or for that many seconds of wall-clock time.

        services : polled all the while, closed in the end, the last one first
        restarted : called when the sound is back after the audio process had died

        Raises
        ------
        StreamError
            The sound could not be started.
        """
        self._stop_on_signals()
        try:
            self._loop(services, restarted, seconds)
        finally:
            self._supervisor.stop()
            for service in reversed(services):
                service.close()
            self.block.close()

    def report(self, desk: Desk, more: dict[str, object]) -> RunReport:
        """What happened; `more` goes to the end of it."""
        record, text = self.record, self.block.read_text
        rate = float(record["sample_rate"]) or self._bundle.manifest.features.sample_rate
        summary = summarize(
            record["meters"],
            sample_rate=round(rate),
            latency_samples=int(record["meters"]["latency_samples"]),
            provider=text("provider"),
            bundle=self._bundle.path.name,
        )
        live: dict[str, object] = {
            **latencies(self._bundle.manifest, rate, self._request.latency_ms),
            "device_input_latency_ms": milliseconds(float(record["input_latency_seconds"])),
            "device_output_latency_ms": milliseconds(float(record["output_latency_seconds"])),
            "input_device": text("input_device"),
            "output_device": text("output_device"),
            "channels": int(record["channels"]),
            "block_samples": int(record["block_samples"]),
            "worker": bool(record["worker"]),
            "xruns": int(record["xruns"]),
            "late_blocks": int(record["late_blocks"]),
            "callback_errors": int(record["callback_errors"]),
            "restarts": self._supervisor.restarts,
            **counted(record["meters"]),
            **more,
            "knobs": knobs_of(desk),
        }
        return RunReport(summary, live)

    def _loop(self, services: Sequence[Service], restarted: Callable[[], object], seconds: float | None) -> None:
        end, restarts, announced = math.inf, 0, False
        while not self._stopped and time.monotonic() < end:
            self._supervisor.poll()
            for service in services:
                self._look_after(service)
            playing = self._supervisor.running and int(self.record["meters"]["frames"])
            if playing and not announced:  # the first block tells the latency
                announced = True
                end = time.monotonic() + (math.inf if seconds is None else seconds)
                self._say(self._description())
            if self._supervisor.running and self._supervisor.restarts != restarts:
                restarts = self._supervisor.restarts
                restarted()
            time.sleep(POLL_SECONDS)

    def _look_after(self, service: Service) -> None:
        """A defect in what surrounds the sound must not end it."""
        try:
            service.poll()
        except Exception as error:
            defect = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if defect not in self._defects:
                self._defects.add(defect)
                self._say(f"a defect beside the sound, please report it ({defect}); the sound goes on")

    def _stop_on_signals(self) -> None:
        """The first signal ends cleanly; the second, if it comes, at once."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self._stopped = True
            signal.signal(number, signal.SIG_DFL)

        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), stop)

    def _description(self) -> str:
        record, text = self.record, self.block.read_text
        channels, note = int(record["channels"]), text("provider_note")
        return (
            f"playing {text('input_device')} → {text('output_device')}: {float(record['sample_rate']):g} Hz, "
            f"{channels} channel{'' if channels == 1 else 's'}, {int(record['meters']['latency_samples'])} samples of "
            "latency beside the device's, "
            f"{text('provider')}{f' ({note})' if note else ''}. Ctrl-C ends."
        )
