"""One hop of each streaming graph in ONNX Runtime on one core: `python -m pytest benchmarks --benchmark-only`.

The shipped model, and random weights in the sizes of the small recipes and of the papers: a hop takes as long whatever
the weights say. Their quality, and whole hops of trained models: `python -m benchmarks.streaming`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.streaming.subjects import LIVE
from benchmarks.weights import paper_size
from export.causal.student import StudentVAE
from export.graph_file import open_session, write_streaming
from export.graphs.windowed import WindowedVAE
from export.quantize.quantize import quantize
from export.systems import streaming_graphs, system_of
from realtime.bundle import Precision
from training.checkpoint import load_checkpoint
from training.models.metric import MetricConfig, MetricVAE
from training.models.mixture import MixtureConfig, MixtureVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

SMALL_S1 = {
    "bins": 1025,
    "timbre_dim": 32,
    "variation_dim": 32,
    "pitch_dim": 32,
    "hidden": 96,
    "layers": 2,
    "envelope_coefficients": 50,
}
SMALL_S2 = {"bins": 513, "hidden": 96, "encoder_layers": 2, "decoder_hidden": 128, "shared": 96}
SMALL_S3 = MixtureConfig(
    mel_bands=128, filters=128, hidden=256, instruments=tuple("abcdefghijkl"), floor_db=-60, log_floor=1e-3
)
MODELS: dict[str, Callable[[], Any]] = {
    "S1 small": lambda: PerturbationVAE(PerturbationConfig(**SMALL_S1, bidirectional=False)),  # type: ignore[arg-type]
    "S1 small, lookahead 4": lambda: PerturbationVAE(PerturbationConfig(**SMALL_S1, bidirectional=False, lookahead=4)),  # type: ignore[arg-type]
    "S1 small, windowed": lambda: WindowedVAE(PerturbationVAE(PerturbationConfig(**SMALL_S1)), 50),  # type: ignore[arg-type]
    "S1 shipped": lambda: load_checkpoint(LIVE).model,
    "S1 paper": paper_size,
    "S2 small": lambda: MetricVAE(MetricConfig(**SMALL_S2, bidirectional=False)),  # type: ignore[arg-type]
    "S2 paper": lambda: MetricVAE(MetricConfig(bidirectional=False)),
    "S3 small, sliding": lambda: MixtureVAE(SMALL_S3),
    "S3 small, student": lambda: StudentVAE(MixtureVAE(SMALL_S3)),
    "S3 paper, sliding": lambda: MixtureVAE(MixtureConfig(instruments=tuple("abcdefghijkl"))),
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model's fp32 graphs, written once."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            torch.manual_seed(0)
            model = MODELS[name]().eval()
            original = model.original if isinstance(model, WindowedVAE) else model
            system = system_of(_teacher(original))
            folders[name] = tmp_path_factory.mktemp("graphs")
            write_streaming(folders[name], *streaming_graphs(system, model))
        return folders[name]

    return folder_of


def _teacher(model: Any) -> Any:
    """A model of the same system: a student is no system of its own."""
    return MixtureVAE(SMALL_S3) if isinstance(model, StudentVAE) else model


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("graph", ["encoder", "decoder"])
@pytest.mark.parametrize("name", MODELS)
def test_one_hop(
    benchmark: Any, written: Callable[[str], Path], name: str, graph: str, precision: Precision, tmp_path: Path
) -> None:
    source, target = written(name) / f"streaming/{graph}.onnx", tmp_path / "graph.onnx"
    quantize(source, target, precision)
    session = open_session(target)
    rng = np.random.default_rng(0)
    feed = {port.name: rng.standard_normal(port.shape).astype(np.float32) * 0.1 for port in session.get_inputs()}
    # Counts of frames heard: every window is full.
    feed |= {name: np.full_like(value, 100) for name, value in feed.items() if name.endswith("count")}
    benchmark.extra_info |= {"file_bytes": target.stat().st_size}
    answers = benchmark(session.run, None, feed)
    assert all(np.isfinite(value).all() for value in answers)
