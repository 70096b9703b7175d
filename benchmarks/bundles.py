"""Bundles whose graphs are measured: without knobs and presets."""

from __future__ import annotations

from pathlib import Path

from realtime.bundle import Bundle, Features, Graph, Manifest, Precision
from training.models.latents import TimbreVAE


def bundle_without_knobs(
    folder: Path,
    graphs: dict[str, Graph],
    model: TimbreVAE,
    features: Features,
    precision: Precision,
    *,
    producer: str,
) -> Bundle:
    """A bundle of graphs that are already in `folder`; its manifest is not written.

    producer : the module that made the graphs
    """
    manifest = Manifest(
        format_version=1,
        producer=producer,
        model_kind=model.KIND,
        precision=precision,
        features=features,
        lookahead_hops=model.lookahead,
        latents=dict(model.latent_sizes),  # type: ignore[arg-type]
        graphs=graphs,
        axes=(),
        presets=(),
        fidelity={},
    )
    return Bundle(folder, manifest)
