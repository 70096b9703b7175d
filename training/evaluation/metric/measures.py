"""What is measured of one S2 model: denseness and divergence of its spaces, authority of its latents, reconstruction;
with intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from training.checkpoint import Checkpoint
from training.data.manifest import SoundSet
from training.evaluation.bootstrap import interval
from training.evaluation.metric.classes import Classes, normalised
from training.evaluation.probes import batches, encode_all, swap_changes
from training.features import FeatureExtractor

FRAMES = 9
SPACES = ("pitch", "timbre")
Statistic = Callable[[np.ndarray], float]  # of row indices


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured of one checkpoint.

    kind : the paper's row it stands beside;  spaces : space → its own classes
    seen : test instruments that it was trained on
    statistics : figure → (number of rows, the figure of those rows)
    """

    kind: str
    spaces: dict[str, Classes]
    seen: list[str]
    statistics: dict[str, tuple[int, Statistic]]

    def value(self, figure: str) -> float:
        count, statistic = self.statistics[figure]
        return statistic(np.arange(count))

    def interval(self, figure: str, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval over sounds (authority: over pairs of sounds)."""
        return basic_interval(*self.statistics[figure], seed=seed)


def basic_interval(count: int, statistic: Statistic, *, seed: int) -> tuple[float, float]:
    """The percentile interval mirrored at the figure (Davison & Hinkley 1997, section 5.2), over `count` rows.

    Sounds drawn twice make classes look denser and further apart than they are; mirroring takes that bias out.
    """
    twice = 2 * statistic(np.arange(count))
    return interval(np.arange(count), lambda rows: twice - statistic(rows), seed=seed)


def measure(checkpoint: Checkpoint, sounds: SoundSet, seen: list[str], seed: int) -> Row:
    seconds, features = float(checkpoint.info.get("segment_seconds", 2.0)), FeatureExtractor(checkpoint.features)
    latents = first_frames(checkpoint, features, sounds, seconds)
    pitches, by_pitch = np.unique(np.round(sounds.pitch).astype(int), return_inverse=True)
    instruments, by_instrument = np.unique(sounds.instrument, return_inverse=True)
    spaces = {
        "pitch": Classes(normalised(latents["pitch"]), by_pitch, tuple(map(str, pitches))),
        "timbre": Classes(normalised(latents["timbre"]), by_instrument, tuple(map(str, instruments))),
    }
    changes = swap_changes(checkpoint.model, features, sounds, seconds, seed)
    errors = encode_all(checkpoint.model, features, sounds, seconds)
    statistics: dict[str, tuple[int, Statistic]] = {}
    for space, classes in spaces.items():
        for k, figure in enumerate(("denseness", "divergence")):
            statistics[f"{space} {figure}"] = (
                len(sounds),
                lambda rows, classes=classes, k=k: classes.figures_of(rows)[k],  # type: ignore[misc]
            )
        statistics[f"authority of {space}"] = (len(changes[space]), _share(changes[space], changes["all"]))
    statistics["MSE"] = (len(sounds), _share(errors.squared_error * errors.frames, errors.frames))
    kind = "proposed" if checkpoint.info.get("alpha") or checkpoint.info.get("beta") else "vanilla"
    return Row(kind, spaces, seen, statistics)


@torch.no_grad()
def first_frames(
    checkpoint: Checkpoint, features: FeatureExtractor, sounds: SoundSet, seconds: float
) -> dict[str, np.ndarray]:
    """Posterior means of the first frames of each sound, (sounds, FRAMES, D) per space."""
    parts = []
    for _, audio in batches(sounds, seconds):
        spectra = features(audio)
        parts.append(checkpoint.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents)
    return {space: np.concatenate([z[space][:, :FRAMES].double().numpy() for z in parts]) for space in SPACES}


def _share(part: np.ndarray, whole: np.ndarray) -> Statistic:
    return lambda rows: float(part[rows].sum() / max(1e-12, whole[rows].sum()))
