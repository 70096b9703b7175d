"""S2: every loss against direct computation, pairs, streaming, and training on real notes."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from training.checkpoint import load_checkpoint
from training.data.sounds import SoundData
from training.features import FeatureConfig, RecipeError
from training.losses import (
    contrastive_sums,
    distance_sums,
    exponential_nll,
    frame_distances,
    inner_distance_sums,
    kl_to_standard_normal,
)
from training.models.latents import Latents, seeded_noise
from training.models.metric import MetricConfig, MetricVAE
from training.tasks.base import Batch
from training.tasks.metric import MetricTask, pair_up
from training.train import main, recipe

FEATURES = FeatureConfig(44100, 512, 512, 1e-2, 40, "sound", level="power")
SMALL = MetricConfig(
    bins=257, latent_dim=5, hidden=10, encoder_layers=2, decoder_hidden=9, shared=8, bidirectional=False, log_floor=1e-2
)
VARIANTS = {
    "two layers": SMALL,
    "three layers": MetricConfig(257, 3, 6, 3, 7, 5, 0.3, False, log_floor=1e-2),
    "one layer": MetricConfig(257, 1, 4, 1, 4, 3, 0.0, False, log_floor=1e-2),
}
FRAMES = 30


def naive_sum(a: np.ndarray, b: np.ndarray | None = None) -> float:
    """The paper's double sums: over t1 < t2 of one sound (eq. 8), over all pairs of two (eq. 10)."""
    if b is None:
        return sum(float(np.linalg.norm(a[s] - a[t])) for s in range(len(a)) for t in range(s + 1, len(a)))
    return sum(float(np.linalg.norm(x - y)) for x in a for y in b)


@pytest.fixture(scope="module")
def batch(tiny_data: Path) -> Batch:
    """Twelve real notes of the training split, with their labels."""
    data = SoundData(str(tiny_data), batch_size=12, segment_seconds=0.4, distort=False, workers=0, seed=5)
    return next(iter(data.train_dataloader()))


# Losses
# -----------------------------------------------------------------------------------------------------------------


