"""S2: the model streamed and whole, and a training step by loops."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tests.support.metric_models import FEATURES, FRAMES, SMALL, VARIANTS, naive_sum
from training.data.sound_options import ExampleOptions, LoadingOptions
from training.data.sounds import SoundData
from training.features import RecipeError
from training.losses import kl_to_standard_normal
from training.models.latents import Latents, seeded_noise
from training.models.metric import MetricConfig, MetricVAE
from training.tasks.base import Batch
from training.tasks.metric import MetricTask, pair_up


@pytest.fixture(scope="module")
def batch(tiny_data: Path) -> Batch:
    """Twelve real notes of the training split, with their labels."""
    data = SoundData(
        str(tiny_data),
        examples=ExampleOptions(segment_seconds=0.4, distort=False),
        loading=LoadingOptions(batch_size=12, workers=0, seed=5),
    )
    return next(iter(data.train_dataloader()))


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
