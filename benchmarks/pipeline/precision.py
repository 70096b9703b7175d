"""The effect of mixed precision on the validation loss.

Pairs of trainings start from the same seed and differ in `--trainer.precision` only.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pipeline.parts import assemble

BAR = 0.01  # of the validation loss


@dataclass(frozen=True)
class Precision:
    """Final validation losses by seed."""

    recipe: str
    exact: list[float]  # float32
    mixed: list[float]  # bf16-mixed

    @property
    def changes(self) -> list[float]:
        """Relative, one per seed; above 0 is worse."""
        return [mixed / exact - 1 for exact, mixed in zip(self.exact, self.mixed, strict=True)]

    @property
    def change(self) -> float:
        return float(np.mean(self.mixed) / np.mean(self.exact) - 1)

    @property
    def between_seeds(self) -> float:
        """Standard deviation of the float32 losses over their mean."""
        return float(np.std(self.exact, ddof=1) / np.mean(self.exact)) if len(self.exact) > 1 else 0.0


def compare_precision(recipe: str, data: Path, seeds: int) -> Precision:
    """Train the whole recipe twice per seed."""
    losses = {
        kind: [validation_loss(recipe, data, seed, kind) for seed in range(seeds)] for kind in ("32-true", "bf16-mixed")
    }
    return Precision(recipe, losses["32-true"], losses["bf16-mixed"])


def validation_loss(recipe: str, data: Path, seed: int, precision: str) -> float:
    """Of one training, at its end."""
    with tempfile.TemporaryDirectory() as root:
        options = [
            f"--seed_everything={seed}",
            f"--data.seed={seed}",
            "--data.validation_sounds=128",
            "--model.preview_epochs=0",
        ]
        options += [
            f"--trainer.precision={precision}",
            f"--trainer.default_root_dir={root}",
            "--trainer.enable_progress_bar=false",
        ]
        cli = assemble(recipe, data, *options, "--trainer.accelerator=cpu")
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        return float(cli.trainer.callback_metrics["val/loss"])
