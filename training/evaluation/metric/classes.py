"""How dense classes are in a latent space and how far apart (Tanaka 2021, section 3.3, equations 12 to 14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.spatial.distance import pdist, squareform


@dataclass(frozen=True, eq=False)
class Classes:
    """Sounds in one latent space, some frames of each, and their classes.

    frames : (sounds, frames, D);  label : (sounds,), index into `names`;  names : of the classes
    """

    frames: np.ndarray
    label: np.ndarray
    names: tuple[str, ...]
    _drawn: dict[bytes, tuple[float, float]] = field(default_factory=dict, repr=False)

    def figures_of(self, rows: np.ndarray) -> tuple[float, float]:
        """Denseness and divergence of some of the sounds, counted twice where `rows` has them twice; remembered."""
        key = rows.tobytes()
        if key not in self._drawn:
            times = np.bincount(rows, minlength=len(self.label))
            member = (self.label == self.present[:, None]) * times  # (classes, sounds)
            member = member[member.any(1)]
            share = member / member.sum(1, keepdims=True)
            means = share @ self.frames.mean(1)
            centre = means[member.astype(bool).argmax(0)]  # of sounds not drawn any class's: they do not count
            own = np.linalg.norm(self.frames - centre[:, None], axis=-1).mean(1)
            divergence = float(pdist(means).mean()) if len(means) > 1 else float("nan")
            self._drawn[key] = (float((share @ own).mean()), divergence)
        return self._drawn[key]

    @cached_property
    def present(self) -> np.ndarray:
        """The classes that have sounds, in order."""
        return np.unique(self.label)

    @cached_property
    def means(self) -> np.ndarray:
        """η of each class that is present (eq. 14), (classes, D)."""
        return np.stack([self.frames[self.label == k].mean((0, 1)) for k in self.present])

    @cached_property
    def per_class(self) -> np.ndarray:
        """Mean Euclidean distance of a class's frames to their mean, (classes,)."""
        groups = zip(self.present, self.means, strict=True)
        return np.array([np.linalg.norm(self.frames[self.label == k] - mean, axis=-1).mean() for k, mean in groups])

    @property
    def denseness(self) -> float:
        """The mean of that over classes (eq. 12); lower is denser."""
        return float(self.per_class.mean())

    @property
    def divergence(self) -> float:
        """Mean distance of two class means (eq. 13); NaN where there is one class only."""
        return float(pdist(self.means).mean()) if len(self.means) > 1 else float("nan")

    @property
    def distances(self) -> np.ndarray:
        """Between class means, (classes, classes)."""
        return squareform(pdist(self.means))


def normalised(frames: np.ndarray) -> np.ndarray:
    """Each dimension to zero mean and unit variance over all sounds and frames, so that the size of a space does not
    count.

    The paper says "normalised" and no more. A dimension that never moves stays zero.

    frames : (sounds, frames, D)
    """
    spread = frames.std((0, 1))
    return (frames - frames.mean((0, 1))) / np.where(spread > 0, spread, 1)
