"""What export must know of each system: its graphs, and how it becomes causal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from export.causal import mixture as causal_mixture
from export.causal.distil import Lessons
from export.causal.fold import CalibrationBatch, drop, fold
from export.causal.lessons import MetricLessons, StreamingLessons
from export.causal.metric import drop_metric, fold_metric
from export.causal.student import StudentLessons, StudentVAE
from export.errors import ExportError
from export.graphs.metric import MetricStreamingDecoder, MetricStreamingEncoder
from export.graphs.perturbation import OfflineDecoder, OfflineEncoder, StreamingDecoder, StreamingEncoder
from export.graphs.windowed import WindowedDecoder, WindowedEncoder, WindowedVAE
from training.features import FeatureConfig, Spectra
from training.models.latents import TimbreVAE
from training.models.metric import MetricVAE
from training.models.mixture import MixtureVAE
from training.models.perturbation import PerturbationVAE

Pair = tuple[nn.Module, nn.Module]  # encoder, decoder


@dataclass(frozen=True)
class System:
    """How a system's models stream, fold and distil.

    describe : model → its size in words
    streaming : causal model → its modules for one hop per call, with `input_shapes`, `output_shapes` and
        `state_shapes` as in `export.graphs.perturbation`
    offline : any model → its modules for whole sounds, with `input_shapes` and `output_shapes`
    recurrent : whether its models can be bidirectional; if so
        drop : (model, lookahead) → the causal model of the forward halves alone
        fold : (model, sounds, lookahead) → the same refitted on calibration sounds
    lessons : (teacher, folded model, features, sounds, held-out sounds) → the losses of a causal student;
        sounds are (sounds, samples)
    compare : (original, streaming model, spectra) → further figures for the report, by name
    """

    describe: Callable[[Any], str]
    streaming: Callable[[Any], Pair]
    offline: Callable[[Any], Pair]
    lessons: Callable[[Any, Any, FeatureConfig, Tensor, Tensor], Lessons]
    recurrent: bool = True
    drop: Callable[[Any, int], TimbreVAE] = lambda model, lookahead: model
    fold: Callable[[Any, Sequence[CalibrationBatch], int], TimbreVAE] = lambda model, sounds, lookahead: model
    compare: Callable[[Any, Any, Spectra], dict[str, float]] = lambda original, streams, spectra: {}


def _perturbation_words(model: PerturbationVAE) -> str:
    c = model.config
    factors = "" if len(c.factors) == 3 else f", {' and '.join(c.factors)} only"
    return (
        f"random-perturbation VAE, {_direction(c.bidirectional)}, {c.layers}×{c.hidden}, {c.pitch_encoder} pitch "
        f"encoder{factors}"
    )


def _metric_words(model: MetricVAE) -> str:
    c = model.config
    return (
        f"metric-learning VAE, {_direction(c.bidirectional)}, {c.encoder_layers}×{c.hidden}, {c.latent_dim} dimensions "
        "each"
    )


def _direction(bidirectional: bool) -> str:
    return "bidirectional" if bidirectional else "causal"


def _mixture_streaming(model: MixtureVAE | StudentVAE) -> Pair:
    return causal_mixture.streaming_graphs(model)


SYSTEMS: dict[str, System] = {
    PerturbationVAE.KIND: System(
        describe=_perturbation_words,
        streaming=lambda model: (StreamingEncoder(model), StreamingDecoder(model)),
        offline=lambda model: (OfflineEncoder(model), OfflineDecoder(model)),
        lessons=StreamingLessons,
        drop=drop,
        fold=fold,
    ),
    MetricVAE.KIND: System(
        describe=_metric_words,
        streaming=lambda model: (MetricStreamingEncoder(model), MetricStreamingDecoder(model)),
        offline=lambda model: (OfflineEncoder(model), OfflineDecoder(model)),
        lessons=MetricLessons,
        drop=drop_metric,
        fold=fold_metric,
    ),
    MixtureVAE.KIND: System(
        describe=causal_mixture.describe,
        streaming=_mixture_streaming,
        offline=lambda model: (OfflineEncoder(model, model.config.frames), OfflineDecoder(model, model.config.frames)),
        lessons=lambda teacher, folded, *lesson: StudentLessons(teacher, *lesson),
        recurrent=False,
        compare=causal_mixture.compare,
    ),
}


def system_of(model: TimbreVAE) -> System:
    """Raises ExportError for a model that the runtime could do nothing with."""
    if "timbre" not in model.latent_sizes:
        raise ExportError(
            f"this model has {' and '.join(model.latent_sizes)} but no timbre, so no knob could move it; export one "
            "with a timbre latent"
        )
    if model.KIND not in SYSTEMS:
        raise ExportError(
            f"models of kind {model.KIND} become bundles alone (python -m export.onnx); other hosts play one of "
            f"{', '.join(SYSTEMS)}"
        )
    return SYSTEMS[model.KIND]


def streaming_graphs(system: System, model: TimbreVAE) -> Pair:
    """Encoder and decoder of whatever form of the system streams."""
    return (
        (WindowedEncoder(model), WindowedDecoder(model)) if isinstance(model, WindowedVAE) else system.streaming(model)
    )
