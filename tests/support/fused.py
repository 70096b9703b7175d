"""Bundles with a fused graph: the shipped model, and small ones of every system with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.bundle_writer import write_manifest
from export.fused.file import FILE, write_fused
from export.fused.step import FusedStep
from export.graph_file import write_streaming
from export.graphs.metric import MetricStreamingDecoder, MetricStreamingEncoder
from export.graphs.mixture import NewestDecoder, SlidingEncoder
from export.graphs.perturbation import StreamingDecoder, StreamingEncoder
from realtime.bundle import Bundle, embedded_bundle, load_bundle
from realtime.knobs.targets import morph_targets
from tests.support.mixture_models import SMALL, model_of
from training.checkpoint import load_checkpoint
from training.features import FeatureConfig
from training.models.metric import MetricConfig, MetricVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

LIVE = Path(__file__).parents[2] / "training/checkpoints/live.pt"


@dataclass(frozen=True)
class Written:
    """A bundle with its fused graph, and the modules that both were made of."""

    bundle: Bundle
    encoder: Any
    decoder: Any

    @property
    def file(self) -> Path:
        return self.bundle.path / FILE

    @property
    def step(self) -> FusedStep:
        return FusedStep(self.bundle.manifest, self.encoder, self.decoder).eval()


class Trapped(nn.Module):
    """A decoder that answers what is not a number where z^t[0] is above `limit`."""

    def __init__(self, decoder: Any, limit: float) -> None:
        super().__init__()
        self.decoder, self.limit = decoder, limit
        self.input_shapes = decoder.input_shapes
        self.output_shapes = decoder.output_shapes
        self.state_shapes = decoder.state_shapes

    def forward(self, timbre: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        log_amplitude, *states = self.decoder(timbre, *others)
        return (log_amplitude + 0.01 * torch.sqrt(self.limit - timbre[:, :1]), *states)


def knobs_of(dimensions: int, reach: float) -> dict[str, Any]:
    """Two axes that move the timbre by `reach`, a preset that knows pitch, and one that does not."""
    rng = np.random.default_rng(3)
    vectors = (reach * rng.standard_normal((5, dimensions))).tolist()
    axes = [
        {"name": f"timbre[{i}]", "label": f"timbre {i}", "direction": vectors[i], "effect_db": 3.0} for i in range(2)
    ]
    anchors = [
        {"midi_note": 60.0, "timbre": vectors[2]},
        {"midi_note": 66.0, "timbre": vectors[3]},
        {"midi_note": 75.0, "timbre": vectors[4]},
    ]
    gong = {"name": "gong", "family": "percussion", "anchors": [{"midi_note": None, "timbre": vectors[3]}]}
    return {"axes": axes, "presets": [{"name": "alto", "family": "reed", "anchors": anchors}, gong]}


def small(folder: Path, features: FeatureConfig, model: Any, encoder: Any, decoder: Any, reach: float) -> Written:
    folder.mkdir(exist_ok=True)
    encoder, decoder = encoder.eval(), decoder.eval()
    graphs = write_streaming(folder, encoder, decoder)
    known = knobs_of(model.latent_sizes["timbre"], reach)
    manifest = write_manifest(folder, features=features, model=model, graphs=graphs, knobs=known, fidelity={})
    write_fused(folder, manifest, encoder, decoder)
    return Written(Bundle(folder, manifest), encoder, decoder)


def in_hops(written: Written, audio: np.ndarray) -> np.ndarray:
    hop = written.bundle.manifest.features.hop_samples
    return audio[: len(audio) // hop * hop].reshape(-1, hop).astype(np.float32)


def resting(written: Written, hops: int) -> np.ndarray:
    return np.tile([target.default for target in morph_targets(written.bundle.manifest)], (hops, 1)).astype(float)


def metric_model() -> MetricVAE:
    """S2, of random weights."""
    torch.manual_seed(1)
    sizes = {"bins": 257, "latent_dim": 8, "hidden": 24, "decoder_hidden": 24, "shared": 20}
    return MetricVAE(MetricConfig(**sizes, bidirectional=False, log_floor=1e-2)).eval()  # type: ignore[arg-type]


def trapped(direction: float) -> tuple[MetricVAE, nn.Module, nn.Module]:
    """The same with its streaming forms, the decoder with a trap."""
    model = metric_model()
    return model, MetricStreamingEncoder(model), Trapped(MetricStreamingDecoder(model), 1.5 * direction)


def live_bundle(folder: Path) -> Written:
    """The shipped model, in fp32."""
    model = load_checkpoint(LIVE).model
    encoder, decoder = StreamingEncoder(model).eval(), StreamingDecoder(model).eval()  # type: ignore[arg-type]
    graphs = write_streaming(folder, encoder, decoder)
    manifest = load_bundle(embedded_bundle()).manifest.model_copy(update={"graphs": graphs, "precision": "fp32"})
    write_fused(folder, manifest, encoder, decoder)
    return Written(Bundle(folder, manifest), encoder, decoder)


def metric_bundle(folder: Path) -> Written:
    """S2, of random weights; its level is a power, its hop longer than half its window."""
    model, features = metric_model(), FeatureConfig(44100, 512, 441, 1e-2, 50, "running", level="power")
    return small(folder, features, model, MetricStreamingEncoder(model), MetricStreamingDecoder(model), 40.0)


def mixture_bundle(folder: Path) -> Written:
    """S3, of random weights: no variation, and a decoder without a state."""
    model, features = model_of(SMALL), FeatureConfig(44100, 256, 128, 1e-3, 40, "running", silence_dbfs=-70.0)
    return small(folder, features, model, SlidingEncoder(model), NewestDecoder(model), 3.0)


def late_bundle(folder: Path) -> Written:
    """S1, of random weights, that answers three hops later."""
    torch.manual_seed(2)
    config = PerturbationConfig(
        257, 6, 5, 4, hidden=16, layers=2, bidirectional=False, centred_variation=True, lookahead=3
    )
    model, features = PerturbationVAE(config).eval(), FeatureConfig(44100, 512, 256, 1e-2, 50, "running")
    return small(folder, features, model, StreamingEncoder(model), StreamingDecoder(model), 20.0)
