"""python -m export.onnx ckpt.pt [--output DIR]: turns a checkpoint into a streaming bundle, verified and measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.errors import ExportError
from export.fallbacks import Wanted
from export.pipeline import Options, export
from export.quantize.quantize import parse_precision
from realtime.bundle import BundleError
from training.checkpoint import CheckpointError
from training.console import run_command, typed
from training.data.manifest import DataError
from training.data.options import Parser
from training.memory import keep_freed_memory


def parser() -> argparse.ArgumentParser:
    found = Parser(prog="python -m export.onnx", description=__doc__)
    found.add_argument("checkpoint", type=Path)
    found.add_argument(
        "--output", type=Path, help="bundle folder to write; default: the checkpoint's name with .bundle"
    )
    found.add_argument(
        "--precision",
        default="fp32",
        metavar="P",
        help="of the streaming graphs: fp32, int8 or int4, or one each: encoder=int4,decoder=int8",
    )
    found.add_argument("--streaming-only", action="store_true", help="leave out the whole-sound graphs")
    found.add_argument(
        "--fused", action="store_true", help="also write fused.onnx: the whole runtime as one graph, for other hosts"
    )
    found.add_argument(
        "--calibration", type=Path, metavar="DIR", help="recordings, or a data set, to fit and measure on"
    )
    found.add_argument(
        "--distil-minutes",
        type=float,
        default=0.0,
        metavar="M",
        help="teach the causal student for so long; a stopped run resumes",
    )
    found.add_argument(
        "--lookahead",
        type=int,
        default=0,
        metavar="K",
        help="let the student answer K hops later (so much more latency)",
    )
    found.add_argument(
        "--window-frames",
        type=int,
        default=0,
        metavar="N",
        help="stream the original itself over the last N frames: the ceiling, N times the work",
    )
    found.add_argument(
        "--provider",
        choices=("cpu", "cuda"),
        default="cpu",
        help="prove and time the graphs on this; never falls back silently",
    )
    return found


def main(arguments: list[str] | None = None) -> int:
    keep_freed_memory()
    chosen = parser().parse_args(arguments)
    target = chosen.output or Path(f"{chosen.checkpoint.stem}.bundle")
    try:
        options = Options(
            parse_precision(chosen.precision),
            chosen.streaming_only,
            chosen.calibration,
            Wanted(chosen.distil_minutes, chosen.lookahead, chosen.window_frames),
            chosen.fused,
            chosen.provider,
        )
        report = export(chosen.checkpoint, target, options)
    except (CheckpointError, DataError, ExportError, BundleError) as error:
        print(f"export.onnx: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "export.onnx: stopped, nothing was written; the same command again goes on with a distillation where it "
            "was",
            file=sys.stderr,
        )
        return 130
    figures = report["figures"]
    print(
        f"{target}: {report['model']}, {report['fallback']}, {report['precision']}, verified over "
        f"{report['verified_hops']} hops"
    )
    print(
        f"reconstruction MSE {figures['mse_original']:.3f} original, {figures['mse_streaming']:.3f} streaming; "
        f"{figures['hop_ms_median']:.3f} ms of {figures['hop_ms_budget']:.1f} ms per hop; "
        f"{figures['algorithmic_latency_ms']:g} ms of latency"
    )
    print(f"play it with: {typed('python', '-m', 'realtime.run', '--bundle', target, '--device', 0)}")
    return 0


if __name__ == "__main__":
    run_command(main)
