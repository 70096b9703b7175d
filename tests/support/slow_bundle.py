"""A bundle whose hops can be made to take a tenth of a second and more, by a knob."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from realtime.bundle import file_sha256
from tests.support.bundles import FAILING_ABOVE


def make_slow(bundle: Path) -> Path:
    """Make its decoder take some 100 ms, in a loop of matrix products, as long as z^t[0] is beyond FAILING_ABOVE."""
    file = bundle / "streaming" / "decoder.onnx"
    model = onnx.load(str(file))
    graph, side, turns = model.graph, 256, 800
    numbers = {
        "slow_first": [0, 0],
        "slow_end": [2, 1],
        "slow_above": FAILING_ABOVE,
        "slow_turns": turns,
        "slow_start": np.eye(side) * 0.9,
        "slow_no": 0.0,
    }
    types = {"slow_first": np.int64, "slow_end": np.int64, "slow_turns": np.int64}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, types.get(name, np.float32)), name) for name, value in numbers.items()
    )
    turn, go, on = (
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("turn", TensorProto.INT64), ("go", TensorProto.BOOL), ("on", TensorProto.BOOL))
    )
    held, product = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ("held", "product")
    )
    work = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("MatMul", ["held", "slow_start"], ["product"]),
    ]
    body = helper.make_graph(work, "work", [turn, go, held], [on, product])
    last = next(node for node in graph.node if "log_amplitude" in node.output)
    last.output[0] = "quick_answer"
    graph.node.extend(
        [
            helper.make_node("Slice", ["timbre", "slow_first", "slow_end"], ["slow_column"]),
            helper.make_node("ReduceMax", ["slow_column"], ["slow_knob"], keepdims=0),
            helper.make_node("Greater", ["slow_knob", "slow_above"], ["slow_beyond"]),
            helper.make_node("Cast", ["slow_beyond"], ["slow_flag"], to=TensorProto.INT64),
            helper.make_node("Mul", ["slow_flag", "slow_turns"], ["slow_trips"]),
            helper.make_node("Loop", ["slow_trips", "", "slow_start"], ["slow_end_state"], body=body),
            helper.make_node("ReduceMax", ["slow_end_state"], ["slow_top"], keepdims=0),
            helper.make_node("Mul", ["slow_top", "slow_no"], ["slow_nothing"]),
            helper.make_node("Add", ["quick_answer", "slow_nothing"], ["log_amplitude"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["graphs"]["streaming/decoder"]["sha256"] = file_sha256(file)
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return bundle
