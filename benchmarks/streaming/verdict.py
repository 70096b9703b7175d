"""Does the distilled fallback stand in for the original? Computed from the figures; what is better than the original
does not count against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KNN_POINTS = 2.0  # of a hundred
MSE_SHARE = 0.05


@dataclass(frozen=True)
class Verdict:
    """changes : k-NN figure → points, above 0 is more than the original;  mse_change : relative, above 0 is worse"""

    changes: dict[str, float]
    mse_change: float

    @property
    def beyond(self) -> dict[str, float]:
        return {name: change for name, change in self.changes.items() if round(abs(change), 6) > KNN_POINTS}

    @property
    def worse(self) -> dict[str, float]:
        """The changes in `beyond` that make the model worse.

        A latent is worse if it tells less of what it is for, or more of what it is not for.
        """
        return {name: change for name, change in self.beyond.items() if (change < 0) == wanted(name)}

    @property
    def mse_holds(self) -> bool:
        return round(self.mse_change, 9) <= MSE_SHARE

    @property
    def holds(self) -> bool:
        return not self.worse and self.mse_holds

    @property
    def farthest(self) -> float:
        """Greatest change of a k-NN figure, points."""
        return max((abs(change) for change in self.changes.values()), default=0.0)

    def sentence(self, title: str, way: str) -> str:
        listed = ", ".join(f"{name} {change:+.1f}" for name, change in self.changes.items())
        text = (
            f"**{title}: {'yes' if self.holds else 'no'}.** {way}: MSE {self.mse_change:+.1%}; k-NN in points: "
            f"{listed}."
        )
        better = [name for name in self.beyond if name not in self.worse]
        if self.beyond:
            text += (
                f" Beyond {KNN_POINTS:g} points for the worse: {', '.join(self.worse) or 'none'}; for the better: "
                f"{', '.join(better) or 'none'}."
            )
        return text


def wanted(name: str) -> bool:
    """Whether a k-NN figure should be high: the instrument from the timbre, the pitch from the pitch."""
    return name in ("instrument from timbre", "pitch from pitch")


def verdict(original: dict[str, Any], fallback: dict[str, Any]) -> Verdict:
    """Of two forms on the same sounds, each with "mse" and "knn"."""
    changes = {
        name: 100 * (fallback["knn"][name] - value)
        for name, value in original["knn"].items()
        if name in fallback["knn"]
    }
    return Verdict(changes, fallback["mse"] / original["mse"] - 1)
