"""Quantised graphs: what the products really multiply with, what rounding costs, and which graphs are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.errors import ExportError
from export.graph_file import StreamingRun, open_session
from export.quantize.blocks import round_compensated, round_plain
from export.quantize.cost import precision_cost
from export.quantize.quantize import BITS, Quantized, overall, parse_precision, quantize
from realtime.bundle import Precision


def product_graph(path: Path, weight: np.ndarray, *, bias: np.ndarray | None = None, batch: int = 1) -> Path:
    """y = x · weight (+ bias)."""
    rows, columns = weight.shape
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if bias is None else "product"])]
    constants = [numpy_helper.from_array(weight, "w")]
    if bias is not None:
        nodes.append(helper.make_node("Add", ["product", "b"], ["y"]))
        constants.append(numpy_helper.from_array(bias, "b"))
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, size])
        for name, size in (("x", rows), ("y", columns))
    )
    graph = helper.make_graph(nodes, "product", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def correlated(rng: np.random.Generator, samples: int, width: int) -> np.ndarray:
    """Inputs of a few degrees of freedom and an offset, as spectra and hidden states are."""
    x = rng.standard_normal((samples, max(1, width // 8))) @ rng.standard_normal((max(1, width // 8), width))
    return (x + 0.1 * rng.standard_normal((samples, width)) + rng.standard_normal(width)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "encoder", "decoder", "word"),
    [
        ("fp32", "fp32", "fp32", "fp32"),
        ("int8", "int8", "int8", "int8"),
        (" int4 ", "int4", "int4", "int4"),
        ("encoder=int4,decoder=int8", "int4", "int8", "mixed"),
        ("decoder = int8 , encoder = int8", "int8", "int8", "int8"),
        ("encoder=int8", "int8", "fp32", "mixed"),
    ],
)
def test_precision_words(text: str, encoder: str, decoder: str, word: str) -> None:
    found = parse_precision(text)
    assert found == {"encoder": encoder, "decoder": decoder}
    assert overall(found) == word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int2", "'int2' is none of fp32, int8, int4"),
        ("", "'' is none of"),
        ("encoder=half", "'half' is none of"),
        ("encoder=int8,int4", "no graph 'int4'"),
        ("vocoder=int8", "no graph 'vocoder'; the graphs are encoder and decoder"),
        ("encoder=int8,encoder=int4", "names encoder twice"),
    ],
)
def test_unknown_precisions_are_refused(text: str, words: str) -> None:
    with pytest.raises(ExportError, match=words) as error:
        parse_precision(text)
    assert "\n" not in str(error.value)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(8, 300),
    extra=st.integers(0, 70),
    precision=st.sampled_from(("int8", "int4")),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_products_multiply_with_the_rounded_matrix(
    rows: int, extra: int, precision: Precision, biased: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The identity, which int8 activations hold exactly, reads the matrix out of the graph, at any size."""
    weight = np.random.default_rng(seed).standard_normal((rows, -(-1024 // rows) + extra)).astype(np.float32)
    bias = np.linspace(-1, 1, weight.shape[1], dtype=np.float32) if biased else None
    folder = tmp_path_factory.mktemp("product")
    done = quantize(product_graph(folder / "a.onnx", weight, bias=bias, batch=rows), folder / "b.onnx", precision)
    read = open_session(folder / "b.onnx").run(None, {"x": np.eye(rows, dtype=np.float32)})[0] - (
        0 if bias is None else bias
    )
    rounded = round_plain(weight, BITS[precision], 32)
    np.testing.assert_allclose(read, rounded.matrix(), atol=2e-6 * np.abs(weight).max())
    assert done == Quantized(1, weight.size, weight.nbytes, sum(array.nbytes for array in rounded.packed()))
    if precision == "int8":
        step = np.repeat(np.abs(rounded.scales), 32, axis=0)[:rows]
        assert (np.abs(rounded.matrix() - weight) <= 1.001 * step).all()
        assert (np.abs(rounded.matrix() - weight) <= 0.501 * step).mean() > 0.98


@pytest.mark.parametrize(("rows", "columns", "block"), [(2049, 500, 128), (800, 1300, 128), (999, 1001, 32)])
def test_large_matrices_share_scales_among_more_rows(tmp_path: Path, rows: int, columns: int, block: int) -> None:
    weight = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
    quantize(product_graph(tmp_path / "a.onnx", weight, batch=rows), tmp_path / "b.onnx", "int4")
    read = open_session(tmp_path / "b.onnx").run(None, {"x": np.eye(rows, dtype=np.float32)})[0]
    np.testing.assert_allclose(read, round_plain(weight, 4, block).matrix(), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(20, 200), columns=st.integers(3, 60), seed=st.integers(0, 99))
def test_compensation_makes_the_product_err_less(rows: int, columns: int, seed: int) -> None:
    """On sounds like those it was calibrated with."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((rows, columns)).astype(np.float32)
    x = correlated(rng, 1200, rows)
    centred = x[:900] - x[:900].mean(0)
    heard = x[900:] - x[:900].mean(0)

    def error(matrix: np.ndarray) -> float:
        return float(np.square(heard @ (matrix - weight)).mean())

    compensated = round_compensated(weight, centred.T @ centred / 900, 4, 32)
    assert error(compensated.matrix()) < 0.75 * error(round_plain(weight, 4, 32).matrix())


def test_bias_makes_up_for_what_is_missing_on_average(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((100, 64)).astype(np.float32), rng.standard_normal(64).astype(np.float32)
    product_graph(tmp_path / "exact.onnx", weight, bias=bias)
    x = correlated(rng, 300, 100)
    feeds = [{"x": row[None]} for row in x]
    quantize(tmp_path / "exact.onnx", tmp_path / "plain.onnx", "int8")
    quantize(tmp_path / "exact.onnx", tmp_path / "corrected.onnx", "int8", feeds)
    answers = {}
    for name in ("exact", "plain", "corrected"):
        session = open_session(tmp_path / f"{name}.onnx")
        answers[name] = np.concatenate([session.run(None, feed)[0] for feed in feeds])
    missing = {name: np.abs((answers[name] - answers["exact"]).mean(0)).mean() for name in ("plain", "corrected")}
    assert missing["corrected"] < 0.3 * missing["plain"]


@pytest.mark.filterwarnings("ignore")  # the tracing exporter's
def test_graphs_without_products_of_their_own_stay_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.zeros(1, 1, 40)
    torch.onnx.export(
        nn.GRU(40, 64, batch_first=True), (x,), str(tmp_path / "gru.onnx"), opset_version=17, dynamo=False
    )
    product_graph(tmp_path / "small.onnx", np.ones((10, 10), np.float32))
    for name in ("gru", "small"):
        for precision in ("int8", "int4"):
            assert quantize(tmp_path / f"{name}.onnx", tmp_path / "after.onnx", precision) == Quantized()
            assert (tmp_path / "after.onnx").read_bytes() == (tmp_path / f"{name}.onnx").read_bytes()


def test_matrices_that_others_read_stay_and_shared_ones_are_rounded_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["x", "both"], ["h"]), helper.make_node("MatMul", ["h", "both"], ["g"])]
    nodes += [helper.make_node("MatMul", ["g", "seen"], ["k"]), helper.make_node("Add", ["k", "seen"], ["y"])]
    constants = [
        numpy_helper.from_array(rng.standard_normal((48, 48)).astype(np.float32) / 7, name) for name in ("both", "seen")
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [48, 48]) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "shared", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    feeds = [{"x": rng.standard_normal((48, 48)).astype(np.float32)} for _ in range(8)]
    assert quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", "int8", feeds).matrices == 1
    before, after = (open_session(tmp_path / name).run(None, feeds[0])[0] for name in ("a.onnx", "b.onnx"))
    assert 0 < np.sqrt(np.mean(np.square(after - before)) / np.mean(np.square(before))) < 0.03


def test_cost_of_known_differences() -> None:
    rng = np.random.default_rng(0)
    decoded, data = rng.standard_normal((2, 50, 30))
    exact = StreamingRun({"timbre": rng.standard_normal((50, 8))}, decoded, np.ones(50))
    same = precision_cost(exact, exact, data)
    assert same.distance_db == same.mse_change == same.relative_rms["timbre"] == 0
    assert same.cosine["timbre"] == pytest.approx(1)
    louder = StreamingRun({"timbre": 1.5 * exact.latents["timbre"]}, decoded + 0.5 * np.log(10) / 20, np.ones(50))
    cost = precision_cost(exact, louder, data)
    assert cost.distance_db == pytest.approx(0.5)
    assert cost.relative_rms["timbre"] == pytest.approx(0.5)
    assert cost.cosine["timbre"] == pytest.approx(1)
    late = precision_cost(StreamingRun({}, np.roll(data, 3, axis=0), np.ones(50)), exact, data, lookahead=3)
    assert late.mse_fp32 == 0
