"""python -m benchmarks.latency: is the measured latency what the program reports? It is measured in process and through
JACK, for both ways out and many block sizes.

Writes report.md, report.json and two pictures, and ends with code 1 if a figure that must be equal is not. Ctrl-C ends
it and everything it started; nothing is written then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.jack.server import RigError
from benchmarks.latency import inside as latency_inside
from benchmarks.latency import jack as latency_jack
from benchmarks.latency import report as latency_report
from benchmarks.latency.inside import RANDOM
from benchmarks.latency.report import Measured
from benchmarks.latency.response import KNOBS, knob_response, settling, tracking
from benchmarks.machine import machine
from realtime.bundle import Bundle, BundleError, embedded_bundle, load_bundle
from realtime.hop.model import EngineError
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser

REPORT, QUICK_REPORT = Path("benchmarks/reports/latency"), Path("build/latency/quick-report")
BLOCKS = (1, 32, 64, 128, 256, 512, 1024, 2048, RANDOM)
LATENCIES_MS = (3.0, 6.0, 12.0, 25.0, 50.0)
OTHER_RATE = 48000
PERIODS = (64, 128, 256)


def measure(bundle: Bundle, *, quick: bool, jack: bool) -> Measured:
    measured = Measured()
    rate = bundle.manifest.features.sample_rate
    rates = [rate] if quick else [rate, OTHER_RATE]
    blocks, latencies_ms = ((128, RANDOM), (6.0,)) if quick else (BLOCKS, LATENCIES_MS)
    with _told("blocks in process"):
        measured.rows += latency_inside.rows(
            bundle, blocks=blocks, rates=rates, latencies_ms=latencies_ms, count=6 if quick else 12
        )
    with _told("knobs in process"):
        _respond(measured, bundle, quick=quick)
    if not jack:
        measured.no_jack = "`--no-jack` was given."
        return measured
    chosen = latency_jack.settings(quick=quick)
    with _told("blocks through JACK"):
        measured.rows += latency_jack.rows(bundle, chosen, sample_rate=rate, count=6 if quick else 10)
        if not quick:
            measured.rows += latency_jack.rows(
                bundle, latency_jack.settings(quick=True), sample_rate=OTHER_RATE, count=10
            )
    with _told("knobs through JACK"):
        measured.responses += latency_jack.responses(
            bundle, periods=PERIODS[-1:] if quick else PERIODS, count=8 if quick else 24
        )
    return measured


def _respond(measured: Measured, bundle: Bundle, *, quick: bool) -> None:
    count = 4 if quick else 12
    for block in (128,) if quick else (32, 64, 128, 256, 512, RANDOM):
        measured.responses.append(knob_response(bundle, "gain_db", block=block, count=count))
        measured.responses.append(knob_response(bundle, "timbre[0]", block=block, count=count))
    if not quick:
        measured.responses.append(knob_response(bundle, "preset, from another one", block=128, count=count))
        measured.responses.append(knob_response(bundle, "timbre[0]", block=128, count=count, also={"resynth": 1.0}))
    for knob in ("gain_db",) if quick else KNOBS:
        measured.settlings.append(settling(bundle, knob, count=2 if quick else 3))
    for seconds in (0.5,) if quick else (0.1, 0.5, 2.0):
        measured.trackings.append(tracking(bundle, seconds))


class _told:  # noqa: N801  used like a function
    """Says what was measured and how long it took."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            print(f"{self._what}, {time.monotonic() - self._started:.0f} s", flush=True)


def about(bundle: Bundle, started: float, load: float) -> dict[str, Any]:
    features = bundle.manifest.features
    model = {
        "bundle": bundle.path.name,
        **{name: getattr(features, name) for name in ("sample_rate", "hop_samples", "window_samples")},
    }
    loads = {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}
    return machine() | model | loads | {"seconds": round(time.monotonic() - started)}


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.latency", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--bundle", type=Path, help="model; default: the built-in one")
    parser.add_argument("--out", type=Path, help=f"report; default: {REPORT}, with --quick {QUICK_REPORT}")
    parser.add_argument("--quick", action="store_true", help="few settings: to see whether it works")
    parser.add_argument("--no-jack", action="store_true", help="in process only; needs no audio server")
    options = parser.parse_args(arguments)
    out = options.out or (QUICK_REPORT if options.quick else REPORT)
    started, load = time.monotonic(), os.getloadavg()[0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        bundle = load_bundle(options.bundle or embedded_bundle())
        print(f"measuring the latency of {bundle.path.name}", flush=True)
        measured = measure(bundle, quick=options.quick, jack=not options.no_jack)
        text = latency_report.write(out, measured, about(bundle, started, load))
    except (RigError, BundleError, EngineError, DataError, OSError) as error:
        print(f"benchmarks.latency: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written, and the audio server that was started has ended", file=sys.stderr)
        return 130
    print(text)
    print(f"{out / 'report.md'} is written")
    return 0 if all(promise.kept for promise in latency_report.promises(measured)) else 1


if __name__ == "__main__":
    run_command(main)
