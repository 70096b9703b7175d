"""A small S2 model's sizes, and the paper's sums by loops."""

from __future__ import annotations

import numpy as np

from training.features import FeatureConfig
from training.models.metric import MetricConfig

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
