"""ONNX files: torch modules are written to them, and sessions step them hop by hop."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.errors import ExportError
from realtime.bundle import Graph, Port, file_sha256
from realtime.hop import model as engine
from training.features import Spectra
from training.models.latents import LATENTS

OPSET = 17


def write_streaming(folder: Path, encoder: Any, decoder: Any) -> dict[str, Graph]:
    """Export the causal model's two graphs, one hop per call, fp32."""
    return write_graphs(folder, {"encoder": encoder, "decoder": decoder})


def write_graphs(folder: Path, modules: dict[str, Any]) -> dict[str, Graph]:
    """Export streaming modules, one hop per call, fp32.

    modules : name → module with `input_shapes`, `output_shapes` and `state_shapes`
    """
    graphs = {}
    for name, module in modules.items():
        module.eval()
        file = f"streaming/{name}.onnx"
        (folder / file).parent.mkdir(exist_ok=True)
        states_in, states_out = state_names(module)
        shapes = [*module.input_shapes.values(), *module.state_shapes.values()]
        inputs, outputs = [*module.input_shapes, *states_in], [*module.output_shapes, *states_out]
        export_graph(module, tuple(torch.zeros(shape) for shape in shapes), folder / file, inputs, outputs)
        graphs[f"streaming/{name}"] = Graph(
            file=file,
            sha256=file_sha256(folder / file),
            inputs=ports_of(module.input_shapes),
            outputs=ports_of(module.output_shapes),
            states=ports_of(module.state_shapes),
        )
    return graphs


def write_offline(folder: Path, encoder: Any, decoder: Any) -> dict[str, Graph]:
    """Export the original for whole sounds, with a free number of frames where the model has one."""
    frames = 8
    (folder / "offline").mkdir(exist_ok=True)
    graphs = {}
    for name, module in (("encoder", encoder.eval()), ("decoder", decoder.eval())):
        file, inputs, outputs = f"offline/{name}.onnx", module.input_shapes, module.output_shapes
        free = {port: {1: "frames"} for port, shape in (inputs | outputs).items() if "frames" in shape}
        example = tuple(
            torch.zeros([frames if isinstance(size, str) else size for size in shape]) for shape in inputs.values()
        )
        export_graph(module, example, folder / file, list(inputs), list(outputs), free)
        graphs[f"offline/{name}"] = Graph(
            file=file, sha256=file_sha256(folder / file), inputs=ports_of(inputs), outputs=ports_of(outputs)
        )
    return graphs


def ports_of(shapes: dict[str, Any]) -> tuple[Port, ...]:
    return tuple(Port(name=name, shape=tuple(shape)) for name, shape in shapes.items())


def export_graph(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    free: dict[str, dict[int, str]] | None = None,
) -> None:
    """The tracing exporter: it writes nn.GRU as one ONNX node with a free length, and the same bytes every time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )
    _declare_unread(path, dict(zip(inputs, example, strict=True)))


def _declare_unread(path: Path, inputs: dict[str, torch.Tensor]) -> None:
    """Exporting drops inputs that nothing reads, as the fine structure of a model without z^p; the ports of a kind are
    the same for all its models.
    """
    written = onnx.load(str(path))
    known = {port.name for port in written.graph.input}
    missing = [name for name in inputs if name not in known]
    for name in missing:
        shape = list(inputs[name].shape)
        written.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    if missing:
        path.write_bytes(written.SerializeToString(deterministic=True))


def state_names(graph: Any) -> tuple[list[str], list[str]]:
    """Port names of a streaming graph's states, in and out."""
    return [f"state.{name}" for name in graph.state_shapes], [f"next.{name}" for name in graph.state_shapes]


def open_session(path: Path, provider: str = "cpu") -> onnxruntime.InferenceSession:
    """Raises ExportError unless the graph really runs on the provider asked for."""
    try:
        return engine.open_session(path, provider)
    except engine.EngineError as error:
        raise ExportError(str(error)) from None


@dataclass(frozen=True)
class StreamingRun:
    """What the graphs gave, hop by hop.

    latents : (hops, D) each;  log_amplitude : (hops, bins);  hop_ms : (hops,), both graphs together
    """

    latents: dict[str, np.ndarray]
    log_amplitude: np.ndarray
    hop_ms: np.ndarray


class Stepper:
    """A streaming graph and its state."""

    def __init__(self, path: Path, provider: str = "cpu") -> None:
        self.session = open_session(path, provider)
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.names = [name for name in LATENTS if name in self.outputs]
        self.state = {
            i.name: np.zeros(i.shape, np.float32) for i in self.session.get_inputs() if i.name.startswith("state.")
        }

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        result = dict(zip(self.outputs, self.session.run(None, inputs | self.state), strict=True))
        self.state = {name: result.pop(name.replace("state.", "next.", 1)) for name in self.state}
        return result


def run_streaming(
    folder: Path, spectra: Spectra, rate: float, *, shift: float = 0.0, provider: str = "cpu"
) -> StreamingRun:
    """Play one sound's spectra (1, frames, bins) through the streaming graphs as the runtime does.

    shift : added to the timbre of the decoder's second row, which is otherwise thrown away: the rows must not mix
    """
    encoder, decoder = (Stepper(folder / f"streaming/{name}.onnx", provider) for name in ("encoder", "decoder"))
    latents: dict[str, list[np.ndarray]] = {name: [] for name in encoder.names}
    decoded, times = [], []
    smallest = np.array([rate], np.float32)
    for envelope, fine in zip(spectra.envelope[0].numpy(), spectra.fine[0].numpy(), strict=True):
        start = time.perf_counter()
        z = encoder(envelope=envelope[None], fine=fine[None], rate=smallest)
        rows = {name: np.repeat(z[name], 2, axis=0) for name in latents}
        rows["timbre"][1] += shift
        log_amplitude = decoder(**rows)["log_amplitude"]
        times.append(1000 * (time.perf_counter() - start))
        for name, values in latents.items():
            values.append(z[name][0])
        decoded.append(log_amplitude[0])
    return StreamingRun({name: np.stack(rows) for name, rows in latents.items()}, np.stack(decoded), np.array(times))
