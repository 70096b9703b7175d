"""S2: every loss against direct computation, and the pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.support.metric_models import naive_sum
from training.losses import (
    contrastive_sums,
    distance_sums,
    exponential_nll,
    frame_distances,
    inner_distance_sums,
)
from training.tasks.metric import pair_up


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
