"""Checkpoints: plain tensors and plain values, always read with `weights_only=True`, so that reading never runs
code.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.data.manifest import replace_file
from training.features import FeatureConfig, RecipeError
from training.models.harmonic import HarmonicConfig, HarmonicVAE
from training.models.latents import EncodingModel, TimbreVAE
from training.models.metric import MetricConfig, MetricVAE
from training.models.mixture import MixtureConfig, MixtureVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

FORMAT = 1
LFS_POINTER = b"version https://git-lfs"
SYSTEMS: dict[str, tuple[Any, Any]] = {  # kind → its configuration and its model
    PerturbationVAE.KIND: (PerturbationConfig, PerturbationVAE),
    MetricVAE.KIND: (MetricConfig, MetricVAE),
    MixtureVAE.KIND: (MixtureConfig, MixtureVAE),
    HarmonicVAE.KIND: (HarmonicConfig, HarmonicVAE),
}


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    features: FeatureConfig
    model: TimbreVAE  # in eval mode, float32
    info: dict[str, Any]  # command, data, seed, epoch: whatever the training wrote
    knobs: dict[str, Any] | None = None  # axes and presets measured by `training.knobs.knobs`; None if they were not

    @property
    def draws_alone(self) -> bool:
        """Whether its decoder draws spectra from latents alone (`TimbreVAE`), as knobs, evaluation and export ask."""
        return hasattr(self.model, "stream_decode")

    @property
    def selection(self) -> dict[str, Any]:
        """Which sounds it was trained on, as arguments of `SoundSet.select`."""
        return {key: value for key, value in (self.info.get("selection") or {}).items() if value}

    @property
    def data(self) -> Path | None:
        """The data set it was trained on, if that is here."""
        path = self.info.get("data")
        return Path(path) if isinstance(path, str) and (Path(path) / "dataset.json").is_file() else None


def describe(features: FeatureConfig, model: EncodingModel, info: dict[str, Any]) -> dict[str, Any]:
    """What every checkpoint carries beside its weights, under the key "neiro"."""
    return {
        "format": FORMAT,
        "kind": model.KIND,
        "features": asdict(features),
        "model": asdict(model.config),
        "info": info,
    }


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a training checkpoint, or the slim one that ships.

    Raises
    ------
    CheckpointError
        With one sentence: what is wrong and what to do.
    """
    path = Path(path)
    content = _read(path)
    described = content.get("neiro") if isinstance(content, dict) else None
    if not isinstance(described, dict) or "state_dict" not in content:
        raise CheckpointError(
            f"{path} is not a Neiro checkpoint; train one with: python -m training.train fit --config "
            "training/recipes/live.yaml"
        )
    if described.get("format") != FORMAT or described.get("kind") not in SYSTEMS:
        raise CheckpointError(
            f"{path} has checkpoint format {described.get('format')!r} of kind {described.get('kind')!r}, "
            f"this version reads format {FORMAT} of {', '.join(SYSTEMS)}; use the version of Neiro that wrote it"
        )
    try:
        make_config, make_model = SYSTEMS[described["kind"]]
        features = FeatureConfig(**described["features"])
        model = make_model(make_config(**described["model"]))
        weights = {
            key.removeprefix("model."): value
            for key, value in content["state_dict"].items()
            if key.startswith("model.")
        }
        model.load_state_dict(weights)
        odd = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    except (KeyError, TypeError, ValueError, RuntimeError, RecipeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is damaged or of another version ({reason}); train or copy it again") from None
    if odd:
        raise CheckpointError(
            f"{path} holds numbers that are not finite, in {odd[0]}: its training failed; use an earlier checkpoint"
        )
    return Checkpoint(features, model.eval(), dict(described.get("info", {})), described.get("knobs"))


def check_resumable(path: Path | str) -> None:
    """Raises CheckpointError where a training cannot go on from this file."""
    load_checkpoint(path)
    if "optimizer_states" not in _read(Path(path)):
        raise CheckpointError(f"{path} was released and has no state of a training; resume from a run's last.pt")


def save_slim(checkpoint: Checkpoint, path: Path) -> None:
    """Weights and description only, without optimiser state; atomically."""
    weights: dict[str, Tensor] = {f"model.{key}": value for key, value in checkpoint.model.state_dict().items()}
    described = describe(checkpoint.features, checkpoint.model, checkpoint.info) | {"knobs": checkpoint.knobs}
    content = {"neiro": described, "state_dict": weights}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    replace_file(path, buffer.getbuffer())


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}; train one with: python -m training.train fit --config training/recipes/live.yaml"
        )
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty; train or copy it again")
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(f"{path} is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds something other than tensors and plain values (it may run code), so it was not read"
        ) from None
    except Exception as error:  # torch raises many kinds for truncated or foreign files
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); train or copy it again"
        ) from None
