"""What the streaming form costs against the original: the numbers of report.json, and the same as report.md."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from export.verify import StreamingRun
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.latents import TimbreVAE, parameters_of
from training.probes import compared


@torch.no_grad()
def reconstruction_mse(model: TimbreVAE, spectra: Spectra) -> float:
    """Mean squared error of the log-amplitude on the frames that count, whole sounds."""
    decoded = model.decode(model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents)
    weight, squared = compared(decoded, spectra.log_amplitude, spectra.sounding)
    return float((squared * weight).sum() / weight.sum().clamp_min(1))


def streaming_mse(runs: Sequence[StreamingRun], sounds: Sequence[Spectra]) -> float:
    """The same for what the streaming graphs gave, one run per sound (1, frames, bins)."""
    errors = [
        np.square(run.log_amplitude - sound.log_amplitude[0].numpy()).mean(-1)[sound.sounding[0].numpy()]
        for run, sound in zip(runs, sounds, strict=True)
    ]
    return float(np.concatenate(errors).mean())


def live_features(config: FeatureConfig) -> FeatureExtractor:
    """The frames the runtime makes: with the running level, whatever the model was trained with."""
    return FeatureExtractor(dataclasses.replace(config, normalisation="running"))


def measure(
    original: TimbreVAE,
    causal: TimbreVAE,
    compare: Callable[[Any, Any, Spectra], dict[str, float]],
    features: FeatureConfig,
    held_out: Tensor,
    play: Callable[[Spectra], StreamingRun],
    run: StreamingRun,
    long: Spectra,
) -> dict[str, Any]:
    """Fidelity on held-out sounds, and speed.

    compare : further figures of the system (see `export.systems`)
    play : runs the streaming graphs over one sound, from a fresh state;  run, long : one uninterrupted run over all of them in a row
    """
    live = live_features(features)
    sounds = [live(sound[None]) for sound in held_out]
    spectra = FeatureExtractor(features)(held_out)
    hop_ms = 1000 * features.hop_samples / features.sample_rate
    result: dict[str, Any] = {"mse_original": reconstruction_mse(original, spectra)}
    result |= compare(original, causal, spectra)
    result |= {
        "mse_streaming": streaming_mse([play(sound) for sound in sounds], sounds),
        "mse_streaming_in_a_row": streaming_mse([run], [long]),
        "hop_ms_budget": hop_ms,
        "hop_ms_median": float(np.median(run.hop_ms)),
        "hop_ms_p99": float(np.percentile(run.hop_ms, 99)),
        "real_time_factor_streaming": hop_ms / float(np.mean(run.hop_ms)),
        "real_time_factor_offline_torch": _real_time_factor(lambda: reconstruction_mse(original, spectra), held_out, features),
        "algorithmic_latency_samples": 0,
        "parameters": parameters_of(causal),
    }
    return result


def _real_time_factor(action: Callable[[], object], audio: Tensor, features: FeatureConfig) -> float:
    start = time.perf_counter()
    action()
    return audio.numel() / features.sample_rate / (time.perf_counter() - start)


def machine() -> dict[str, str]:
    return {"machine": platform.machine(), "system": platform.system(), "torch": str(torch.__version__), "onnxruntime": onnxruntime.__version__}


ROWS = {
    "mse_original": "reconstruction MSE, original on whole sounds (log-amplitude)",
    "mse_dropped": "… its forward half alone",
    "mse_folded": "… folded",
    "mse_streaming": "… streaming graphs, hop by hop with running level and timbre, each sound from silence",
    "mse_streaming_in_a_row": "… all sounds in a row without a pause: another instrument each time, the running timbre lags behind",
    "hop_ms_budget": "a hop lasts, ms",
    "hop_ms_median": "both streaming graphs take, median, ms",
    "hop_ms_p99": "… 99th percentile, ms",
    "real_time_factor_streaming": "streaming graphs, times real time, one core",
    "real_time_factor_offline_torch": "original on whole sounds in torch, times real time",
    "algorithmic_latency_samples": "algorithmic latency, samples",
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
    lines = [f"# {name}", "", f"Model: {report['model']}. Precision: {report['precision']}. Measured on: {report['calibration']}, held-out part.", ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {label} | {report['figures'][key]:.4g} |" for key, label in ROWS.items() if key in report["figures"]]
    kind = "greatest difference" if report["precision"] == "fp32" else "relative RMS difference"
    lines += ["", f"Verified against torch over {report['verified_hops']} hops; {kind} of each output:", ""]
    lines += [f"- {port}: {difference:.2e}" for port, difference in report["differences"].items()]
    lines += ["", ", ".join(f"{key} {value}" for key, value in report["environment"].items()), ""]
    return "\n".join(lines)
