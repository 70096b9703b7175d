"""One live line: levels, time per hop, what was late, latency, what is heard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realtime.dsp.decibels import decibels_of
from realtime.hop.meters import HOP_HISTORY
from realtime.live.shared import State

RECENT_HOPS = 200  # what "ms per hop" speaks of: about a second
FLOOR_DB = -99.0


@dataclass
class _Level:
    """Of one direction since the last line."""

    peak: float = 0.0
    power: float = 0.0
    readings: int = 0

    def read(self, peak: float, rms: float) -> None:
        if math.isfinite(peak) and math.isfinite(rms):
            self.peak, self.power, self.readings = max(self.peak, peak), self.power + rms * rms, self.readings + 1

    def text(self) -> str:
        """RMS and peak in dB of full scale; forgotten afterwards."""
        text = f"{_db(math.sqrt(self.power / max(1, self.readings))):.0f}/{_db(self.peak):.0f} dB"
        self.peak, self.power, self.readings = 0.0, 0.0, 0
        return text


class Monitor:
    """Reads the shared record (see `realtime.live.shared`); call `poll` every few milliseconds.

    preset : gives the name of the preset that is chosen
    show : called with the line, every `interval` seconds
    """

    def __init__(
        self,
        record: np.ndarray,
        preset: Callable[[], str],
        levels: Callable[[], dict[str, float]],
        show: Callable[[str], None],
        interval: float,
    ) -> None:
        self._record, self._preset, self._levels, self._show, self._interval = record, preset, levels, show, interval
        self._in, self._out = _Level(), _Level()
        self._next = 0.0

    def poll(self) -> None:
        meters, now = self._record["meters"], time.monotonic()
        self._in.read(float(meters["peak_in"]), float(meters["rms_in"]))
        self._out.read(float(meters["peak_out"]), float(meters["rms_out"]))
        if now >= self._next:
            self._next = now + self._interval
            self._show(self.line())

    def line(self) -> str:
        record, meters = self._record, self._record["meters"]
        state = State(int(record["state"]))
        if state is not State.RUNNING:
            message = bytes(record["message"][()]).decode(errors="ignore")
            return f"{'starting' if state is State.STARTING else f'waiting: {message}'}"
        parts = [
            f"in {self._in.text()}",
            f"out {self._out.text()}",
            self._hops(),
            f"late {_late(meters)}",
            f"xruns {int(record['xruns'])}",
            self._latency(),
            bytes(record["provider"][()]).decode(errors="ignore") + (" worker" if int(record["worker"]) else ""),
            self._way_out(),
            self._preset(),
            "playing",
        ]
        return "  ".join(parts)

    def _hops(self) -> str:
        times = recent_hops(self._record["meters"])
        return f"hop {np.median(times):.2f}/{times.max():.2f} ms" if len(times) else "hop –"

    def _latency(self) -> str:
        """The algorithm's and the device's, as far as the driver tells."""
        record = self._record
        own = 1000 * int(record["meters"]["latency_samples"]) / max(1.0, float(record["sample_rate"]))
        device = 1000 * (float(record["input_latency_seconds"]) + float(record["output_latency_seconds"]))
        return f"latency {own:.1f}+{device:.1f} ms" if math.isfinite(device) else f"latency {own:.1f}+? ms"

    def _way_out(self) -> str:
        levels = {name: level for name, level in self._levels().items() if level > 0.0}
        if not levels:
            return "morph"
        if len(levels) == 1 and 1.0 in levels.values():
            return next(iter(levels))
        return ", ".join(f"{100 * level:.0f} % {name}" for name, level in levels.items())


def meters_now(record: np.ndarray) -> dict[str, float | None]:
    """What OSC clients are shown; None = not known."""
    meters = record["meters"]
    times = recent_hops(meters)
    device = 1000 * (float(record["input_latency_seconds"]) + float(record["output_latency_seconds"]))
    return {
        "in_db": _db(float(meters["rms_in"])),
        "out_db": _db(float(meters["rms_out"])),
        "hop_ms": float(np.median(times)) if len(times) else None,
        "late": _late(meters),
        "xruns": int(record["xruns"]),
        "latency_ms": 1000 * int(meters["latency_samples"]) / max(1.0, float(record["sample_rate"])),
        "device_latency_ms": device if math.isfinite(device) else None,
        "playing": int(int(record["state"]) == State.RUNNING),
    }


def _late(meters: np.ndarray) -> int:
    return sum(int(meters[name]) for name in ("late_hops", "bypassed_hops", "failed_hops"))


def recent_hops(meters: np.ndarray) -> np.ndarray:
    """Milliseconds of the last model steps."""
    hops = int(meters["hops"])
    count = min(hops, RECENT_HOPS)
    return np.array(meters["hop_ms"][np.arange(hops - count, hops) % HOP_HISTORY])


def _db(linear: float) -> float:
    return max(FLOOR_DB, float(decibels_of(linear))) if linear > 0 else FLOOR_DB
