"""python -m benchmarks.weights --out DIR: how near is a hop of the paper-size model to reading its weights once?

The random-perturbation VAE of Tanaka 2022 in its own size (three encoders and the decoder, 3×800 units each, 2049
bins), made causal, with random weights: a hop reads every weight once, so its time cannot be less than the weights'
bytes over the memory's bandwidth. All precisions take turns in one run in one thread, so that they meet the same
machine. *Warm* hops follow each other at once; before each *cold* hop a buffer larger than the caches is read, as other
programs do between the hops of a player. The bandwidth is that of the fastest reader at hand, a dot product, on a
buffer far larger than the last-level cache, and on one of the weights' own size, which may partly stay in the cache.
Where other programs use the memory too, all of this is theirs in part: the turn of 50 hops that was disturbed least
stands beside the median of all.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.bundles import bundle_without_knobs, quantized
from export.systems import system_of
from realtime.bundle import Bundle, Features, Precision
from realtime.hop.model import StreamingModel
from training.console import run_command
from training.data.options import Parser, number
from training.evaluation.report import environment, table, write_report
from training.models.latents import TimbreVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")
FEATURES = Features(
    sample_rate=44100,
    window_samples=4096,
    hop_samples=441,
    log_floor=1e-3,
    cutoff_quefrency=100,
    level_seconds=2.0,
    silence_dbfs=-80.0,
)
FAR_BYTES = 1 << 30  # far larger than any last-level cache
FLUSH_BYTES = 1 << 26
TURN = 50  # hops before the next precision has its turn


@dataclass(frozen=True)
class HopTimes:
    """Of one precision. Milliseconds per hop, encoder and decoder together; GB/s with 10⁹ bytes.

    weight_bytes : what a hop reads: codes and scales, or plain weights
    own_gb_s : bandwidth of a buffer of that size
    """

    precision: str
    weight_bytes: int
    warm_ms: list[float]
    cold_ms: list[float]
    far_gb_s: float
    own_gb_s: float

    @property
    def quiet_ms(self) -> float:
        """Median of the turn that was disturbed least."""
        return float(np.median(np.reshape(self.warm_ms, (-1, TURN)), axis=1).min())

    @property
    def limit_ms(self) -> float:
        """Reading the weights once from memory."""
        return self.weight_bytes / self.far_gb_s / 1e6

    @property
    def own_limit_ms(self) -> float:
        """Reading them once from wherever so many bytes stay."""
        return self.weight_bytes / self.own_gb_s / 1e6


def paper_size() -> PerturbationVAE:
    """The causal model, with random weights."""
    torch.manual_seed(0)
    return PerturbationVAE(PerturbationConfig(bidirectional=False)).eval()


def memory_bandwidth(size_bytes: int, seconds: float = 1.0) -> float:
    """GB/s of one core that reads a buffer again and again: median, after one reading that does not count."""
    half = np.ones(max(1, size_bytes // 8), np.float32), np.ones(max(1, size_bytes // 8), np.float32)
    times: list[float] = []
    with threadpool_limits(1):
        np.dot(*half)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            np.dot(*half)
            times.append(time.perf_counter() - start)
    return 2 * half[0].nbytes / float(np.median(times)) / 1e9


def fp32_bundle(folder: Path, model: TimbreVAE) -> Bundle:
    """The model's streaming graphs in a bundle without knobs."""
    return bundle_without_knobs(
        folder, system_of(model).streaming(model), model, FEATURES, producer="benchmarks.weights"
    )


