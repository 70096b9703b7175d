"""S3 hop by hop: a sliding window, exact, or a causal student; and what either costs against the whole note."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.causal.student import StudentVAE
from export.graph_file import run_streaming, write_streaming
from export.graphs.mixture import NewestDecoder, SlidingEncoder, StudentDecoder, StudentEncoder, streaming_products
from export.graphs.perturbation import LinearStep
from training.features import Spectra
from training.models.latents import Latents
from training.models.mixture import MixtureVAE

TIMED_FRAMES = 300


def streaming_graphs(model: MixtureVAE | StudentVAE) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, one hop per call."""
    if isinstance(model, StudentVAE):
        head = nn.Linear(model.head.in_features, model.head.out_features)
        with torch.no_grad():
            head.weight.copy_(model.head.weight * model.spread[:, None])
            head.bias.copy_(model.head.bias * model.spread + model.mean)
        first = LinearStep((1 / model.spread).diag(), -model.mean / model.spread)
        decoder = StudentDecoder(model.scale, first, model.decoder_stack, model.output, model.latent_sizes)
        return StudentEncoder(model.scale, model.stack, head, model.latent_sizes), decoder
    return SlidingEncoder(model), NewestDecoder(model)


def describe(model: MixtureVAE | StudentVAE) -> str:
    c = model.config
    return (
        f"Gaussian-mixture VAE, {c.frames} frames, {c.filters} filters, {len(c.instruments)} instruments, {c.pitches} "
        "pitches"
    )


@torch.no_grad()
def compare(original: MixtureVAE, causal: MixtureVAE | StudentVAE, spectra: Spectra) -> dict[str, float]:
    """Whole note, sliding window and student side by side, on held-out sounds (batch, frames, bins).

    Latents at every sounding frame, against those of the whole note (its first frames) and, of the student, against the
    sliding window's: R² over all dimensions, mean cosine. Squared error of the newest frame. Median time of a hop and
    parameters it reads, of both graphs.
    """
    whole = original.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    reference = torch.cat(list(whole.values()), -1)[:, None].expand(-1, spectra.sounding.shape[1], -1)
    ways: dict[str, MixtureVAE | StudentVAE] = {"sliding": original}
    if isinstance(causal, StudentVAE):
        ways["student"] = causal
    figures: dict[str, float] = {}
    latents: dict[str, Tensor] = {}
    for name, model in ways.items():
        z, _ = model.stream_encode(
            spectra.envelope, spectra.fine, torch.tensor(0.0), model.encoder_state(len(spectra.envelope))
        )
        latents[name] = torch.cat(list(z.values()), -1)
        figures |= _nearness(f"{name}_to_whole", latents[name], reference, spectra.sounding)
        figures[f"mse_newest_{name}"] = _newest_mse(model, z, spectra)
        figures |= _cost(name, model, spectra)
    if "student" in ways:
        figures |= _nearness("student_to_sliding", latents["student"], latents["sliding"], spectra.sounding)
    return figures


def _nearness(name: str, found: Tensor, wanted: Tensor, counts: Tensor) -> dict[str, float]:
    found, wanted = found[counts].double(), wanted[counts].double()
    residual, spread = (found - wanted).square().sum(), (wanted - wanted.mean(0)).square().sum()
    cosine = nn.functional.cosine_similarity(found, wanted).mean()
    return {f"latent_r2_{name}": float(1 - residual / spread.clamp_min(1e-12)), f"latent_cosine_{name}": float(cosine)}


def _newest_mse(model: MixtureVAE | StudentVAE, z: Latents, spectra: Spectra) -> float:
    decoded, _ = model.stream_decode(z, model.decoder_state(len(spectra.envelope)))
    return float((decoded - spectra.log_amplitude).square().mean(-1)[spectra.sounding].mean())


def _cost(name: str, model: MixtureVAE | StudentVAE, spectra: Spectra) -> dict[str, float]:
    """Of the float32 graphs, in ONNX Runtime on one core."""
    encoder, decoder = streaming_graphs(model)
    row = Spectra(
        *(
            value.flatten(0, 1)[None, :TIMED_FRAMES]
            for value in (spectra.log_amplitude, spectra.envelope, spectra.fine, spectra.sounding)
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        write_streaming(Path(folder), encoder, decoder)
        run = run_streaming(Path(folder), row, 0.0)
    return {
        f"hop_ms_{name}": float(np.median(run.hop_ms)),
        f"parameters_{name}": float(streaming_products([encoder, decoder])),
    }
