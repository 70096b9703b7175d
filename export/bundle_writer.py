"""Manifest and quantised graphs into a folder: built beside its final place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.quantize.feeds import Feed
from export.quantize.quantize import Quantized, overall, quantize
from realtime.bundle import (
    Axis,
    Features,
    Graph,
    Harmonic,
    Manifest,
    PitchAnchor,
    Precision,
    Preset,
    file_sha256,
)
from training.features import FeatureConfig
from training.models.latents import TimbreVAE

STREAMING = "streaming/"  # the names of graphs that run once per hop begin so


@dataclass
class QuantisedGraphs:
    """graphs : by their names in the manifest
    quantised : what became of the weights of each streaming graph that is coarser
    """

    graphs: dict[str, Graph]
    quantised: dict[str, Quantized] = field(default_factory=dict)

    @property
    def precisions(self) -> dict[str, Precision]:
        return {
            name.removeprefix(STREAMING): graph.precision
            for name, graph in self.graphs.items()
            if name.startswith(STREAMING)
        }


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `target` when the block succeeds, and vanishes when it does not."""
    if target.exists() and not (target / "manifest.json").is_file():
        raise ExportError(f"{target} exists and is not a bundle; choose another --output")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _sweep(target)
        part.mkdir(parents=True)
        yield part
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        part.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"cannot write {target} ({error.strerror or error}); free some space or choose another --output"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what exports to this target that were killed have left."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        owner = left.name.split(".")[-2]
        if os.name == "posix" and owner.isdigit() and not _runs(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's, so it is there
        return True
    return True


def quantize_streaming(
    folder: Path,
    graphs: Mapping[str, Graph],
    precisions: Mapping[str, Precision],
    feeds: Mapping[str, Sequence[Feed]] | None = None,
) -> QuantisedGraphs:
    """Put coarser graphs in the place of those that `write_streaming` wrote.

    feeds : graph → what it was fed on real sound (`export.quantize.feeds`)

    A graph without matrix products of its own weights stays as it is.
    """
    changed, sizes = dict(graphs), {}
    for name, precision in precisions.items():
        key = f"streaming/{name}"
        path = folder / graphs[key].file
        if precision == "fp32":
            continue
        exact = path.with_suffix(".fp32")
        path.rename(exact)
        sizes[name] = quantize(exact, path, precision, feeds[name] if feeds else None)
        exact.unlink()
        kept = precision if sizes[name].matrices else "fp32"
        changed[key] = graphs[key].model_copy(update={"sha256": file_sha256(path), "precision": kept})
    return QuantisedGraphs(changed, sizes)


def runtime_features(features: FeatureConfig) -> Features:
    """What the runtime must know of the features that the model was trained with."""
    return Features(**{name: getattr(features, name) for name in Features.model_fields})


def write_manifest(
    folder: Path,
    *,
    features: FeatureConfig,
    model: TimbreVAE,
    graphs: dict[str, Graph],
    knobs: dict[str, Any],
    fidelity: dict[str, float],
    harmonic: Harmonic | None = None,
) -> Manifest:
    """harmonic : what the runtime must know of a harmonic model, which is a kind of its own"""
    manifest = Manifest(
        format_version=1,
        producer=f"neiro {metadata.version('neiro')}",
        kind="harmonic" if harmonic else "latents",
        harmonic=harmonic,
        model_kind=model.KIND,
        precision=overall({name: graph.precision for name, graph in graphs.items() if name.startswith(STREAMING)}),
        lookahead_hops=model.lookahead,
        features=runtime_features(features),
        latents=dict(model.latent_sizes),  # type: ignore[arg-type]
        graphs=graphs,
        axes=tuple(Axis.model_validate(axis) for axis in knobs["axes"]),
        presets=tuple(Preset.model_validate(preset) for preset in knobs["presets"]),
        # Not every checkpoint has the following three.
        variation_axes=tuple(Axis.model_validate(axis) for axis in knobs.get("variation_axes", ())),
        pitch_axes=tuple(Axis.model_validate(axis) for axis in knobs.get("pitch_axes", ())),
        pitch_anchors=tuple(PitchAnchor.model_validate(anchor) for anchor in knobs.get("pitch_anchors", ())),
        fidelity=fidelity,
    )
    save_manifest(folder, manifest)
    return manifest


def save_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=None) + "\n", encoding="utf-8")
