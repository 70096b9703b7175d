"""Small bundles for tests: real ONNX graphs with the ports of `realtime/kinds.py`, recurrent, with random weights.

The decoder paints smooth spectral envelopes around a falling slope, so that knobs move the sound as in a trained model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from realtime.bundle import file_sha256

TIMBRE, VARIATION, PITCH, HIDDEN = 4, 3, 2, 8
FAILING_ABOVE = 2.5  # z^t[0] beyond it makes the failing decoder answer NaN


@dataclass(frozen=True)
class BundleSize:
    """What a test may choose."""

    window_samples: int = 256
    hop_samples: int = 64
    sample_rate: int = 44100
    hidden: int = HIDDEN
    timbre: int = TIMBRE

    @property
    def bins(self) -> int:
        return self.window_samples // 2 + 1


class _GraphMaker:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(self, x: str, name: str, inputs: int, outputs: int, scale: float = 1.0) -> str:
        weight = self.constant(
            f"{name}.weight", self.random.standard_normal((inputs, outputs)) * scale / np.sqrt(inputs)
        )
        return self.node("MatMul", [x, weight], f"{name}.out")

    def recurrent(self, x: str, name: str, inputs: int, hidden: int) -> str:
        """A gated recurrent step on state.<name>: h' = h + u · (tanh(a) − h)."""
        state = f"state.{name}"
        both = self.node("Concat", [x, state], f"{name}.both", axis=1)
        gate = self.node("Sigmoid", [self.linear(both, f"{name}.gate", inputs + hidden, hidden)], f"{name}.gated")
        new = self.node("Tanh", [self.linear(both, f"{name}.new", inputs + hidden, hidden)], f"{name}.candidate")
        step = self.node("Mul", [gate, self.node("Sub", [new, state], f"{name}.difference")], f"{name}.step")
        return self.node("Add", [state, step], f"next.{name}")

    def model(
        self, name: str, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        ins, outs = (
            [helper.make_tensor_value_info(port, TensorProto.FLOAT, shape) for port, shape in group.items()]
            for group in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, name, ins, outs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def _encoder(size: BundleSize) -> onnx.ModelProto:
    """Timbre is a running mean, as in a trained model: mean' = mean + max(1/(count+1), rate) · (h − mean)."""
    maker, hidden = _GraphMaker(seed=1), size.hidden
    h = maker.recurrent(maker.linear("envelope", "envelope.in", size.bins, hidden), "envelope", hidden, hidden)
    g = maker.recurrent(maker.linear("fine", "fine.in", size.bins, hidden), "fine", hidden, hidden)
    count = maker.node("Add", ["state.count", maker.constant("one", [[1.0]])], "next.count")
    share = maker.node("Max", [maker.node("Reciprocal", [count], "fresh"), "rate"], "share")
    step = maker.node("Mul", [share, maker.node("Sub", [h, "state.mean"], "off")], "mean.step")
    mean = maker.node("Add", ["state.mean", step], "next.mean")
    for port, source, dimensions in (("timbre", mean, size.timbre), ("variation", h, VARIATION), ("pitch", g, PITCH)):
        maker.node("Identity", [maker.linear(source, f"{port}.head", hidden, dimensions)], port)
    states = {"envelope": (1, hidden), "fine": (1, hidden), "mean": (1, hidden), "count": (1, 1)}
    inputs = {"envelope": (1, size.bins), "fine": (1, size.bins), "rate": (1,)} | {
        f"state.{k}": v for k, v in states.items()
    }
    outputs = {"timbre": (1, size.timbre), "variation": (1, VARIATION), "pitch": (1, PITCH)} | {
        f"next.{k}": v for k, v in states.items()
    }
    return maker.model("encoder", inputs, outputs)


def _decoder(size: BundleSize, failing: bool) -> onnx.ModelProto:
    maker, hidden, curves = _GraphMaker(seed=2), size.hidden, 12
    z = maker.node("Concat", ["timbre", "variation", "pitch"], "z", axis=1)
    width = size.timbre + VARIATION + PITCH
    h = maker.recurrent(maker.linear(z, "z.in", width, hidden, scale=1.5), "decoder", hidden, hidden)
    cosines = np.cos(np.pi * np.outer(np.arange(1, curves + 1), np.arange(size.bins)) / (size.bins - 1))
    shape = maker.node(
        "MatMul", [maker.linear(h, "shape", hidden, curves, scale=0.8), maker.constant("cosines", cosines)], "curve"
    )
    y = maker.node("Add", [shape, maker.constant("slope", np.linspace(0.5, -4.0, size.bins)[None])], "sloped")
    if failing:
        first = maker.node("Slice", ["timbre", *_slice(maker)], "first")
        below = maker.node("Sub", [maker.constant("limit", [[FAILING_ABOVE]]), first], "below")
        root = maker.node("Sqrt", [below], "root")  # √negative is NaN
        trap = maker.node("Mul", [root, maker.constant("nothing", [[0.0]])], "trap")
        y = maker.node("Add", [y, trap], "trapped")
    maker.node("Identity", [y], "log_amplitude")
    inputs = {
        "timbre": (2, size.timbre),
        "variation": (2, VARIATION),
        "pitch": (2, PITCH),
        "state.decoder": (2, hidden),
    }
    return maker.model("decoder", inputs, {"log_amplitude": (2, size.bins), "next.decoder": (2, hidden)})


def _slice(maker: _GraphMaker) -> list[str]:
    for name, value in (("starts", [0]), ("ends", [1]), ("slice_axes", [1])):
        maker.constants.append(numpy_helper.from_array(np.array(value, np.int64), name))
    return ["starts", "ends", "slice_axes"]


def _describe(file: Path, root: Path, model: onnx.ModelProto) -> dict[str, Any]:
    def ports(group: Any, prefix: str | None) -> list[dict[str, Any]]:
        shapes = {port.name: [axis.dim_value for axis in port.type.tensor_type.shape.dim] for port in group}
        special = ("state.", "next.")
        if prefix:
            return [
                {"name": name.removeprefix(prefix), "shape": shape}
                for name, shape in shapes.items()
                if name.startswith(prefix)
            ]
        return [{"name": name, "shape": shape} for name, shape in shapes.items() if not name.startswith(special)]

    return {
        "file": file.relative_to(root).as_posix(),
        "sha256": file_sha256(file),
        "inputs": ports(model.graph.input, None),
        "outputs": ports(model.graph.output, None),
        "states": ports(model.graph.input, "state."),
    }


def _presets(dimensions: int) -> list[dict[str, Any]]:
    def vector(*values: float) -> list[float]:
        return [values[i] if i < len(values) else 0.0 for i in range(dimensions)]

    low, high = {"midi_note": 48.0, "timbre": vector(1.5, -1.0)}, {"midi_note": 72.0, "timbre": vector(-0.5, 2.0)}
    return [
        {"name": "alto", "family": "reed", "anchors": [low, high]},
        {
            "name": "gong",
            "family": "percussion",
            "anchors": [{"midi_note": None, "timbre": vector(0.0, 0.0, 2.0, -2.0)}],
        },
    ]


def _axes(latent: str, dimensions: int) -> list[dict[str, Any]]:
    unit = np.eye(dimensions).tolist()
    return [
        {"name": f"{latent}[{i}]", "label": f"{latent} {i}", "direction": unit[i], "effect_db": 3.0}
        for i in range(dimensions)
    ]


def make_bundle(path: Path, *, size: BundleSize | None = None, failing: bool = False) -> Path:
    """Write a streaming-only bundle to the folder `path`.

    Its axes are timbre[0…] and brightness, its presets alto (pitched) and gong.
    """
    size = size or BundleSize()
    (path / "streaming").mkdir(parents=True)
    graphs = {}
    for name, model in (("encoder", _encoder(size)), ("decoder", _decoder(size, failing))):
        file = path / "streaming" / f"{name}.onnx"
        file.write_bytes(model.SerializeToString())
        graphs[f"streaming/{name}"] = _describe(file, path, model)
    axes = _axes("timbre", size.timbre)
    slanted = (np.ones(size.timbre) / np.sqrt(size.timbre)).tolist()
    axes.append(
        {
            "name": "brightness",
            "label": "brightness",
            "direction": slanted,
            "effect_db": 3.0,
            "descriptor": "centroid",
            "correlation": 0.5,
        }
    )
    manifest = {
        "format_version": 1,
        "producer": "tests",
        "model_kind": "random",
        "precision": "fp32",
        "features": {
            "sample_rate": size.sample_rate,
            "window_samples": size.window_samples,
            "hop_samples": size.hop_samples,
            "log_floor": 1e-2,
            "cutoff_quefrency": max(2, size.window_samples // 20),
            "level_seconds": 2.0,
            "silence_dbfs": -70.0,
        },
        "latents": {"timbre": size.timbre, "variation": VARIATION, "pitch": PITCH},
        "graphs": graphs,
        "axes": axes,
        "presets": _presets(size.timbre),
        "variation_axes": _axes("variation", VARIATION),
        "pitch_axes": _axes("pitch", PITCH),
        "pitch_anchors": [
            {"midi_note": 12.0 * i, "pitch": [0.5 * i, (-1.0) ** i], "error_cents": 10.0 * i} for i in range(3, 8)
        ],
        "fidelity": {},
    }
    (path / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return path
