"""Which nodes of a graph can be quantised, and com.microsoft.MatMulNBits in their place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from export.quantize.blocks import Rounded

INT8_ARITHMETIC = 4  # accuracy_level: the input, too, is rounded to int8, in blocks as long as the weights'
DOMAIN = "com.microsoft"


def constant_products(graph: GraphProto, smallest: int) -> dict[str, list[NodeProto]]:
    """The MatMul nodes with a trained matrix of at least so many weights on their right, by its name.

    A matrix that anything else reads too is left alone: it would be there twice.
    """
    sizes = {
        weight.name: list(weight.dims) for weight in graph.initializer if weight.data_type == onnx.TensorProto.FLOAT
    }
    found: dict[str, list[NodeProto]] = {}
    for node, name in _reads(graph):
        if name in sizes and len(sizes[name]) == 2 and np.prod(sizes[name]) >= smallest:
            found.setdefault(name, []).append(node)
    return {
        name: nodes
        for name, nodes in found.items()
        if all(node.op_type == "MatMul" and node.input[1] == name for node in nodes)
    }


def replace_product(graph: GraphProto, product: NodeProto, rounded: Rounded, missing: np.ndarray | None) -> int:
    """Multiply with the rounded matrix instead.

    The bias stays an Add of its own: within the new node it is no faster, and not every provider takes it there.

    missing : (columns,), what the rounded product lacks on average, to be added to the bias that follows, if one does
    returns the bytes of codes and scales, 0 where they are in the graph already
    """
    rows, columns = rounded.codes.shape
    weight = product.input[1]
    names = [f"{weight}_Q{rounded.bits}", f"{weight}_scales"]
    packed = [] if any(present.name == names[0] for present in graph.initializer) else list(rounded.packed())
    graph.initializer.extend(numpy_helper.from_array(array, name) for array, name in zip(packed, names, strict=False))
    if missing is not None:
        _add_to_bias(graph, product, missing)
    product.input[:] = [product.input[0], *names]
    product.op_type, product.domain = "MatMulNBits", DOMAIN
    settings = {
        "K": rows,
        "N": columns,
        "bits": rounded.bits,
        "block_size": rounded.block,
        "accuracy_level": INT8_ARITHMETIC,
    }
    product.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in settings.items())
    return sum(array.nbytes for array in packed)


def finish(model: onnx.ModelProto) -> None:
    """Drop the constants that nothing reads any more, and name the new operator's domain."""
    read = {name for _, name in _reads(model.graph)} | {port.name for port in model.graph.output}
    kept = [constant for constant in model.graph.initializer if constant.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if not any(opset.domain == DOMAIN for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _reads(graph: GraphProto) -> Iterator[tuple[NodeProto, str]]:
    return ((node, name) for node in graph.node for name in node.input)


def _add_to_bias(graph: GraphProto, product: NodeProto, missing: np.ndarray) -> None:
    """Give the one node that reads the product, if it adds a constant, a constant of its own."""
    value = product.output[0]
    readers = [node for node, name in _reads(graph) if name == value]
    if len(readers) != 1 or readers[0].op_type != "Add":
        return
    at = 1 - list(readers[0].input).index(value)
    for constant in graph.initializer:
        if constant.name == readers[0].input[at] and list(constant.dims) == list(missing.shape):
            readers[0].input[at] = f"{value}_bias"
            corrected = (numpy_helper.to_array(constant) + missing).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(corrected, readers[0].input[at]))
            return
