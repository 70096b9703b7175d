"""python -m benchmarks.soak --minutes 10: does it play on, as late as never, in the memory it started with?

Plays through a JACK server with the other core busy, beside a stream that only copies, and meanwhile, on that other
core, a million hops through a session. Writes report.md, report.json and pictures, and ends with code 1 if a promise is
not kept. Ctrl-C ends it and everything it started; nothing is written then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.jack.server import ROOT, RigError, start
from benchmarks.machine import machine
from benchmarks.soak import report as soak_report
from benchmarks.soak.hops import EndlessResult
from benchmarks.soak.jack import PerformanceRecord, busy_core, perform, pin
from realtime.bundle import Bundle, BundleError, embedded_bundle, load_bundle
from training.console import run_command
from training.data.options import Parser, number

REPORT, QUICK_REPORT = Path("benchmarks/reports/soak"), Path("build/soak/quick-report")
MINUTES, QUICK_MINUTES = 10.0, 0.3
HOPS, QUICK_HOPS = 1_000_000, 10_000
STRESS = "the session's hops, and a loop without end for what they leave, pinned to the last core"


@contextlib.contextmanager
def hops_beside(bundle: Bundle, hops: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`benchmarks.soak.hops` on the last core."""
    command = [sys.executable, "-m", "benchmarks.soak.hops", "--hops", str(hops), "--json", str(folder / "hops.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += ["--bundle", str(bundle.path.resolve())]
    process = start(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        pin(process.pid)
        yield process
    finally:
        process.kill()
        process.wait()


def endless_of(process: subprocess.Popen[str], folder: Path) -> EndlessResult:
    """Wait for it; what it found.

    Raises
    ------
    RigError
        If it failed.
    """
    _, errors = process.communicate()
    if process.returncode:
        raise RigError(f"the hops ended with code {process.returncode}: {errors.strip().rpartition(chr(10))[2]}")
    found = json.loads((folder / "hops.json").read_text(encoding="utf-8"))
    return EndlessResult(**found | {"digests": tuple(found["digests"])})


def measure(bundle: Bundle, minutes: float, hops: int) -> tuple[PerformanceRecord | None, EndlessResult | None]:
    performed, endless = None, None
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        beside = stack.enter_context(hops_beside(bundle, hops, Path(place))) if hops else None
        if minutes:
            with busy_core():
                performed = perform(bundle, 60 * minutes, _say)
            _say(f"{minutes:g} minutes through JACK are over")
        if beside is not None:
            endless = endless_of(beside, Path(place))
            _say(f"{endless.hops} hops, {endless.seconds:.0f} s")
    return performed, endless


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--bundle", type=Path, help="model; default: the built-in one")
    parser.add_argument("--minutes", type=number(0, 10000), help=f"through JACK, 0 = not at all; default: {MINUTES:g}")
    parser.add_argument("--hops", type=number(0, 10**9, int), help=f"faster than real time, 0 = none; default: {HOPS}")
    parser.add_argument("--out", type=Path, help=f"report; default: {REPORT}, with --quick {QUICK_REPORT}")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_MINUTES:g} minutes, {QUICK_HOPS} hops: to see whether it works"
    )
    options = parser.parse_args(arguments)
    minutes = options.minutes if options.minutes is not None else (QUICK_MINUTES if options.quick else MINUTES)
    hops = options.hops if options.hops is not None else (QUICK_HOPS if options.quick else HOPS)
    out = options.out or (QUICK_REPORT if options.quick else REPORT)
    if not minutes and not hops:
        print("benchmarks.soak: --minutes 0 and --hops 0 leave nothing to measure; give one of them", file=sys.stderr)
        return 2
    started, load = time.monotonic(), os.getloadavg()[0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        bundle = load_bundle(options.bundle or embedded_bundle())
        _say(f"measuring the endurance of {bundle.path.name}: {minutes:g} minutes through JACK, {hops} hops")
        performed, endless = measure(bundle, minutes, hops)
        text = soak_report.write(out, performed, endless, _about(bundle, minutes, hops, started, load))
    except (RigError, BundleError, OSError) as error:
        print(f"benchmarks.soak: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written, and what was started has ended", file=sys.stderr)
        return 130
    print(text)
    print(f"{out / 'report.md'} is written")
    return 0 if all(promise.kept for promise in soak_report.promises(performed, endless)) else 1


def _about(bundle: Bundle, minutes: float, hops: int, started: float, load: float) -> dict[str, Any]:
    skipped = [what for what, measured in (("through JACK", minutes), ("faster than real time", hops)) if not measured]
    about = machine() | {
        "minutes": minutes,
        "hops": hops,
        "skipped": " and ".join(skipped),
        "stress": STRESS,
        "bundle": bundle.path.name,
    }
    about |= {
        "hop_ms": 1000 * bundle.manifest.features.hop_seconds,
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    return about | {"seconds": round(time.monotonic() - started)}


if __name__ == "__main__":
    run_command(main)
