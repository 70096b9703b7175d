"""What export must know of each system: its graphs, and how it becomes causal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from export import causal_mixture
from export.causal import drop, fold
from export.causal_metric import drop_metric, fold_metric
from export.graphs import OfflineDecoder, OfflineEncoder, StreamingDecoder, StreamingEncoder
from export.graphs_metric import MetricStreamingDecoder, MetricStreamingEncoder
from export.report import reconstruction_mse
from export.student import distil
from export.verify import ExportError
from training.features import Spectra
from training.models.latents import TimbreVAE
from training.models.metric import MetricVAE
from training.models.mixture import MixtureVAE
from training.models.perturbation import PerturbationVAE

Pair = tuple[nn.Module, nn.Module]  # encoder, decoder


@dataclass(frozen=True)
class System:
    """streaming : of a causal model, one hop per call, with `input_shapes`, `output_shapes` and `state_shapes` (see `export.graphs`)
    offline : of any model, whole sounds, with `input_shapes` and `output_shapes`
    causal : the model that streams, made of any model with calibration sounds
    compare : figures of ways to become causal, on held-out sounds: (original, causal, spectra) → name → value
    describe : the model in words
    distil : a recurrent student in place of what `causal` gives, from calibration sounds with the running level, in so many minutes
    """

    streaming: Callable[[Any], Pair]
    offline: Callable[[Any], Pair]
    causal: Callable[[Any, Sequence[Spectra]], TimbreVAE]
    compare: Callable[[Any, Any, Spectra], dict[str, float]]
    describe: Callable[[Any], str]
    distil: Callable[[Any, Sequence[Spectra], float], TimbreVAE] | None = None


def _perturbation_causal(model: PerturbationVAE, sounds: Sequence[Spectra]) -> TimbreVAE:
    return fold(model, sounds) if model.config.bidirectional else model


def _perturbation_compare(original: PerturbationVAE, causal: PerturbationVAE, spectra: Spectra) -> dict[str, float]:
    if not original.config.bidirectional:
        return {}
    return {"mse_dropped": reconstruction_mse(drop(original), spectra), "mse_folded": reconstruction_mse(causal, spectra)}


def _perturbation_words(model: PerturbationVAE) -> str:
    c = model.config
    factors = "" if len(c.factors) == 3 else f", {' and '.join(c.factors)} only"
    direction = "bidirectional" if c.bidirectional else "causal"
    return f"random-perturbation VAE, {direction}, {c.layers}×{c.hidden}, {c.pitch_encoder} pitch encoder{factors}"


def _metric_compare(original: MetricVAE, causal: MetricVAE, spectra: Spectra) -> dict[str, float]:
    if not original.config.bidirectional:
        return {}
    return {"mse_dropped": reconstruction_mse(drop_metric(original), spectra), "mse_folded": reconstruction_mse(causal, spectra)}


def _metric_words(model: MetricVAE) -> str:
    c = model.config
    return f"metric-learning VAE, {'bidirectional' if c.bidirectional else 'causal'}, {c.encoder_layers}×{c.hidden}, {c.latent_dim} dimensions each"


SYSTEMS: dict[str, System] = {
    PerturbationVAE.KIND: System(
        streaming=lambda model: (StreamingEncoder(model), StreamingDecoder(model)),
        offline=lambda model: (OfflineEncoder(model), OfflineDecoder(model)),
        causal=_perturbation_causal,
        compare=_perturbation_compare,
        describe=_perturbation_words,
    ),
    MixtureVAE.KIND: System(
        streaming=causal_mixture.streaming_graphs,
        offline=lambda model: (OfflineEncoder(model, model.config.frames), OfflineDecoder(model, model.config.frames)),
        causal=causal_mixture.sliding,
        compare=causal_mixture.compare,
        describe=causal_mixture.describe,
        distil=distil,
    ),
    MetricVAE.KIND: System(
        streaming=lambda model: (MetricStreamingEncoder(model), MetricStreamingDecoder(model)),
        offline=lambda model: (OfflineEncoder(model), OfflineDecoder(model)),
        causal=lambda model, sounds: fold_metric(model, sounds) if model.config.bidirectional else model,
        compare=_metric_compare,
        describe=_metric_words,
    ),
}


def system_of(model: TimbreVAE) -> System:
    """Raises ExportError for a model that the runtime could do nothing with."""
    if "timbre" not in model.latent_sizes:
        raise ExportError(
            f"this model has {' and '.join(model.latent_sizes)} but no timbre, so no knob could move it; export one with a timbre latent"
        )
    return SYSTEMS[model.KIND]
