"""Proof that the graphs do what the model does: hop by hop, on real sound. Export refuses what it cannot reproduce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.errors import ExportError
from export.graph_file import StreamingRun, open_session, run_streaming
from training.features import Spectra
from training.models.latents import Latents, TimbreVAE

TOLERANCES = {  # the finest first
    "fp32": 1e-3,  # greatest absolute difference of any output, latents near 1, log-amplitudes near 5
    "int8": 0.08,  # root-mean-square difference over root-mean-square value
    "int4": 0.35,  # the same
}


@torch.no_grad()
def torch_streaming(
    model: TimbreVAE, spectra: Spectra, rate: float, chunks: Sequence[int] = ()
) -> tuple[Latents, Tensor]:
    """The same from torch: latents (1, frames, D) and decoded log-amplitude (1, frames, bins).

    chunks : frames of each call, for a model gives the same whatever they are; none: all at once
    """
    encoder_state, decoder_state = model.encoder_state(1), model.decoder_state(1)
    latents, decoded = [], []
    frames = spectra.envelope.shape[1]
    for envelope, fine in zip(
        spectra.envelope.split(list(chunks) or frames, 1), spectra.fine.split(list(chunks) or frames, 1), strict=True
    ):
        z, encoder_state = model.stream_encode(envelope, fine, torch.tensor(rate), encoder_state)
        log_amplitude, decoder_state = model.stream_decode(z, decoder_state)
        latents.append(z)
        decoded.append(log_amplitude)
    return Latents(**{name: torch.cat([z[name] for z in latents], 1) for name in latents[0]}), torch.cat(decoded, 1)


def random_chunks(frames: int, seed: int = 0) -> list[int]:
    """Sizes from one frame to many that make up so many frames."""
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    while (left := frames - sum(sizes)) > 0:
        sizes.append(min(left, int(2 ** rng.uniform(0, 7))))
    return sizes


def verify_streaming(
    folder: Path,
    model: TimbreVAE,
    spectra: Spectra,
    rate: float,
    precisions: Mapping[str, str] | None = None,
    *,
    provider: str = "cpu",
) -> tuple[dict[str, float], StreamingRun]:
    """Compare every hop with torch, which is fed chunks of random sizes.

    precisions : of the graphs, "encoder" and "decoder"; fp32 where nothing is said

    Returns
    -------
    the difference of each output (absolute worst for fp32, relative RMS for coarser ones), and the run itself

    Raises
    ------
    ExportError
        If an output differs by more than the tolerance.
    """
    reference, decoded = torch_streaming(model, spectra, rate, random_chunks(spectra.envelope.shape[1]))
    run = run_streaming(folder, spectra, rate, shift=1.0, provider=provider)
    wanted = {name: value[0].numpy() for name, value in reference.items()} | {"log_amplitude": decoded[0].numpy()}
    found = run.latents | {"log_amplitude": run.log_amplitude}
    differences = {}
    for name, value in found.items():
        graphs = ("encoder", "decoder") if name == "log_amplitude" else ("encoder",)
        had = [(precisions or {}).get(graph, "fp32") for graph in graphs]
        differences[name] = check_difference(name, value, wanted[name], had)
    return differences, run


def check_difference(
    name: str, found: np.ndarray, wanted: np.ndarray, precisions: Sequence[str], *, least: float = 0.0
) -> float:
    """How far an output is from torch's: absolute worst for fp32, relative RMS for coarser graphs.

    precisions : of all graphs that have a part in it
    least : an fp32 limit that is not undercut

    Raises
    ------
    ExportError
        If that is more than the tolerance of the coarsest.
    """
    coarsest = max(precisions, key=list(TOLERANCES).index, default="fp32")
    worst, relative = _difference(found, wanted)
    fine = coarsest == "fp32"
    figure, limit = worst if fine else relative, max(TOLERANCES[coarsest], least if fine else 0.0)
    if not figure <= limit:
        raise ExportError(
            f"{name}: {coarsest} ONNX differs from torch by {figure:.1e} over {len(found)} hops (limit {limit:.0e}); "
            "nothing was written"
        )
    return figure


def _difference(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    error = np.abs(found - wanted)
    if not np.isfinite(error).all():
        return float("inf"), float("inf")
    return float(error.max()), float(np.sqrt(np.mean(error**2) / max(1e-12, np.mean(wanted**2))))


@torch.no_grad()
def verify_offline(folder: Path, encoder: Any, decoder: Any, spectra: Spectra) -> dict[str, float]:
    """Compare the whole-sound graphs with torch; raises ExportError beyond the fp32 tolerance."""
    inputs = {"envelope": spectra.envelope, "fine": spectra.fine}
    fixed = encoder.input_shapes["envelope"][1]  # a number of frames, or the name of a free axis
    if isinstance(fixed, int):
        inputs = {name: _to_length(value, fixed) for name, value in inputs.items()}
    latents = dict(zip(encoder.output_shapes, encoder(*inputs.values()), strict=True))
    wanted = latents | {"log_amplitude": decoder(*latents.values())}
    answers = open_session(folder / "offline/encoder.onnx").run(
        None, {name: value.numpy() for name, value in inputs.items()}
    )
    found = dict(zip(latents, answers, strict=True))
    found["log_amplitude"] = open_session(folder / "offline/decoder.onnx").run(
        None, {name: value.numpy() for name, value in latents.items()}
    )[0]
    differences = {}
    for name, value in found.items():
        differences[f"offline {name}"] = worst = _difference(value, wanted[name].numpy())[0]
        limit = TOLERANCES["fp32"]
        if not worst <= limit:
            raise ExportError(
                f"{name}: the offline ONNX graph differs from torch by {worst:.1e} (limit {limit:.0e}); nothing was "
                "written"
            )
    return differences


def _to_length(frames: Tensor, length: int) -> Tensor:
    """The first frames, the last one repeated where there are too few.  (1, frames, bins)"""
    return frames[:, torch.arange(length).clamp(max=frames.shape[1] - 1)]
