"""The precisions that `benchmarks.weights` times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.bundles import quantized
from benchmarks.weights import FEATURES, fp32_bundle
from realtime.hop.model import StreamingModel
from training.models.perturbation import PerturbationConfig, PerturbationVAE


def test_benchmarked_bundles_play_in_the_engine(tmp_path: Path) -> None:
    """The precisions that `benchmarks.weights` times answer alike, and read fewer bytes with fewer bits."""
    torch.manual_seed(0)
    model = PerturbationVAE(PerturbationConfig(bidirectional=False, hidden=32, layers=2)).eval()
    fp32 = fp32_bundle(tmp_path, model)
    frame = np.random.default_rng(0).standard_normal((2, FEATURES.bins)).astype(np.float32)
    answers, sizes = {}, {}
    for precision in ("fp32", "int8", "int4"):
        made = quantized(fp32, tmp_path / precision, precision)
        engine, sizes[precision] = StreamingModel(made.bundle, "cpu"), made.bytes_per_hop
        engine.encode(frame[0], frame[1], 0.005)
        answers[precision] = engine.latents["timbre"].copy()
    assert sizes["fp32"] > 3 * sizes["int8"] > 5 * sizes["int4"]
    errors = {
        name: float(np.abs(answers[name] - answers["fp32"]).mean() / np.abs(answers["fp32"]).mean())
        for name in ("int8", "int4")
    }
    assert 0 < errors["int8"] < 0.05
    assert errors["int8"] < errors["int4"] < 0.4
