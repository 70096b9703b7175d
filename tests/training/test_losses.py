"""Each term of the bound against direct computation."""

import numpy as np
import pytest
import torch
from scipy import stats

from training.losses import cyclical_weight, gaussian_nll, kl_to_standard_normal, masked_mean


def test_likelihood_is_equation_10() -> None:
    rng = np.random.default_rng(0)
    x, mean = rng.standard_normal((2, 3, 7, 11))
    found = gaussian_nll(torch.from_numpy(x), torch.from_numpy(mean), 0.5).sum()
    assert float(found) == pytest.approx(-stats.norm.logpdf(x, mean, np.sqrt(0.5)).sum(), rel=1e-12)


def test_divergence_is_the_integral() -> None:
    """KL of two Gaussians by Monte Carlo and in closed form."""
    rng = np.random.default_rng(1)
    mean, variance = rng.standard_normal(5), rng.uniform(0.1, 2, 5)
    draws = mean + np.sqrt(variance) * rng.standard_normal((200_000, 5))
    wanted = (stats.norm.logpdf(draws, mean, np.sqrt(variance)) - stats.norm.logpdf(draws)).sum(1).mean()
    found = kl_to_standard_normal(torch.from_numpy(mean), torch.from_numpy(variance))
    assert float(found) == pytest.approx(wanted, rel=0.01)
    assert float(kl_to_standard_normal(torch.zeros(4), torch.ones(4))) == 0.0


def test_annealing_rises_in_every_cycle_and_stays() -> None:
    weights = [cyclical_weight(epoch, cycle_epochs=10) for epoch in range(20)]
    assert weights[:10] == weights[10:]
    assert weights[:6] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert weights[6:10] == [1.0] * 4
    assert [cyclical_weight(e, cycle_epochs=10, rest=0.2, ramp=0.4) for e in (0, 2, 4, 6)] == pytest.approx(
        [0, 0, 0.5, 1.0]
    )


def test_masked_mean_counts_only_what_counts() -> None:
    values = torch.tensor([[1.0, 2.0, 100.0], [3.0, 100.0, 100.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert float(masked_mean(values, mask)) == 2.0
    assert float(masked_mean(values, torch.zeros_like(mask))) == 0.0
