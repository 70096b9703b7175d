"""The coarser weights of a bundle's streaming graphs, put into its fused graph too: the same codes, scales and
corrected biases.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from export.quantize.nodes import constant_products, finish

GRAPHS = ("encoder", "decoder")


def share_weights(fused: onnx.ModelProto, folder: Path) -> int:
    """Replace the networks' products in `fused` by what they are in `folder`/streaming.  Returns how many were."""
    replaced = 0
    for name in GRAPHS:
        streaming = onnx.load(folder / f"streaming/{name}.onnx").graph
        constants = {constant.name: constant for constant in streaming.initializer}
        products = constant_products(fused.graph, 1)
        for node in streaming.node:
            if node.op_type != "MatMulNBits":
                continue
            own = f"{name}.{node.input[1].rpartition('_Q')[0]}"
            for product in products[own]:
                _replace(fused.graph, product, node, [constants[key] for key in node.input[1:3]], name)
                _take_bias(fused.graph, product, streaming, node)
                replaced += 1
    if replaced:
        finish(fused)
    return replaced


def _replace(
    graph: GraphProto, product: NodeProto, like: NodeProto, constants: list[onnx.TensorProto], prefix: str
) -> None:
    for constant in constants:
        copy = graph.initializer.add()
        copy.CopyFrom(constant)
        copy.name = f"{prefix}.{constant.name}"
    product.input[:] = [product.input[0], *(f"{prefix}.{constant.name}" for constant in constants)]
    product.op_type, product.domain = like.op_type, like.domain
    product.attribute.extend(like.attribute)


def _take_bias(graph: GraphProto, product: NodeProto, source: GraphProto, like: NodeProto) -> None:
    """Add what the streaming graph adds to this product, if that is a constant."""
    readers = [
        [node for node in nodes if value in node.input]
        for nodes, value in ((graph.node, product.output[0]), (source.node, like.output[0]))
    ]
    if any(len(found) != 1 or found[0].op_type != "Add" for found in readers):
        return
    ours, theirs = readers[0][0], readers[1][0]
    wanted = next(name for name in theirs.input if name != like.output[0])
    for constant in source.initializer:
        if constant.name == wanted:
            own = f"{product.output[0]}_bias"
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(constant), own))
            ours.input[list(ours.input).index(product.output[0]) ^ 1] = own
