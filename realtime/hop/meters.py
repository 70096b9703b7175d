"""What the session counts while it runs: one record, in ordinary or in shared memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from realtime.knobs.targets import MIXED_OUTPUTS

HOP_HISTORY = 65536
# What a hop's time is spent on. The step writes the first five ("filter" is what tells the ways out: making the filter
# above all), the mixer the others, one for each way out: with a worker, two threads. Every slot has one writer.
STAGES = ("stft", "encoder", "edits", "decoder", "filter", "morph", *MIXED_OUTPUTS)
STFT, ENCODER, EDITS, DECODER, FILTER, FIRST_OUTPUT = range(6)

# Writer of every field: the session (audio thread), but for what the step writes: with a worker, the worker's thread.
# Everyone else only reads.
METERS = np.dtype(
    [
        ("frames", "<i8"),  # samples per channel processed
        ("hops", "<i8"),  # model steps made
        ("silent_hops", "<i8"),  # hops below the silence threshold: level and latents frozen
        ("late_hops", "<i8"),  # steps that took longer than a hop lasts
        ("failed_hops", "<i8"),  # steps whose result was not finite: faded to dry
        ("bypassed_hops", "<i8"),  # steps not made, because the ones before were too late: faded to dry
        ("shortened_steps", "<i8"),  # of the resynthesis, given fewer rounds, because the block was about to be late
        ("clipped", "<i8"),  # output samples beyond full scale
        ("limited", "<i8"),  # output samples the limiter turned down
        ("repaired", "<i8"),  # input samples that were not numbers and became silence
        ("latency_samples", "<i8"),  # of the way out chosen now, at the session's rate
        ("peak_in", "<f8"),  # of the last block, linear
        ("peak_out", "<f8"),
        ("rms_in", "<f8"),  # of the last block, linear
        ("rms_out", "<f8"),
        ("busy_seconds", "<f8"),  # time spent inside process_block
        ("stage_seconds", "<f8", (len(STAGES),)),  # of it, by what for
        ("hop_ms", "<f4", (HOP_HISTORY,)),  # ring: step k is at k % HOP_HISTORY
    ]
)


def new_meters() -> np.ndarray:
    """One zeroed record, shape ()."""
    return np.zeros((), METERS)


@dataclass(frozen=True)
class Summary:
    """The end-of-run account; `as_dict` is what --json writes."""

    audio_seconds: float
    real_time_factor: float  # seconds of audio per second of computing
    hop_ms_median: float | None
    hop_ms_p99: float | None
    hop_ms_max: float | None
    hops: int
    silent_hops: int
    late_hops: int
    failed_hops: int
    clipped_samples: int
    latency_samples: int
    latency_ms: float
    provider: str
    sample_rate: int
    bundle: str

    def as_dict(self) -> dict[str, float | int | str | None]:
        return asdict(self)


def summarize(meters: np.ndarray, *, sample_rate: int, latency_samples: int, provider: str, bundle: str) -> Summary:
    """Turn a record into the summary. A figure that was not measured is None, never 0."""
    hops = int(meters["hops"])
    times = np.asarray(meters["hop_ms"])[: min(hops, HOP_HISTORY)]
    median, p99, worst = (float(np.percentile(times, q)) for q in (50, 99, 100)) if len(times) else (None, None, None)
    audio_seconds = int(meters["frames"]) / sample_rate
    busy = float(meters["busy_seconds"])
    return Summary(
        audio_seconds=audio_seconds,
        real_time_factor=audio_seconds / busy if busy > 0 else 0.0,
        hop_ms_median=median,
        hop_ms_p99=p99,
        hop_ms_max=worst,
        hops=hops,
        silent_hops=int(meters["silent_hops"]),
        late_hops=int(meters["late_hops"]),
        failed_hops=int(meters["failed_hops"]),
        clipped_samples=int(meters["clipped"]),
        latency_samples=latency_samples,
        latency_ms=1000 * latency_samples / sample_rate,
        provider=provider,
        sample_rate=sample_rate,
        bundle=bundle,
    )
