"""How far a measured figure could be off: percentile bootstrap (Efron & Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CONFIDENCE = 0.95


def interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], float] | None = None, *, seed: int, rounds: int = 1000
) -> tuple[float, float]:
    """95 % percentile interval of a figure over rows drawn again with replacement.

    Parameters
    ----------
    values : np.ndarray, (rows, ...), what was measured per row; only its length counts where a statistic is given
    statistic : called with an array of row indices, (rows,), gives the figure; None for the mean of `values`
    seed : of the drawing; the same seed and number of rows draw the same rows, so figures of the same sounds can be
        compared
    rounds : how often it is drawn

    Returns
    -------
    low, high : both NaN where there are no rows or the figure is never finite
    """
    rows = len(values)
    if rows == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = np.empty(rounds)
    for i in range(rounds):
        index = rng.integers(0, rows, rows)
        drawn[i] = np.mean(values[index]) if statistic is None else statistic(index)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
