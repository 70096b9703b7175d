"""python -m benchmarks.streaming: every way of streaming a model compared with the original on whole sounds.

Renders public sounds and trains the small models if they are not there, makes every fallback, measures quality and
speed, and writes report.md, report.json and a figure. What was finished before is kept: a run that was stopped goes on
with the measurement, and within a distillation with the minute, that is missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.papers.workshop import PapersError, Workshop
from benchmarks.streaming import report as streaming_report
from benchmarks.streaming.cuda import check_cuda, cuda_times
from benchmarks.streaming.forms import Forms
from benchmarks.streaming.quality import Quality, depends_on
from benchmarks.streaming.result_cache import ResultCache
from benchmarks.streaming.speed import backend_times, form_times
from benchmarks.streaming.subjects import NAMES, prepare
from benchmarks.streaming.ways import QUICK, Effort, Subject, best_way, ways
from export.errors import ExportError
from export.systems import system_of
from realtime.bundle import file_sha256
from realtime.hop.model import EngineError
from training.checkpoint import CheckpointError
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser, number

REPORT, QUICK_REPORT = Path("benchmarks/reports/streaming"), Path("build/streaming/quick-report")
DISTIL_MINUTES, QUICK_MINUTES = 10.0, 0.2


def measure(subject: Subject, effort: Effort, work: Path, *, cuda: bool) -> dict[str, Any]:
    """Everything about one model, as the report has it.  work : where measurements and distillations are kept"""
    cached, forms = ResultCache(work / subject.name), Forms(subject, effort, work / subject.name)
    quality, chosen, checkpoint = Quality(forms), ways(subject), subject.checkpoint
    about = {
        "checkpoint": file_sha256(subject.source) if subject.source else "random",
        "machine": machine(),
    }
    found: dict[str, Any] = {"quality": {}}
    for way in chosen if subject.source else ():
        asked = {"wanted": asdict(way.wanted) if way.wanted else None}
        with _told(f"{subject.title}, {way.name}: quality"):
            found["quality"][way.name] = cached(
                f"quality-{way.key}", about | dict(depends_on(effort)) | asked, partial(quality, way)
            )
    minutes = {
        "minutes": [subject.distil_minutes, subject.lookahead_minutes],
        "sounds": [effort.calibration, effort.lessons],
        "hops": effort.hops,
    }
    with _told(f"{subject.title}: speed of every form"):
        found["speed"] = cached("speed", about | minutes, lambda: form_times(forms, list(chosen)))
    with _told(f"{subject.title}: precisions and backends"):
        found["backends"] = cached("backends", about | minutes, lambda: backend_times(forms, best_way(subject)))
    if cuda:
        found["cuda"] = cached("cuda", about | minutes, lambda: cuda_times(forms, best_way(subject)))
    lookahead = {way.name: way.wanted.lookahead if way.wanted else 0 for way in chosen}
    window_ms = 1000 * checkpoint.features.window_samples / checkpoint.features.sample_rate
    words = system_of(checkpoint.model).describe(checkpoint.model)
    told = {
        "title": subject.title,
        "words": words,
        "hop_ms": subject.hop_ms,
        "window_ms": window_ms,
        "lookahead": lookahead,
    }
    return found | told | {"held_out_instruments": "held_out_instruments" in checkpoint.selection}


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says what was done and how long it took, unless it was kept."""
    started = time.monotonic()
    yield
    if (seconds := time.monotonic() - started) > 1:
        print(f"{what}, {seconds:.0f} s", flush=True)


def run(subjects: list[Subject], effort: Effort, work: Path, out: Path, *, cuda: bool = False) -> str:
    """Measure and write the report; returns its text."""
    load = [round(os.getloadavg()[0], 1)]
    measured = {subject.name: measure(subject, effort, work, cuda=cuda) for subject in subjects}
    load.append(round(os.getloadavg()[0], 1))
    about = machine() | {"load_before": load[0], "load_after": load[1], "effort": asdict(effort)}
    no_cuda = "" if cuda else "Not measured: no GPU was there, or `--provider cuda` was not given."
    return streaming_report.write(out, {"subjects": measured, "environment": about, "no_cuda": no_cuda})


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.streaming", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/streaming"),
        help="sounds, models and measurements; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, help=f"report; default: {REPORT}, with --quick {QUICK_REPORT}")
    parser.add_argument(
        "--quick", action="store_true", help="few sounds, few hops, hardly any distillation: to see whether it works"
    )
    parser.add_argument(
        "--distil-minutes",
        type=number(0.01, 10000),
        help=f"of S1's and S2's student, S3's takes half; default: {DISTIL_MINUTES:g}",
    )
    parser.add_argument("--only", default=",".join(NAMES), help="some of these; default: %(default)s")
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu", help="cuda: measures a GPU, too")
    parser.add_argument(
        "--soundfont", type=Path, help="default: FluidR3 GM if installed, else the small one inside pretty_midi"
    )
    parser.add_argument(
        "--threads",
        type=number(1, 1024, int),
        default=1,
        help="of torch while it hears and distils; speed is that of one core",
    )
    parser.add_argument(
        "--jobs",
        type=number(1, 64, int),
        default=min(2, os.cpu_count() or 1),
        help="models trained at a time; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    names = tuple(options.only.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"benchmarks.streaming: there is no model {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    out = options.out or (QUICK_REPORT if options.quick else REPORT)
    minutes = options.distil_minutes or (QUICK_MINUTES if options.quick else DISTIL_MINUTES)
    work = options.work / ("measured-quick" if options.quick else "measured")
    torch.set_num_threads(options.threads)
    try:
        if options.provider == "cuda":
            check_cuda()
        subjects = prepare(Workshop(options.work), names, minutes, options.soundfont, options.jobs)
        text = run(subjects, QUICK if options.quick else Effort(), work, out, cuda=options.provider == "cuda")
    except (PapersError, DataError, CheckpointError, ExportError, EngineError, OSError) as error:
        print(f"benchmarks.streaming: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    print(text)
    print(f"{out / 'report.md'} is written")
    return 0


if __name__ == "__main__":
    run_command(main)
