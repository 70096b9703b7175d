"""Bundles whose graphs are measured: without knobs and presets, at fp32 or quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.graph_file import write_streaming
from export.quantize.feeds import Feed
from export.quantize.quantize import quantize
from export.systems import Pair
from realtime.bundle import Bundle, Features, Manifest, Precision
from training.models.latents import TimbreVAE


@dataclass(frozen=True)
class QuantizedBundle:
    """bytes_per_hop : of weights, as a hop reads them: codes and scales; of a graph that stayed as it is, its file"""

    bundle: Bundle
    bytes_per_hop: int


def bundle_without_knobs(folder: Path, pair: Pair, model: TimbreVAE, features: Features, *, producer: str) -> Bundle:
    """Write streaming graphs at fp32 to `folder`. The manifest is not written.

    producer : the module that makes the bundle
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        format_version=1,
        producer=producer,
        model_kind=model.KIND,
        precision="fp32",
        features=features,
        lookahead_hops=model.lookahead,
        latents=dict(model.latent_sizes),  # type: ignore[arg-type]
        graphs=write_streaming(folder, *pair),
        axes=(),
        presets=(),
        fidelity={},
    )
    return Bundle(folder, manifest)


def quantized(
    fp32: Bundle, folder: Path, precision: Precision, feeds: Mapping[str, Sequence[Feed]] | None = None
) -> QuantizedBundle:
    """The same bundle in another precision; "fp32" copies it.

    feeds : by graph, "encoder" and "decoder"; without them the weights are plainly rounded
    """
    read = 0
    (folder / "streaming").mkdir(parents=True)
    for name, graph in fp32.manifest.graphs.items():
        recorded = feeds[name.split("/")[1]] if feeds else None
        done = quantize(fp32.graph_path(name), folder / graph.file, precision, recorded)
        read += done.bytes_after or fp32.graph_path(name).stat().st_size
    return QuantizedBundle(Bundle(folder, fp32.manifest.model_copy(update={"precision": precision})), read)
