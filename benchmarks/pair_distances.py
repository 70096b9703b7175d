"""python -m benchmarks.pair_distances [--out DIR]: S2's sums of frame-pair distances against the naive double loop,
time and peak memory.

Forward and backward pass of D_ii + D_jj − D_ij (Tanaka 2021, eq. 7) for pairs of sounds, each way in a process of its
own, on one core. Memory is how much the process's peak grows while it computes.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.console import run_command
from training.data.options import Parser
from training.evaluation.report import environment, table, write_report
from training.losses import contrastive_sums

DIMENSIONS = 16
CASES = ((43, 1), (172, 1), (172, 8))  # frames, pairs; the last is a minibatch of the paper
LOOP_LIMIT = 1  # pairs; more would take minutes


@dataclass(frozen=True)
class Outcome:
    seconds: float
    peak_mib: float
    value: float
    gradient_norm: float


def vectorised(z: Tensor) -> Tensor:
    """What training uses."""
    pairs = torch.arange(len(z)).reshape(-1, 2)
    return contrastive_sums(z, torch.ones(z.shape[:2]), pairs, torch.zeros(len(pairs), dtype=torch.bool)).sum()


def broadcast(z: Tensor) -> Tensor:
    """All differences as one tensor (pairs, frames, frames, D)."""
    total = torch.zeros((), dtype=torch.float64)
    first, second = z.double().unflatten(0, (-1, 2)).unbind(1)
    upper = torch.ones(z.shape[1], z.shape[1]).triu(1).bool()
    for a, b in ((first, first), (second, second), (first, second)):
        inner = a is b
        distance = torch.linalg.vector_norm(a[:, :, None] - b[:, None], dim=-1)
        total = total + distance[:, upper].sum() if inner else total - distance.sum()
    return total


def double_loop(z: Tensor) -> Tensor:
    """Frame by frame, as equations 8 to 10 are written."""
    total = torch.zeros((), dtype=torch.float64)
    for a, b in z.double().unflatten(0, (-1, 2)):
        for sound in (a, b):
            for s in range(len(sound)):
                for t in range(s + 1, len(sound)):
                    total = total + torch.linalg.vector_norm(sound[s] - sound[t])
        for x in a:
            for y in b:
                total = total - torch.linalg.vector_norm(x - y)
    return total


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "vectorised": vectorised,
    "broadcast": broadcast,
    "double loop": double_loop,
}


def measure(way: str, frames: int, pairs: int, repeats: int) -> Outcome:
    """Median time of forward and backward, and the growth of the peak; call it in a fresh process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    WAYS[way](torch.randn(2, 3, DIMENSIONS, requires_grad=True)).backward()  # whatever is loaded on first use
    z = torch.randn(2 * pairs, frames, DIMENSIONS, requires_grad=True)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(repeats):
        z.grad = None
        start = time.perf_counter()
        value = WAYS[way](z)
        value.backward()
        times.append(time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert z.grad is not None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return Outcome(sorted(times)[repeats // 2], grown / unit, value.item(), float(z.grad.norm()))


def compare() -> list[dict[str, Any]]:
    """Every way in every case that it can do in seconds."""
    context, rows = multiprocessing.get_context("spawn"), []
    for frames, pairs in CASES:
        for way in WAYS:
            if way == "double loop" and pairs > LOOP_LIMIT:
                continue
            with context.Pool(1) as pool:
                found = pool.apply(measure, (way, frames, pairs, 1 if way == "double loop" else 9))
            rows.append({"way": way, "frames": frames, "pairs": pairs, **vars(found)})
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The measurements, and how far the ways agree."""
    lines = [
        [row["way"], str(row["frames"]), str(row["pairs"]), f"{1000 * row['seconds']:.1f}", f"{row['peak_mib']:.1f}"]
        for row in rows
    ]
    text = "# Frame-pair distances\n\nForward and backward, one core, float64.\n\n"
    text += table(["way", "frames per sound", "pairs", "ms", "peak memory, MiB"], lines)
    by_case = {(row["frames"], row["pairs"], row["way"]): row for row in rows}
    text += "\nLargest relative difference to the vectorised way, of value and of the gradient's norm:\n\n"
    for (frames, pairs, way), row in by_case.items():
        if way != "vectorised":
            ours = by_case[frames, pairs, "vectorised"]
            worst = max(abs(row[key] / ours[key] - 1) for key in ("value", "gradient_norm"))
            text += (
                f"- {way}, {frames} frames × {pairs}: {worst:.1e}; {row['seconds'] / ours['seconds']:.1f} × the time\n"
            )
    return text


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.pair_distances", description=__doc__)
    parser.add_argument("--out", type=Path, help="writes report.md and report.json there")
    options = parser.parse_args(arguments)
    rows = compare()
    text = as_markdown(rows)
    if options.out:
        write_report(options.out, text, {"rows": rows, "machine": environment()})
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
