"""The input pipeline: what the loader's workers make is what the task would, mixed precision leaves frames and losses
alone, and its benchmark.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from benchmarks.pipeline import __main__ as pipeline
from benchmarks.pipeline import report as pipeline_report
from benchmarks.pipeline.measured import Measured
from benchmarks.pipeline.parts import LOADING, TRAINING, Costs, Workshop
from benchmarks.pipeline.precision import Precision
from benchmarks.pipeline.rates import Rate
from benchmarks.pipeline.straightforward import log_amplitude, split, straightforward
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor
from training.losses import exponential_nll
from training.models.latents import Posterior
from training.train import main, recipe


@pytest.fixture(scope="module")
def shop(tiny_data: Path) -> Workshop:
    return Workshop("smoke", tiny_data, batch=6)


def batch_of(shop: Workshop) -> dict[str, torch.Tensor]:
    dataset = shop.dataset()
    return default_collate([dataset[draw] for draw in shop.draws(1)[0]])


def test_workers_draw_the_noise_that_the_task_would(shop: Workshop) -> None:
    """Bit for bit, whether the batch brings its noise or only its draws, and whatever else is in the batch."""
    batch = batch_of(shop)
    frames = shop.task.features(batch["audio"]).sounding.shape[1]
    brought = shop.task.noise(batch, frames)
    without = {name: value[2:4] for name, value in batch.items() if name != "noise"}
    made = shop.task.noise(without, frames)
    assert brought.keys() == {"timbre", "variation", "pitch"}
    assert all(torch.equal(brought[name][2:4], made[name]) for name in brought)


def test_a_data_set_that_is_not_distorted_is_otherwise_the_same(shop: Workshop) -> None:
    """`data.distort: false` leaves the twin as it was, and noise and crop as they are."""
    plain, distorting = shop.recordings(), shop.dataset()
    changed = 0
    for draw in shop.draws(1)[0]:
        a, b = plain[draw], distorting[draw]
        assert torch.equal(a["audio"], b["audio"])
        assert torch.equal(a["distorted"], a["audio"])
        assert "noise" not in a
        assert len(b["noise"]) == shop.crop.noise_values
        changed += not torch.equal(b["distorted"], b["audio"])
    assert changed == 6


def test_mixed_precision_leaves_frames_and_losses_alone(shop: Workshop) -> None:
    """Under autocast the frames stay bit for bit, posteriors and losses float32; only the layers between them round."""
    batch = batch_of(shop)
    with torch.no_grad():
        exact, frames = shop.task.terms(batch, training=True), shop.task.perturbed(batch)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, same = shop.task.terms(batch, training=True), shop.task.perturbed(batch)
            posteriors = shop.task.model.encode(same.envelope, same.fine, same.sounding).posteriors
    assert all(
        torch.equal(getattr(frames, name), getattr(same, name))
        for name in ("log_amplitude", "envelope", "fine", "sounding")
    )
    assert all(posterior.mean.dtype == posterior.variance.dtype == torch.float32 for posterior in posteriors.values())
    assert all(value.dtype == torch.float32 for value in mixed.values())
    assert not torch.equal(mixed["loss"], exact["loss"])
    assert float(mixed["loss"]) == pytest.approx(float(exact["loss"]), rel=0.01)


def test_losses_are_at_least_float32() -> None:
    power, mean = torch.rand(5, dtype=torch.float32) + 0.5, torch.rand(5).to(torch.bfloat16) + 0.5
    assert torch.equal(exponential_nll(power, mean), exponential_nll(power, mean.float()))
    assert exponential_nll(power.double(), power.double()).dtype == torch.float64
    assert Posterior(mean, mean).sample(torch.zeros(5)).dtype == torch.float32
    assert Posterior(power.double(), power.double()).mean.dtype == torch.float64


def test_training_sets_what_a_gpu_may_round(tiny_data: Path, tmp_path: Path) -> None:
    """`float32_matmul: high` lets matrix products and recurrent layers round to TF32; without it neither may.
    bf16-mixed trains.
    """
    words = [
        "fit",
        f"--config={recipe('smoke')}",
        f"--data.directory={tiny_data}",
        "--data.steps_per_epoch=1",
        "--trainer.max_epochs=1",
    ]
    words += [
        "--trainer.limit_val_batches=1",
        "--model.preview_epochs=0",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]
    try:
        more = [
            "--model.float32_matmul=high",
            "--trainer.precision=bf16-mixed",
            f"--trainer.default_root_dir={tmp_path / 'high'}",
        ]
        assert main([*words, *more]) == 0
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        assert main([*words, f"--trainer.default_root_dir={tmp_path / 'highest'}"]) == 0
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True


def test_the_straightforward_pipeline_makes_the_same_spectra(tiny_data: Path) -> None:
    """On real notes log-amplitude, envelope and fine structure are those of the features, so its time is comparable."""
    config = FeatureConfig(window_samples=2048, hop_samples=441, log_floor=1e-2, silence_dbfs=-70)
    store, features = SoundStore(read_dataset(tiny_data)), FeatureExtractor(config)
    for row in (0, 60, 150):
        audio = store.read(row, 0, 44100)
        wanted = features(torch.from_numpy(audio)[None])
        envelope, fine = split(audio, config)
        for found, value in (
            (log_amplitude(audio, config), wanted.log_amplitude),
            (envelope, wanted.envelope),
            (fine, wanted.fine),
        ):
            np.testing.assert_allclose(found, value[0].numpy(), atol=5e-3)
        shapes = [part.shape for part in straightforward(audio, config, 3, np.random.default_rng(0))]
        assert shapes == [(100, 1025)] * 3


def test_the_benchmark_reports_every_part(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--data",
        str(tiny_data),
        "--recipes",
        "live",
        "--rounds",
        "1",
        "--batch",
        "2",
        "--batches",
        "2",
        "--seeds",
        "0",
        "--out",
        str(tmp_path),
    ]
    assert pipeline.main(arguments) == 0
    [found] = json.loads((tmp_path / "report.json").read_text())["recipes"].values()
    parts = found["costs"]["seconds"]
    assert all(parts[part] > 0 for part in (*LOADING, *TRAINING))
    # A multiplication and an addition, three times, for each of 172 frames.
    assert found["costs"]["flops"] > 6 * 100 * found["parameters"]
    assert found["loaders"].keys() == found["steps"].keys() == {"1", "2"}
    text = (tmp_path / "report.md").read_text()
    assert all(
        word in text for word in ("distort (loading)", "features (training)", "straightforward", "What limits training")
    )
    assert str(tiny_data.parent) not in text
    assert text.strip() in capsys.readouterr().out


def test_the_benchmark_refuses_data_of_another_rate(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["--data", str(tiny_data), "--recipes", "tanaka2022-small"]) == 2
    assert "tanaka2022-small needs a data set at 22050 Hz" in capsys.readouterr().err


def test_the_estimate_for_a_gpu_is_arithmetic() -> None:
    """100 examples/s per core against 200 GFLOP per example: 16 cores load 1600 examples/s."""
    parts = dict.fromkeys((*LOADING, *TRAINING), 0.0025)
    paper = Measured(32, 10**8, Costs(parts, 0.1, 200e9, {}), {1: Rate(50, 0.01)}, {})
    text = pipeline_report.gpu_section(paper)
    assert "load 1600 examples/s" in text
    assert "| TF32 | 5% | 124 | 259 | 12.9 × | 31% |" in text
    assert "| bfloat16 | 30% | 1.48e+03 | 21.6 | 1.1 × | 371% |" in text
    assert pipeline_report.limit(paper).startswith("the loading, 1 times")


def test_precision_is_judged_by_the_mean() -> None:
    precision = Precision("smoke", [1.0, 1.1, 0.9], [1.02, 1.09, 0.905])
    assert precision.changes == pytest.approx([0.02, -1 / 110, 1 / 180])
    assert precision.change == pytest.approx(0.005)
    assert "within the bar of 1%" in pipeline_report.precision_section(precision)
    assert "beyond the bar" in pipeline_report.precision_section(Precision("smoke", [1.0], [1.02]))
