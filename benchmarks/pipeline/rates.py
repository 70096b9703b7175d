"""Examples per second by the clock: the loader alone, and the training step alone."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, default_collate

from benchmarks.pipeline.parts import Workshop


@dataclass(frozen=True)
class Rate:
    """Examples per second by the clock, and processor seconds per example, all processes and threads together."""

    examples_per_second: float
    processor_seconds: float


def loader_rate(shop: Workshop, workers: int, batches: int) -> Rate:
    """The loader alone, in so many processes; the clock starts with the first batch."""
    before = _children()
    draws = shop.draws(batches, shop.data.loading.batch_size)
    batcher = DataLoader(shop.dataset(), batch_sampler=draws, num_workers=workers, prefetch_factor=4)
    stream = iter(batcher)
    next(stream)
    started = time.perf_counter()
    counted = sum(len(batch["audio"]) for batch in stream)
    elapsed = time.perf_counter() - started
    del stream  # ends the workers, whose time is known only then
    return Rate(counted / elapsed, (_children() - before) / (batches * shop.data.loading.batch_size))


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def step_rate(shop: Workshop, threads: int, steps: int) -> Rate:
    """Features, model and update, in so many threads."""
    torch.set_num_threads(threads)
    dataset = shop.dataset()
    batches = [default_collate([dataset[draw] for draw in draws]) for draws in shop.draws(steps)]
    started, spent = time.perf_counter(), time.process_time()
    for batch in batches:
        shop.step(batch)
        shop.update()
    elapsed, spent, examples = time.perf_counter() - started, time.process_time() - spent, steps * shop.batch
    return Rate(examples / elapsed, spent / examples)
