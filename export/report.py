"""What the streaming form costs against the original: the numbers of report.json, and the same as report.md."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from export.bundle_writer import QuantisedGraphs
from export.graph_file import StreamingRun
from export.proof.fidelity import ComparisonSounds, knn_accuracies, latent_cosines, measure_streaming, measure_whole
from export.quantize.cost import PrecisionCost
from export.streaming_play import live_features
from training.evaluation.probes import compared
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.latents import TimbreVAE, parameters_of


@torch.no_grad()
def reconstruction_mse(model: TimbreVAE, spectra: Spectra) -> float:
    """Mean squared error of the log-amplitude on the frames that count, whole sounds."""
    decoded = model.decode(model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents)
    weight, squared = compared(decoded, spectra.log_amplitude, spectra.sounding)
    return float((squared * weight).sum() / weight.sum().clamp_min(1))


def streaming_mse(runs: Sequence[StreamingRun], sounds: Sequence[Spectra], lookahead: int = 0) -> float:
    """The same for what the streaming graphs gave, one run per sound (1, frames, bins).  lookahead : frames that they
    answer late
    """
    errors = []
    for run, sound in zip(runs, sounds, strict=True):
        frames = len(run.log_amplitude) - lookahead
        difference = run.log_amplitude[lookahead:] - sound.log_amplitude[0, :frames].numpy()
        errors.append(np.square(difference).mean(-1)[sound.sounding[0, :frames].numpy()])
    return float(np.concatenate(errors).mean())


def measure(
    original: TimbreVAE,
    streams: TimbreVAE,
    features: FeatureConfig,
    held_out: Tensor,
    play: Callable[[Spectra], StreamingRun],
    run: StreamingRun,
    long: Spectra,
) -> dict[str, Any]:
    """What the streaming graphs do on held-out sounds, (sounds, samples), and how fast.

    play : runs the graphs over one sound, from a fresh state
    run, long : one uninterrupted run over all of them in a row
    """
    live = live_features(features)
    sounds = [live(sound[None]) for sound in held_out]
    spectra = FeatureExtractor(features)(held_out)
    hop_ms = 1000 * features.hop_samples / features.sample_rate
    return {
        "mse_original": reconstruction_mse(original, spectra),
        "mse_streaming": streaming_mse([play(sound) for sound in sounds], sounds, streams.lookahead),
        "mse_streaming_in_a_row": streaming_mse([run], [long], streams.lookahead),
        **timings(run.hop_ms, hop_ms),
        "real_time_factor_offline_torch": _real_time_factor(
            lambda: reconstruction_mse(original, spectra), held_out, features
        ),
        "algorithmic_latency_samples": streams.lookahead * features.hop_samples,
        "algorithmic_latency_ms": streams.lookahead * hop_ms,
        "parameters": parameters_of(streams),
    }


def timings(times: np.ndarray, hop_ms: float) -> dict[str, float]:
    """times : (hops,), ms, of every hop;  hop_ms : what one lasts"""
    return {
        "hop_ms_budget": hop_ms,
        "hop_ms_median": float(np.median(times)),
        "hop_ms_p99": float(np.percentile(times, 99)),
        "hop_ms_p999": float(np.percentile(times, 99.9)),
        "real_time_factor_streaming": hop_ms / float(np.mean(times)),
    }


def compare_ways(
    original: TimbreVAE,
    ways: Mapping[str, TimbreVAE],
    features: FeatureConfig,
    held_out: Tensor,
    sounds: ComparisonSounds | None,
) -> dict[str, dict[str, float]]:
    """Fidelity of every way to stream beside the original's own: name → figure → value.

    sounds : labelled ones, for the k-NN accuracies too; None: the held-out sounds, (sounds, samples), alone
    """
    tests = held_out if sounds is None else sounds.test
    seconds = held_out.shape[1] / features.sample_rate if sounds is None else sounds.seconds
    reference = measure_whole(original, features, tests, seconds)
    found = {"original": (original, measure_whole, reference)}
    found |= {
        name: (model, measure_streaming, measure_streaming(model, features, tests, seconds))
        for name, model in ways.items()
    }
    table = {}
    for name, (model, hear, played) in found.items():
        row = {"MSE": played.mse, "log-spectral distance, dB": played.log_spectral_distance_db} | latent_cosines(
            played, reference
        )
        if sounds is not None:
            row |= knn_accuracies(sounds, hear(model, features, sounds.train, seconds), played)
        table[name] = row
    return table


def _real_time_factor(action: Callable[[], object], audio: Tensor, features: FeatureConfig) -> float:
    start = time.perf_counter()
    action()
    return audio.numel() / features.sample_rate / (time.perf_counter() - start)


def machine() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "torch": str(torch.__version__),
        "onnxruntime": onnxruntime.__version__,
    }


ROWS = {
    "mse_original": "reconstruction MSE, original on whole sounds (log-amplitude)",
    "mse_streaming": "… streaming graphs, hop by hop with running level and timbre, each sound from silence",
    "mse_streaming_in_a_row": "… all sounds in a row without a pause: the running timbre lags behind",
    "hop_ms_budget": "a hop lasts, ms",
    "hop_ms_median": "both streaming graphs take, median, ms",
    "hop_ms_p99": "… 99th percentile, ms",
    "hop_ms_p999": "… 99.9th percentile, ms",
    "key_ms_median": "eight keys take beside them, median, ms",
    "real_time_factor_streaming": "streaming graphs, times real time, one core",
    "real_time_factor_offline_torch": "original on whole sounds in torch, times real time",
    "algorithmic_latency_samples": "algorithmic latency, samples",
    "algorithmic_latency_ms": "… ms",
    "parameters": "parameters of the streaming model",
    "latent_r2_sliding_to_whole": "latents of the sliding window against the whole note's: R²",
    "latent_cosine_sliding_to_whole": "… mean cosine",
    "latent_r2_student_to_whole": "latents of the student against the whole note's: R²",
    "latent_cosine_student_to_whole": "… mean cosine",
    "latent_r2_student_to_sliding": "latents of the student against the sliding window's, its teacher: R²",
    "latent_cosine_student_to_sliding": "… mean cosine",
    "mse_newest_sliding": "newest frame, MSE, sliding window",
    "mse_newest_student": "… student",
    "hop_ms_sliding": "fp32 graphs of the sliding window take, median, ms per hop",
    "hop_ms_student": "… of the student",
    "parameters_sliding": "parameters that a hop reads, sliding window",
    "parameters_student": "… student",
}


def as_markdown(name: str, report: dict[str, Any]) -> str:
    lines = [
        f"# {name}",
        "",
        f"Model: {report['model']}. Streams: {report['fallback']}. Precision: {report['precision']}.",
    ]
    lines += [f"Measured on: {report['calibration']}, held-out part.", ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {label} | {report['figures'][key]:.4g} |" for key, label in ROWS.items() if key in report["figures"]]
    lines += ["", "## Against the original", "", report["sounds"], "", *_table(report["fidelity"])]
    if report["quantised"]:
        lines += ["", "## What the precision costs", "", *_costs(report)]
    lines += [
        "",
        f"## Proof over {report['verified_hops']} hops, on {report['provider']}, against torch fed chunks of random "
        "sizes",
        "",
    ]
    lines += [f"- {port}: {difference:.2e}" for port, difference in report["differences"].items()]
    lines += ["", "Greatest differences; relative RMS ones of outputs that a quantised graph has a part in.", ""]
    lines += [", ".join(f"{key} {value}" for key, value in report["environment"].items()), ""]
    return "\n".join(lines)


def _table(ways: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A row per figure, a column per way."""
    figures = list(dict.fromkeys(figure for row in ways.values() for figure in row))
    lines = [f"| | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|"]
    for figure in figures:
        cells = [f"{row[figure]:.3f}" if figure in row else "" for row in ways.values()]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return lines


def _costs(report: dict[str, Any]) -> list[str]:
    cost, lines = report["precision_cost"], []
    for graph, size in report["quantised"].items():
        lines.append(
            f"- {graph}: {size['precision']}, {size['matrices']} matrices, {size['bytes_before']} → "
            f"{size['bytes_after']} bytes"
            if size["matrices"]
            else f"- {graph}: stays fp32, it has no matrix product of constant weights"
        )
    lines.append(
        f"- decoded spectra: {cost['distance_db']:.3f} dB from fp32's, MSE {cost['mse_fp32']:.4f} → {cost['mse']:.4f}"
    )
    lines += [
        f"- {name}: relative RMS {value:.2e}, cosine {cost['cosine'][name]:.5f}"
        for name, value in cost["relative_rms"].items()
    ]
    return lines


def plain_cost(cost: PrecisionCost | None, written: QuantisedGraphs) -> dict[str, Any]:
    """As JSON has them."""
    sizes = {
        name: {**asdict(size), "precision": written.graphs[f"streaming/{name}"].precision}
        for name, size in written.quantised.items()
    }
    return {"quantised": sizes, "precision_cost": asdict(cost) if cost else {}}
