"""The measures of S3's evaluation, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.mixture_models import model_of
from training.evaluation.mixture.measures import correlation, f_score, holm, traversal


def test_f_score_by_hand() -> None:
    wanted, found = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    by_hand = [2 * 0.5 * 0.5 / 1.0, 2 * (2 / 3) * 1 / (2 / 3 + 1), 0.0]
    assert f_score(wanted, found) == pytest.approx(np.mean(by_hand))
    assert f_score(wanted, wanted) == 1.0


def test_holm_by_hand_and_correlation() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    x = np.random.default_rng(0).standard_normal(200)
    r, p = correlation(x, 2 * x + 1)
    assert r == pytest.approx(1.0)
    assert p < 1e-30
    assert correlation(np.ones(5), np.arange(5.0)) == (0.0, 1.0)


def test_a_traversal_moves_one_dimension_only() -> None:
    model = model_of()
    start = model.component(1, 62)
    moved = traversal(model, start, 3)
    difference = moved.timbre - start.timbre
    assert torch.equal(difference[:, [0, 1, 2, 4]], torch.zeros(7, 4))
    torch.testing.assert_close(difference[:, 3], torch.arange(-3.0, 4.0))
    assert torch.equal(moved.pitch, start.pitch.expand(7, -1))
