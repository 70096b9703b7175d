"""For tests of files for other hosts: the shipped checkpoint, a small one, sounds of whole buffers and their level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.support.miniatures import CLARINET, notes
from training.checkpoint import Checkpoint, save_slim
from training.features import FeatureConfig
from training.models.perturbation import PerturbationConfig, PerturbationVAE

LIVE = Path(__file__).parents[2] / "training/checkpoints/live.pt"
HOP = 256


def small_checkpoint(path: Path, hop: int) -> Path:
    torch.manual_seed(1)
    features = FeatureConfig(
        sample_rate=16000,
        window_samples=1024,
        hop_samples=hop,
        cutoff_quefrency=40,
        log_floor=1e-2,
        normalisation="running",
    )
    config = PerturbationConfig(
        features.bins, timbre_dim=4, variation_dim=3, pitch_dim=3, hidden=12, layers=2, bidirectional=False
    )
    directions = (3 * np.eye(4)).tolist()
    axes = [
        {"name": f"timbre[{i}]", "label": f"axis {i}", "direction": directions[i], "effect_db": 4.0 - i}
        for i in range(4)
    ]
    axes += [
        {
            "name": name,
            "label": name,
            "direction": directions[i],
            "effect_db": effect,
            "descriptor": name,
            "correlation": correlation,
        }
        for i, (name, effect, correlation) in enumerate(
            [("brightness", 1.0, 0.9), ("odd_even", 3.0, 0.5), ("attack", 2.0, -0.3)]
        )
    ]
    save_slim(Checkpoint(features, PerturbationVAE(config).eval(), {}, {"axes": axes, "presets": []}), path)
    return path


def sound_of(seconds: float, program: int = CLARINET, key: int = 67) -> np.ndarray:
    """A real note, (1, 1, samples), a whole number of the largest buffers."""
    note = notes(program, (key,), seconds=seconds)[0]
    samples = -(-len(note) // 8192) * 8192
    return (0.5 / np.abs(note).max() * np.pad(note, (0, samples - len(note)))).astype(np.float32)[None, None]


def level_db(frame: np.ndarray) -> float:
    """RMS of a frame, its window taken out; 0 = full scale."""
    window = np.hanning(len(frame) + 1)[:-1]
    return float(10 * np.log10(np.square(window * frame).sum() / np.square(window).sum()))
