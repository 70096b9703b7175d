"""S3: every loss against direct computation, the labels that count, the data and sizes that are refused."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from tests.support.mixture_models import SMALL, model_of, spectra
from training.data.contract import TrainingSet
from training.data.manifest import DataError
from training.data.sounds import SoundData
from training.features import FeatureConfig, RecipeError
from training.losses import kl_between, kl_to_mixture, kl_to_uniform, log_responsibilities
from training.models.latents import seeded_noise
from training.models.mixture import MixtureVAE
from training.tasks.mixture import MixtureTask, begun_late, check_labels, labelled_rows

# The losses
# -----------------------------------------------------------------------------------------------------------------


def gaussians(batch: int = 6, size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, size).double(), torch.rand(batch, size).double() + 0.1, torch.randn(3, size).double()


def test_kl_of_two_gaussians() -> None:
    mean, variance, others = gaussians()
    for other, sigma in itertools.product(others, (0.3, 1.0)):
        wanted = kl_divergence(Independent(Normal(mean, variance.sqrt()), 1), Independent(Normal(other, sigma), 1))
        torch.testing.assert_close(kl_between(mean, variance, other, sigma**2), wanted)


def test_responsibilities_are_bayes_rule() -> None:
    z, _, means = gaussians()
    for sigma in (0.5, 1.0):
        likelihood = torch.stack([Independent(Normal(mean, sigma), 1).log_prob(z).exp() for mean in means], 1)
        torch.testing.assert_close(
            log_responsibilities(z, means, sigma**2).exp(), likelihood / likelihood.sum(1, keepdim=True)
        )


def test_kl_to_the_mixture_is_the_expected_one() -> None:
    mean, variance, means = gaussians()
    shares = log_responsibilities(mean, means, 1.0)
    found = kl_to_mixture(mean, variance, shares, means, 0.49)
    for i in range(len(mean)):
        each = [
            float(kl_divergence(Normal(mean[i], variance[i].sqrt()), Normal(means[k], 0.7)).sum()) for k in range(3)
        ]
        assert float(found[i]) == pytest.approx(sum(float(shares[i, k].exp()) * each[k] for k in range(3)))


def test_kl_to_equal_shares() -> None:
    _, _, means = gaussians()
    logits = torch.log_softmax(means, -1)
    wanted = kl_divergence(Categorical(logits=logits), Categorical(logits=torch.zeros_like(logits)))
    torch.testing.assert_close(kl_to_uniform(logits), wanted)
    assert float(kl_to_uniform(torch.full((1, 5), -np.log(5.0)))[0]) == pytest.approx(0, abs=1e-6)


def task_of(**options: object) -> MixtureTask:
    task = MixtureTask(SMALL, FeatureConfig(22050, 256, 128, 1e-3, 20), **options)  # type: ignore[arg-type]
    task.build()
    return task


@torch.no_grad()
def test_every_term_of_the_bound_is_as_computed_sound_by_sound() -> None:
    task, model = task_of(), model_of()
    task.model = model
    mel = model.mel(spectra(4))
    encoding = model.encode_mel(mel, seeded_noise(model, [1, 2, 3, 4], 11, torch.device("cpu")))
    label, pitch = torch.tensor([0, -1, 2, 1]), torch.tensor([3, 0, 6, 6])
    terms = {name: float(value) for name, value in task.bound(mel, encoding, label, pitch).items()}
    rebuilt, z = model.decode_mel(encoding.latents), encoding.latents
    assert terms["squared_error"] == pytest.approx(
        float(np.mean([(rebuilt[i] - mel[i]).square().sum().item() for i in range(4)])), rel=1e-5
    )
    likelihood = torch.stack(
        [Independent(Normal(mean, SMALL.timbre_sigma), 1).log_prob(z.timbre) for mean in model.timbre_means], 1
    )
    shares = Categorical(logits=likelihood)
    known = [0, 2, 3]
    assert terms["instrument_cross_entropy"] == pytest.approx(
        float(-shares.log_prob(label.clamp_min(0))[known].mean()), rel=1e-5
    )
    assert terms["kl_responsibilities"] == pytest.approx(float((np.log(3) - shares.entropy()).mean()), rel=1e-4)
    own = model.pitch_means[pitch]
    pitch_kl = (
        kl_divergence(Normal(encoding.pitch.mean, encoding.pitch.variance.sqrt()), Normal(own, SMALL.pitch_sigma))
        .sum(-1)
        .mean()
    )
    assert terms["kl_pitch"] == pytest.approx(float(pitch_kl), rel=1e-5)
    classes = Categorical(logits=model.pitch_classifier(z.pitch))
    assert terms["pitch_cross_entropy"] == pytest.approx(float(-classes.log_prob(pitch).mean()), rel=1e-5)
    posterior = Normal(encoding.timbre.mean, encoding.timbre.variance.sqrt())
    each = torch.stack(
        [kl_divergence(posterior, Normal(mean, SMALL.timbre_sigma)).sum(-1) for mean in model.timbre_means], 1
    )
    assert terms["kl_timbre"] == pytest.approx(float((shares.probs * each).sum(1).mean()), rel=1e-5)


def test_without_labels_there_is_no_cross_entropy_of_the_instrument() -> None:
    task, mel = task_of(), model_of().mel(spectra(3))
    none, pitch = torch.tensor([-1, -1, -1]), torch.tensor([0, 1, 2])
    terms = task.bound(mel, task.model.encode_mel(mel), none, pitch)
    assert float(terms["instrument_cross_entropy"]) == 0.0
    assert all(bool(torch.isfinite(value)) for value in terms.values())


# The labels that count
# ----------------------------------------------------------------------------------------------------------


@given(portion=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_label_portion_is_exact_spread_over_instruments_and_stable(portion: float, seed: int) -> None:
    instrument = np.repeat(["a", "b", "c"], (100, 40, 17))[np.random.default_rng(1).permutation(157)]
    chosen = labelled_rows(instrument, portion, seed)
    assert chosen.sum() == int(portion * 157 + 1e-9)
    for name in "abc":
        assert abs(chosen[instrument == name].mean() - portion) <= 1.5 / (instrument == name).sum() + 1 / 157
    assert np.array_equal(chosen, labelled_rows(instrument, portion, seed))
    assert not (labelled_rows(instrument, portion / 2, seed) & ~chosen).any()


def test_held_back_and_missing_labels_do_not_reach_the_loss() -> None:
    task = task_of()
    task.component_of = torch.tensor([2, -1, 0])  # the data set's second instrument is none of the model's
    task.labelled = torch.tensor([True, True, False, True, True])
    batch = {"instrument": torch.tensor([0, 1, 2, -1, 2]), "row": torch.arange(5)}
    assert task.instruments(batch, training=True).tolist() == [2, -1, -1, -1, 0]
    assert task.instruments(batch, training=False).tolist() == [2, -1, 0, -1, 0]


def one_instrument(data: TrainingSet) -> TrainingSet:
    violins = np.full_like(data.sounds.instrument, "Violin")
    return dataclasses.replace(data, sounds=dataclasses.replace(data.sounds, instrument=violins))


def first_pitch(data: TrainingSet, midi_note: float) -> TrainingSet:
    """The same data with another pitch of its first sound."""
    pitch = data.sounds.pitch.copy()
    pitch[0] = midi_note
    return dataclasses.replace(data, sounds=dataclasses.replace(data.sounds, pitch=pitch))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_instrument, "1 labelled instrument"),
        (lambda data: first_pitch(data, np.nan), "have no pitch"),
        (lambda data: first_pitch(data, 20.0), "set data.pitches to"),
        (lambda data: dataclasses.replace(data, batch_size=1), "batch normalisation"),
        (lambda data: dataclasses.replace(data, phrases="phrases"), "leave data.sequences out"),
    ],
)
def test_data_it_cannot_be_trained_on_is_refused(
    tiny_data: Path, change: Callable[[TrainingSet], TrainingSet], words: str
) -> None:
    data = SoundData(str(tiny_data)).training_set()
    config = dataclasses.replace(SMALL, instruments=(), pitches=30)
    check_labels(data, config)
    with pytest.raises(DataError, match=words):
        check_labels(change(data), config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 4}, "must exceed 4"),
        ({"high_hz": 20000.0}, "half the rate"),
        ({"floor_db": 70.0}, "must lie below"),
        ({"filters": 0}, "at least 1"),
        ({"pitches": 90}, "MIDI notes"),
        ({"pitch_sigma": 0.0}, "above 0"),
    ],
)
def test_sizes_that_make_no_model_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]


def test_a_mixture_needs_two_components_and_a_portion_is_a_share() -> None:
    with pytest.raises(RecipeError, match="at least 2"):
        MixtureVAE(dataclasses.replace(SMALL, instruments=("alone",)))
    with pytest.raises(RecipeError, match="label_portion"):
        task_of(label_portion=1.2)


def test_windows_begun_late_are_silence_and_then_the_beginning() -> None:
    mel, noise = torch.rand(400, 11, 3), torch.randn(400, 5)
    moved = begun_late(mel, 0.5, noise)
    late = (moved == -1).all(-1).sum(1)
    for row, found, count in zip(mel, moved, late.tolist(), strict=True):
        assert torch.equal(found[count:], row[: 11 - count])
    assert 0.35 < float((late > 0).float().mean()) < 0.55
    assert int(late.max()) == 10
    assert torch.equal(begun_late(mel, 0.0, noise), mel)