def test_likelihood_is_equation_3() -> None:
    rng = np.random.default_rng(0)
    power, mean = rng.exponential(size=(2, 4, 9)), rng.uniform(0.01, 30, (2, 4, 9))
    found = exponential_nll(torch.from_numpy(power), torch.from_numpy(mean))
    np.testing.assert_allclose(found.numpy(), -stats.expon.logpdf(power, scale=mean), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    first=st.integers(1, 9),
    second=st.integers(1, 9),
    size=st.integers(1, 20),
    far=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 2**31),
)
def test_distances_equal_the_double_loop_in_value_and_gradient(
    first: int, second: int, size: int, far: float, seed: int
) -> None:
    """Of float32 latents, near the origin and far from it, where ‖a‖² + ‖b‖² − 2a·b cancels."""
    torch.manual_seed(seed)
    a, b = ((far + torch.randn(2, frames, size)).requires_grad_() for frames in (first, second))
    ones_a, ones_b = torch.ones(2, first), torch.ones(2, second)
    found = inner_distance_sums(a, ones_a) - 0.7 * distance_sums(a, b, ones_a, ones_b)
    gradients = torch.autograd.grad(found.sum(), (a, b))
    wanted = torch.zeros(2, dtype=torch.float64)
    for n in range(2):
        for s, t in itertools.combinations(range(first), 2):
            wanted[n] = wanted[n] + torch.linalg.vector_norm(a[n, s].double() - a[n, t].double())
        for s, t in itertools.product(range(first), range(second)):
            wanted[n] = wanted[n] - 0.7 * torch.linalg.vector_norm(a[n, s].double() - b[n, t].double())
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-7, atol=1e-6)
    for one, other in zip(gradients, torch.autograd.grad(wanted.sum(), (a, b)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_equal_frames_have_no_distance_and_no_gradient() -> None:
    """Silence encodes to the same latent again and again: √0 must not poison the gradient."""
    z = (50 + torch.randn(1, 1, 16)).expand(1, 6, 16).clone().requires_grad_()
    distances = frame_distances(z, z)
    [gradient] = torch.autograd.grad(distances.sum(), z)
    assert torch.equal(distances, torch.zeros_like(distances))
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_only_frames_that_count_are_summed() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(1, 7, 4), torch.randn(1, 5, 4)
    counts_a, counts_b = torch.tensor([[1, 0, 1, 1, 0, 1, 1.0]]), torch.tensor([[0, 1, 1, 0, 1.0]])
    kept_a, kept_b = a[0, counts_a[0] > 0].numpy(), b[0, counts_b[0] > 0].numpy()
    assert float(distance_sums(a, b, counts_a, counts_b)) == pytest.approx(naive_sum(kept_a, kept_b), rel=1e-6)
    assert float(inner_distance_sums(a, counts_a)) == pytest.approx(naive_sum(kept_a), rel=1e-6)


def test_contrast_is_equation_7_and_knows_same_and_different_only() -> None:
    torch.manual_seed(2)
    z, counts = torch.randn(6, 8, 3), torch.ones(6, 8)
    pairs, same = torch.tensor([[4, 1], [0, 5], [2, 3]]), torch.tensor([True, False, False])
    found = contrastive_sums(z, counts, pairs, same)
    for (i, j), equal, value in zip(pairs.tolist(), same.tolist(), found.tolist(), strict=True):
        a, b = z[i].numpy(), z[j].numpy()
        assert value == pytest.approx(naive_sum(a) + naive_sum(b) + (1 if equal else -1) * naive_sum(a, b), rel=1e-6)


# Pairs
# ------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20),
    seed=st.integers(0, 2**31),
    balanced=st.booleans(),
)
def test_pairs_are_disjoint_and_repeatable(labels: list[tuple[int, int]], seed: int, balanced: bool) -> None:
    pitch, timbre = torch.tensor(labels).unbind(1)
    same = pitch[:, None] == pitch, timbre[:, None] == timbre
    draws = torch.randint(2**62, (len(labels),), generator=torch.Generator().manual_seed(seed))
    pairs = pair_up(*same, draws, balanced=balanced)
    assert pairs.shape == (len(labels) // 2, 2)
    assert len(set(pairs.flatten().tolist())) == pairs.numel()
    assert torch.equal(pairs, pair_up(*same, draws, balanced=balanced))


def test_balanced_pairs_share_what_can_be_shared() -> None:
    """Twelve sounds: four twins in pitch, two of them in timbre too, and one more twin in timbre."""
    pitch = torch.tensor([1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    timbre = torch.tensor([1, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9, 10])
    same = pitch[:, None] == pitch, timbre[:, None] == timbre
    shares = np.zeros((2, 2))
    for seed in range(50):
        for balanced in (False, True):
            pairs = pair_up(*same, torch.full((12,), seed * 1009), balanced=balanced)
            shares[int(balanced)] += [float(table[pairs[:, 0], pairs[:, 1]].float().mean()) / 50 for table in same]
    np.testing.assert_allclose(shares[1], [1 / 3, 1 / 3])
    assert (shares[0] < 0.1).all()


# The model
# --------------------------------------------------------------------------------------------------------------


def model_of(config: MetricConfig) -> MetricVAE:
    torch.manual_seed(4)
    return MetricVAE(config).eval()


def inputs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(2, FRAMES, SMALL.bins), torch.randn(2, FRAMES, SMALL.bins)


def stream(model: MetricVAE, envelope: Tensor, fine: Tensor, sizes: list[int]) -> tuple[Latents, Tensor]:
    """Latents and decoded frames, in chunks of the given sizes."""
    encoder, decoder = model.encoder_state(len(envelope)), model.decoder_state(len(envelope))
    parts, decoded, start = [], [], 0
    for size in sizes:
        z, encoder = model.stream_encode(
            envelope[:, start : start + size], fine[:, start : start + size], torch.tensor(0.1), encoder
        )
        y, decoder = model.stream_decode(z, decoder)
        parts.append(z)
        decoded.append(y)
        start += size
    return Latents(**{name: torch.cat([part[name] for part in parts], 1) for name in model.latent_sizes}), torch.cat(
        decoded, 1
    )


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, FRAMES - 1), max_size=6, unique=True))
@torch.no_grad()
def test_chunked_equals_whole(name: str, cuts: list[int]) -> None:
    model, edges = model_of(VARIANTS[name]), [0, *sorted(cuts), FRAMES]
    envelope, fine = inputs()
    whole = model.encode(envelope, fine, torch.ones(2, FRAMES)).latents
    parts, decoded = stream(model, envelope, fine, [b - a for a, b in itertools.pairwise(edges)])
    for latent in model.latent_sizes:
        torch.testing.assert_close(parts[latent], whole[latent], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded, model.decode(whole), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_future_cannot_leak(name: str) -> None:
    model, now = model_of(VARIANTS[name]), 17
    envelope, fine = inputs()
    before, before_decoded = stream(model, envelope, fine, [FRAMES])
    envelope[:, now:] = 2.0
    after, after_decoded = stream(model, envelope, fine, [FRAMES])
    for latent in model.latent_sizes:
        assert torch.equal(after[latent][:, :now], before[latent][:, :now])
        assert not torch.equal(after[latent][:, now:], before[latent][:, now:])
    assert torch.equal(after_decoded[:, :now], before_decoded[:, :now])


@torch.no_grad()
def test_power_and_log_amplitude_are_two_names_of_one_thing(batch: Batch) -> None:
    """X of the model is the normalised power of the features: average one per sound; and its logarithm comes back."""
    task, model = MetricTask(SMALL, FEATURES), model_of(SMALL)
    spectra = task.features(batch["audio"])
    power = model.observed(spectra.envelope + spectra.fine)
    for sound, sounding in zip(power, spectra.sounding, strict=True):
        assert float(sound[sounding].mean()) == pytest.approx(1.0, rel=1e-3)
    torch.testing.assert_close(model.log_amplitude_of(power), spectra.log_amplitude, atol=1e-4, rtol=1e-4)


def test_dropout_is_for_training_only() -> None:
    model = model_of(MetricConfig(257, 3, 6, 3, 7, 5, 0.5, False, log_floor=1e-2))
    envelope, fine = inputs()
    counts = torch.ones(2, FRAMES)
    assert torch.equal(model.encode(envelope, fine, counts).pitch.mean, model.encode(envelope, fine, counts).pitch.mean)
    model.train()
    assert not torch.equal(
        model.encode(envelope, fine, counts).pitch.mean, model.encode(envelope, fine, counts).pitch.mean
    )


def test_impossible_sizes_are_named() -> None:
    with pytest.raises(RecipeError, match="hidden=0 must be at least 1"):
        MetricConfig(hidden=0)
    with pytest.raises(RecipeError, match=r"dropout=1\.0 must lie in 0 … 1"):
        MetricConfig(dropout=1.0)


# Training
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_total_is_equation_11_by_loops(batch: Batch, masked: bool) -> None:
    """Each term of a training step, computed sound by sound and pair by pair, over sounds × frames × bins."""
    torch.manual_seed(6)
    task = MetricTask(SMALL, FEATURES, alpha=0.3, beta=0.7, mask_silence=masked, balanced_pairs=True).eval()
    audio = batch["audio"].clone()
    audio[:, 9000:] = 0
    labelled = batch | {"audio": audio}
    terms = task.terms(labelled, training=True)
    spectra = task.features(audio)
    frames, bins = spectra.log_amplitude.shape[1:]
    counts = spectra.sounding if masked else torch.ones_like(spectra.sounding)
    assert spectra.sounding.sum() < counts.numel()
    with torch.no_grad():
        noise = seeded_noise(task.model, batch["draw"].tolist(), frames, audio.device)
        encoding = task.model.encode(spectra.envelope, spectra.fine, counts, noise)
        kappa, power = task.model.power(encoding.latents), task.model.observed(spectra.log_amplitude)
    bound = 0.0
    for n in range(len(audio)):
        kept = counts[n]
        bound -= float(-stats.expon.logpdf(power[n, kept].double(), scale=kappa[n, kept].double()).sum())
        bound -= sum(
            float(kl_to_standard_normal(p.mean[n, kept], p.variance[n, kept]).sum())
            for p in encoding.posteriors.values()
        )
    same = {
        "pitch": batch["pitch"][:, None] == batch["pitch"],
        "timbre": batch["instrument"][:, None] == batch["instrument"],
    }
    contrast = dict.fromkeys(same, 0.0)
    for i, j in pair_up(same["pitch"], same["timbre"], batch["draw"], balanced=True).tolist():
        for name, table in same.items():
            a, b = (encoding.latents[name][n, counts[n]].numpy() for n in (i, j))
            contrast[name] += naive_sum(a) + naive_sum(b) + (1 if table[i, j] else -1) * naive_sum(a, b)
    total = -bound + 0.3 * contrast["pitch"] + 0.7 * contrast["timbre"]
    assert terms["loss"].item() == pytest.approx(total / (len(audio) * frames * bins), rel=1e-4)


def test_only_same_and_different_reach_the_loss(batch: Batch) -> None:
    """Other names and notes for the same sameness: the same loss, to the bit."""
    torch.manual_seed(6)
    task = MetricTask(SMALL, FEATURES, alpha=0.3, beta=0.7).eval()
    renamed = batch | {"pitch": 1000 - 3 * batch["pitch"], "instrument": 77 - batch["instrument"]}
    other = batch | {"pitch": torch.zeros_like(batch["pitch"])}
    assert torch.equal(task.terms(renamed, training=True)["loss"], task.terms(batch, training=True)["loss"])
    assert not torch.equal(task.terms(other, training=True)["loss"], task.terms(batch, training=True)["loss"])


def test_a_few_steps_learn(batch: Batch) -> None:
    """On real notes the loss falls, and metric learning brings the same closer and the different apart."""
    torch.manual_seed(7)
    task = MetricTask(SMALL, FEATURES, alpha=0.5, beta=0.5, balanced_pairs=True, mask_silence=True)
    optimizer = torch.optim.Adam(task.parameters(), 5e-3)
    history = []
    for _ in range(60):
        terms = task.terms(batch, training=True)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        history.append({name: value.item() for name, value in terms.items()})
    assert np.isfinite([list(step.values()) for step in history]).all()
    for name in ("loss", "nll", "contrast_pitch", "contrast_timbre"):
        assert history[-1][name] < history[0][name] - 0.01


def arguments(data: Path, root: Path, *more: str) -> list[str]:
    options = {
        "directory": data,
        "segment_seconds": 0.4,
        "steps_per_epoch": 4,
        "pitches": "[60, 78]",
        "held_out_instruments": "[2, 2]",
        "programs": "null",
    }
    model = {"hidden": 12, "decoder_hidden": 12, "shared": 10, "latent_dim": 4}
    words = [f"--data.{key}={value}" for key, value in options.items()] + [
        f"--model.model.{key}={value}" for key, value in model.items()
    ]
    trainer = [
        f"--trainer.default_root_dir={root}",
        "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.accelerator=cpu",
    ]
    return [
        "fit",
        f"--config={recipe('tanaka2021-small')}",
        "--model.features.sample_rate=44100",
        "--model.alpha=0.8",
        "--model.beta=0.8",
        *words,
        *trainer,
        *more,
    ]


def test_the_recipe_trains_and_its_checkpoint_reads(tiny_data: Path, tmp_path: Path) -> None:
    assert main(arguments(tiny_data, tmp_path)) == 0
    checkpoint = load_checkpoint(tmp_path / "lightning_logs/version_0/checkpoints/last.pt")
    assert isinstance(checkpoint.model, MetricVAE)
    assert checkpoint.model.config.log_floor == checkpoint.features.log_floor
    assert checkpoint.features.level == "power"
    assert checkpoint.info["alpha"] > 0
    assert checkpoint.selection["held_out_instruments"] == [2, 2]


def unlabelled(data: Path, out: Path, column: str, value: str) -> Path:
    """A copy of a data set in which every third sound lacks a label."""
    shutil.copytree(data, out)
    with (out / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::3]:
        row[column] = value
    with (out / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return out


def test_wrong_data_ends_in_a_sentence(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ("--data.pitches=null", "--data.held_out_instruments=null")
    cases: list[tuple[Path, tuple[str, ...], list[str]]] = [
        (tiny_data, (*whole, "--data.instruments=[Violin]"), ["all training sounds are of Violin", "two instruments"]),
        (
            unlabelled(tiny_data, tmp_path / "a", "pitch", ""),
            whole,
            ["sounds have no pitch", "alpha=0.8", "data.pitches"],
        ),
        (
            unlabelled(tiny_data, tmp_path / "b", "instrument", "unlabelled"),
            whole,
            ["sounds have no instrument", "beta=0.8"],
        ),
        (tiny_data, ("--data.held_out_instruments=[4, 4]",), ["held_out_instruments=[4, 4]", "hold out fewer"]),
    ]
    for data, more, words in cases:
        assert main(arguments(data, tmp_path / "run", *more)) == 2
        told = capsys.readouterr().err.strip()
        assert told.count("\n") == 0
        assert all(word in told for word in words), told


def test_the_vanilla_row_needs_no_labels(tiny_data: Path, tmp_path: Path) -> None:
    data = unlabelled(tiny_data, tmp_path / "data", "pitch", "")
    plain = (
        "--model.alpha=0",
        "--model.beta=0",
        "--data.pitches=null",
        "--data.held_out_instruments=null",
        "--trainer.max_epochs=1",
    )
    assert main(arguments(data, tmp_path / "run", *plain)) == 0
