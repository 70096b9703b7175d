"""The end-of-run report: the summary, and what only a stream or only a file has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.bundle import Manifest
from realtime.controls.desk import Desk
from realtime.hop.meters import Summary


@dataclass(frozen=True)
class RunReport:
    """summary : what every run has;  more : by name, what --json writes beside it"""

    summary: Summary
    more: dict[str, object]

    def as_dict(self) -> dict[str, object]:
        return {**self.summary.as_dict(), **self.more}


def latencies(manifest: Manifest, sample_rate: float, latency_ms: float) -> dict[str, object]:
    """The latency of every way out, in samples at the device's rate, as `Session.latency_of` gives it.

    For a process that has no session.
    """
    from realtime.outputs.rack import output_latencies  # only at the end of a performance

    lookahead = round(manifest.lookahead_hops * manifest.features.hop_seconds * sample_rate)
    found = output_latencies(manifest, sample_rate, latency_ms)
    return {f"latency_samples_{way}": lookahead + samples for way, samples in found.items()}


def knobs_of(desk: Desk) -> dict[str, float]:
    return {target.name: desk.value(i) for i, target in enumerate(desk.targets)}


def milliseconds(seconds: float) -> float | None:
    """None for what the driver did not tell, or not believably."""
    return None if math.isnan(seconds) else 1000 * seconds


def counted(meters: np.ndarray) -> dict[str, int]:
    """What the session did to keep the sound whole."""
    names = {"limited_samples": "limited", "repaired_samples": "repaired"}
    names |= {name: name for name in ("bypassed_hops", "shortened_steps")}
    return {name: int(meters[field]) for name, field in names.items()}
