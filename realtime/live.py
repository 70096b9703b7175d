"""Playing live, in the control process: knobs, MIDI, and the audio process under supervision."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from realtime.bundle import Bundle
from realtime.controls import KnobBank, targets_of
from realtime.knobmap import KnobMap
from realtime.meters import Summary, summarize
from realtime.midi import MidiInput
from realtime.shared import SharedBlock, StreamRequest
from realtime.supervise import Supervisor

POLL_SECONDS = 0.003  # how long a MIDI message may wait


@dataclass(frozen=True)
class Account:
    """The summary, and what only a live stream has."""

    summary: Summary
    live: dict[str, object]

    def as_dict(self) -> dict[str, object]:
        return {**self.summary.as_dict(), **self.live}


class Live:
    """One performance.

    bank : the knobs, in shared memory; set them before `play`.
    """

    def __init__(self, bundle: Bundle, request: Callable[[SharedBlock], StreamRequest], say: Callable[[str], None]) -> None:
        targets = len(targets_of(bundle.manifest))
        self._bundle, self._say = bundle, say
        self._block = SharedBlock(targets)
        self.bank = KnobBank(bundle.manifest, self._block.record["knobs"])
        self._supervisor = Supervisor(self._block, request(self._block), say)
        self._stopped = False

    def play(self, knob_map: KnobMap, midi_ports: list[str], seconds: float | None = None) -> Account:
        """Play until a signal (Ctrl-C, SIGTERM, closed terminal) or for that many seconds of wall-clock time.

        Raises
        ------
        MidiError
            A wanted port is not there.
        StreamError
            The sound could not be started.
        """
        midi = MidiInput(midi_ports, lambda message: knob_map.apply(message, self.bank), self._say)
        midi.require()
        self._stop_on_signals()
        try:
            self._loop(midi, seconds)
        finally:
            self._supervisor.stop()
            midi.close()
            self._block.close()
        return self._account(knob_map)

    def _loop(self, midi: MidiInput, seconds: float | None) -> None:
        end, restarts, announced = math.inf, 0, False
        while not self._stopped and time.monotonic() < end:
            self._supervisor.poll()
            midi.poll()
            if self._supervisor.running and not announced:
                announced = True
                end = time.monotonic() + (math.inf if seconds is None else seconds)
                self._say(self._description())
            if self._supervisor.running and self._supervisor.restarts != restarts:
                restarts = self._supervisor.restarts
                midi.reopen()  # the server that died may have been the MIDI server too
            time.sleep(POLL_SECONDS)

    def _stop_on_signals(self) -> None:
        """The first signal ends cleanly; the second, if it comes, at once."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self._stopped = True
            signal.signal(number, signal.SIG_DFL)

        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), stop)

    def _description(self) -> str:
        record, text = self._block.record, self._block.read_text
        channels = int(record["channels"])
        note = text("provider_note")
        return (
            f"playing {text('input_device')} → {text('output_device')}: {float(record['sample_rate']):g} Hz, "
            f"{channels} channel{'' if channels == 1 else 's'}, {int(record['latency_samples'])} samples of latency beside the device's, "
            f"{text('provider')}{f' ({note})' if note else ''}. Ctrl-C ends."
        )

    def _account(self, knob_map: KnobMap) -> Account:
        record, text = self._block.record, self._block.read_text
        summary = summarize(
            record["meters"],
            sample_rate=round(float(record["sample_rate"])) or self._bundle.manifest.features.sample_rate,
            latency_samples=int(record["latency_samples"]),
            provider=text("provider"),
            bundle=self._bundle.path.name,
        )
        live: dict[str, object] = {
            "device_input_latency_ms": _milliseconds(float(record["input_latency_seconds"])),
            "device_output_latency_ms": _milliseconds(float(record["output_latency_seconds"])),
            "input_device": text("input_device"),
            "output_device": text("output_device"),
            "channels": int(record["channels"]),
            "block_samples": int(record["block_samples"]),
            "xruns": int(record["xruns"]),
            "callback_errors": int(record["callback_errors"]),
            "restarts": self._supervisor.restarts,
            "midi_messages": knob_map.applied,
            "midi_ignored": knob_map.ignored,
            "knobs": {target.name: float(value) for target, value in zip(self.bank.targets, self.bank.values, strict=True)},
        }
        return Account(summary, live)


def _milliseconds(seconds: float) -> float | None:
    """None for what the driver did not tell, or not believably."""
    return None if math.isnan(seconds) else 1000 * seconds
