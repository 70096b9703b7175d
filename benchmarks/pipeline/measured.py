"""All figures of one recipe."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pipeline.parts import Costs, Workshop, measure_costs
from benchmarks.pipeline.rates import Rate, loader_rate, step_rate

RECIPES = ("live", "tanaka2022-small", "tanaka2022")
PAPER_SIZE = RECIPES[-1]


@dataclass(frozen=True)
class Measured:
    """One recipe. `loaders` and `steps` by the number of workers and of threads."""

    batch: int
    parameters: int
    costs: Costs
    loaders: dict[int, Rate]
    steps: dict[int, Rate]


def measure(name: str, data: Path, options: argparse.Namespace) -> Measured:
    """All figures of one recipe; the paper-size model in few and small steps."""
    paper = name == PAPER_SIZE
    shop = Workshop(name, data, options.paper_batch if paper else options.batch)
    rounds = max(1, options.rounds // 3) if paper else options.rounds
    costs = measure_costs(shop, rounds, 16)
    loaders = {workers: loader_rate(shop, workers, options.batches) for workers in (1, 2)}
    steps = {threads: step_rate(shop, threads, 1 if paper else rounds) for threads in (1, 2)}
    return Measured(
        shop.data.loading.batch_size,
        sum(parameter.numel() for parameter in shop.task.parameters()),
        costs,
        loaders,
        steps,
    )
