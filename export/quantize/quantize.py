"""Fewer bits for the weights of a streaming graph: its constant matrix products become com.microsoft.MatMulNBits.

A product reads every weight once per hop, so a large model's time per hop is its bytes over the memory's bandwidth.
Activations are rounded to int8 inside the product, each row with its own scales, so the decoder's two sets of latents
do not disturb each other.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import numpy_helper

from export.errors import ExportError
from export.quantize.blocks import Rounded, round_compensated, round_plain
from export.quantize.feeds import Feed, Moments, input_moments
from export.quantize.nodes import constant_products, finish, replace_product
from realtime.bundle import Precision

GRAPHS = ("encoder", "decoder")
BITS: dict[Precision, int] = {"int8": 8, "int4": 4}
BLOCK = 32  # rows that share a scale, and ...
# ... in matrices of so many weights, where the time is that of reading them: fewer scales, 15 % less time
LARGE_BLOCK = 128
LARGE = 1_000_000
SMALLEST = 1024  # weights; below that nothing is won
# of a graph's weights: its smallest matrices, up to this share, keep 8 bits in int4; such are the latents' means
SPARED = 0.03


@dataclass(frozen=True)
class Quantized:
    """What became of one graph.

    matrices, weights : how many were quantised
    bytes_before, bytes_after : of these weights, scales included
    """

    matrices: int = 0
    weights: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def parse_precision(text: str) -> dict[str, Precision]:
    """ "int8" for both graphs, or one word per graph: "encoder=int4,decoder=int8". A graph not named stays fp32.

    Raises
    ------
    ExportError
        If a word or a graph is unknown, or a graph is named twice.
    """
    if "=" not in text:
        return dict.fromkeys(GRAPHS, _precision(text.strip(), text))
    chosen: dict[str, Precision] = {}
    for part in text.split(","):
        graph, _, word = (piece.strip() for piece in part.partition("="))
        if graph not in GRAPHS:
            raise ExportError(f"precision {text!r}: there is no graph {graph!r}; the graphs are {' and '.join(GRAPHS)}")
        if graph in chosen:
            raise ExportError(f"precision {text!r} names {graph} twice; name each graph once")
        chosen[graph] = _precision(word, text)
    return {graph: chosen.get(graph, "fp32") for graph in GRAPHS}


def _precision(word: str, text: str) -> Precision:
    for known in get_args(Precision):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise ExportError(
        f"precision {text!r}: {word!r} is none of {', '.join(get_args(Precision))}; give one for both graphs, or "
        "encoder=int4,decoder=int8"
    )


def overall(precisions: Mapping[str, Precision]) -> Literal["fp32", "int8", "int4", "mixed"]:
    """The one word for the whole bundle."""
    words = set(precisions.values())
    return words.pop() if len(words) == 1 else "mixed"


def quantize(source: Path, target: Path, precision: Precision, feeds: Sequence[Feed] | None = None) -> Quantized:
    """Write the graph `source` to `target` with the weights of its constant matrix products in fewer bits.

    Fixed matrices (a cepstrum, a mel bank), which torch writes as Constant nodes, and all other nodes stay as they are.

    feeds : recorded inputs of the graph at fp32 (see `quantize_feeds.record_feeds`), to round with the least error on
        such sound
    """
    model = onnx.load(source)
    products = constant_products(model.graph, SMALLEST) if precision in BITS else {}
    if not products:
        shutil.copyfile(source, target)
        return Quantized()
    inputs = [node.input[0] for nodes in products.values() for node in nodes]
    moments = input_moments(model, inputs, feeds, covariance=precision == "int4") if feeds else {}
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    spared = _smallest(weights[name] for name in products)
    totals = [0, 0, 0]
    for name, nodes in products.items():
        weight = numpy_helper.to_array(weights[name])
        heard = {node.input[0]: moments[node.input[0]] for node in nodes} if moments else {}
        rounded = _round(weight, 8 if name in spared else BITS[precision], list(heard.values()))
        lost = weight - rounded.matrix()
        after = sum(
            replace_product(model.graph, node, rounded, heard[node.input[0]].mean @ lost if heard else None)
            for node in nodes
        )
        totals = [total + part for total, part in zip(totals, (weight.size, weight.nbytes, after), strict=True)]
    finish(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return Quantized(len(products), *totals)


def _smallest(weights: Iterable[onnx.TensorProto]) -> set[str]:
    """Names of the matrices to spare."""
    sizes = sorted((int(np.prod(weight.dims)), weight.name) for weight in weights)
    shares = np.cumsum([size for size, _ in sizes]) / sum(size for size, _ in sizes)
    return {name for (_, name), share in zip(sizes, shares, strict=True) if share <= SPARED}


def _round(weight: np.ndarray, bits: int, seen: Sequence[Moments]) -> Rounded:
    """Plain at 8 bits, where compensation gains nothing that can be measured."""
    block = LARGE_BLOCK if weight.size >= LARGE else BLOCK
    covariances = [inputs.covariance for inputs in seen if inputs.covariance is not None]
    if bits == 8 or not covariances:
        return round_plain(weight, bits, block)
    return round_compensated(weight, np.mean(covariances, axis=0), bits, block)