def measure(model: TimbreVAE, precisions: tuple[Precision, ...], hops: int) -> list[HopTimes]:
    """Every precision's hops, in turns, and the bandwidth now and then between them: the best of it counts."""
    with tempfile.TemporaryDirectory() as place:
        fp32 = fp32_bundle(Path(place) / "made", model)
        made = {precision: quantized(fp32, Path(place) / precision, precision) for precision in precisions}
        players = {precision: _player(StreamingModel(one.bundle, "cpu")) for precision, one in made.items()}
    flush = np.ones(FLUSH_BYTES // 4, np.float32)
    warm: dict[str, list[float]] = {precision: [] for precision in precisions}
    cold: dict[str, list[float]] = {precision: [] for precision in precisions}
    sizes = {precision: one.bytes_per_hop for precision, one in made.items()}
    far, own = [memory_bandwidth(FAR_BYTES)], {precision: [memory_bandwidth(size)] for precision, size in sizes.items()}
    for turn in range(-(-hops // TURN)):
        for precision, play in players.items():
            for _ in range(3):  # what the others left in the caches does not count
                play()
            warm[precision] += [play() for _ in range(TURN)]
            if turn % 4 == 0:
                cold[precision] += [_after(flush, play) for _ in range(TURN)]
        if turn % 8 == 7:
            far.append(memory_bandwidth(FAR_BYTES, 0.3))
            for precision, size in sizes.items():
                own[precision].append(memory_bandwidth(size, 0.1))
    return [HopTimes(name, sizes[name], warm[name], cold[name], max(far), max(own[name])) for name in precisions]


def _player(model: StreamingModel) -> Callable[[], float]:
    """Plays one hop of noise, encoder to decoder; returns its milliseconds."""
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((64, 2, FEATURES.bins)).astype(np.float32)
    hop = 0

    def play() -> float:
        nonlocal hop
        envelope, fine = frames[hop % len(frames)]
        hop += 1
        start = time.perf_counter()
        model.encode(envelope, fine, 0.005)
        for name, value in model.latents.items():
            model.decoder_inputs[name][:] = value
        model.decode()
        return 1000 * (time.perf_counter() - start)

    return play


def _after(flush: np.ndarray, play: Callable[[], float]) -> float:
    flush.max()
    return play()


def as_markdown(about: dict[str, object], found: list[HopTimes]) -> str:
    """The whole report."""
    header = [
        "precision",
        "weights, MB",
        "warm: median, ms",
        "p99",
        "p99.9",
        "quietest turn",
        "cold: median",
        "memory limit, ms",
        "quietest ÷ limit",
    ]
    header += ["bandwidth at own size, GB/s", "quietest ÷ its limit"]
    rows = []
    for times in found:
        percentiles = [float(np.percentile(times.warm_ms, rank)) for rank in (50, 99, 99.9)]
        figures = [
            *percentiles,
            times.quiet_ms,
            float(np.median(times.cold_ms)),
            times.limit_ms,
            times.quiet_ms / times.limit_ms,
        ]
        rows.append([times.precision, f"{times.weight_bytes / 1e6:.1f}", *(f"{figure:.2f}" for figure in figures)])
        rows[-1] += [f"{times.own_gb_s:.1f}", f"{times.quiet_ms / times.own_limit_ms:.2f}"]
    intro = (__doc__ or "").split("\n\n", 1)[1]
    load = f"load average {about['load_before']} before, {about['load_after']} after"
    line = f"One thread, {about['hops']} hops each, memory {found[0].far_gb_s:.1f} GB/s; {load}."
    return f"# Reading the weights\n\n{intro}\n{line}\n\n{table(header, rows)}"


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m benchmarks.weights", description="Hop times of the paper-size model against the bandwidth."
    )
    parser.add_argument("--out", type=Path, help="folder for report.md and report.json")
    parser.add_argument("--hops", type=number(1, 10**6, int), default=2000, help="measured hops per precision")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    options = parser.parse_args(arguments)
    load = [round(os.getloadavg()[0], 1)]
    found = measure(paper_size(), tuple(options.precisions), options.hops)
    load.append(round(os.getloadavg()[0], 1))
    about = environment() | {"hops": len(found[0].warm_ms), "load_before": load[0], "load_after": load[1]}
    text = as_markdown(about, found)
    if options.out:
        rounded = [
            asdict(times) | {key: [round(ms, 4) for ms in getattr(times, key)] for key in ("warm_ms", "cold_ms")}
            for times in found
        ]
        write_report(options.out, text, {"about": about, "precisions": rounded})
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
