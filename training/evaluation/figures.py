"""A measured figure that knows its parts, so that it has an interval and can be compared with another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.evaluation.bootstrap import interval

HOLDS, FAILS = "holds", "does not hold"
OVERLAP = "cannot be told apart (intervals overlap)"
ZERO_INSIDE = "cannot be told apart (interval of the difference includes 0)"
UNMEASURED = "not measured"


@dataclass(frozen=True, eq=False)
class Figure:
    """Σ part / Σ whole over what was measured: sounds, phrases or pairs of sounds.

    An accuracy has 1 or 0 as part and 1 as whole; an error per frame has the summed error and the number of frames.

    part, whole : (units,);  whole is 0 where a unit does not count
    units : (units,), names; figures of the same units are compared unit by unit
    """

    part: np.ndarray
    whole: np.ndarray
    units: np.ndarray

    @property
    def value(self) -> float:
        """NaN where nothing counts."""
        return self._over(slice(None))

    def _over(self, rows: np.ndarray | slice) -> float:
        whole = float(self.whole[rows].sum())
        return float(self.part[rows].sum()) / whole if whole > 0 else math.nan

    def interval(self, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval over the units."""
        return interval(self.part, self._over, seed=seed)

    def above(self, other: Figure, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval of this figure minus another of the same units."""
        return interval(self.part, lambda rows: self._over(rows) - other._over(rows), seed=seed)

    def plain(self, seed: int) -> dict[str, float | None]:
        """JSON values; None where there is none."""
        low, high = self.interval(seed)
        return {"value": _finite(self.value), "low": _finite(low), "high": _finite(high)}

    def cell(self, seed: int) -> str:
        """'0.857 ±0.018': the figure and half the width of its interval; '—' where there is none."""
        if not math.isfinite(self.value):
            return "—"
        low, high = self.interval(seed)
        return f"{self.value:.3f} ±{(high - low) / 2:.3f}"


def nothing() -> Figure:
    """A figure of nothing."""
    return Figure(np.zeros(0), np.zeros(0), np.zeros(0, str))


def mean_of(values: np.ndarray, counts: np.ndarray, units: np.ndarray) -> Figure:
    """The mean of the values that count."""
    return Figure(np.where(counts, values, 0.0), counts.astype(float), units)


def compare(lower: Figure, higher: Figure, seed: int) -> str:
    """Whether `lower` is below `higher`: "holds", "does not hold", or why that cannot be said.

    Figures of the same units are compared unit by unit (what makes a sound hard, makes it hard for both); others by
    their intervals.
    """
    if not (math.isfinite(lower.value) and math.isfinite(higher.value)):
        return UNMEASURED
    if np.array_equal(lower.units, higher.units):
        low, high = higher.above(lower, seed)
        return HOLDS if low > 0 else FAILS if high < 0 else ZERO_INSIDE
    (low_from, low_to), (high_from, high_to) = lower.interval(seed), higher.interval(seed)
    return HOLDS if high_from > low_to else FAILS if high_to < low_from else OVERLAP


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
