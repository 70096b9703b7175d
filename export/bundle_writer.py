"""Graphs and manifest into a folder: built beside its final place, then renamed."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.quantize import quantize_int8
from export.verify import ExportError, state_names
from realtime.bundle import Axis, Features, Graph, Manifest, Port, Preset, file_sha256
from training.features import FeatureConfig
from training.models.latents import TimbreVAE

OPSET = 17


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `target` when the block succeeds, and vanishes when it does not."""
    if target.exists() and not (target / "manifest.json").is_file():
        raise ExportError(f"{target} exists and is not a bundle; choose another --output")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        part.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write {target} ({error.strerror or error}); free some space or choose another --output") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_streaming(folder: Path, encoder: Any, decoder: Any, precision: str) -> dict[str, Graph]:
    """Export the causal model's two graphs, one hop per call."""
    graphs = {}
    for name, module in (("encoder", encoder.eval()), ("decoder", decoder.eval())):
        file = f"streaming/{name}.onnx"
        (folder / file).parent.mkdir(exist_ok=True)
        states_in, states_out = state_names(module)
        shapes = [*module.input_shapes.values(), *module.state_shapes.values()]
        inputs, outputs = [*module.input_shapes, *states_in], [*module.output_shapes, *states_out]
        plain = folder / f"{name}.fp32.onnx" if precision == "int8" else folder / file
        _export(module, tuple(torch.zeros(shape) for shape in shapes), plain, inputs, outputs, None)
        if precision == "int8":
            quantize_int8(plain, folder / file)
            plain.unlink()
        graphs[f"streaming/{name}"] = Graph(
            file=file,
            sha256=file_sha256(folder / file),
            inputs=_ports(module.input_shapes),
            outputs=_ports(module.output_shapes),
            states=_ports(module.state_shapes),
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
        example = tuple(torch.zeros([frames if isinstance(size, str) else size for size in shape]) for shape in inputs.values())
        _export(module, example, folder / file, list(inputs), list(outputs), free)
        graphs[f"offline/{name}"] = Graph(file=file, sha256=file_sha256(folder / file), inputs=_ports(inputs), outputs=_ports(outputs))
    return graphs


def write_manifest(
    folder: Path,
    *,
    features: FeatureConfig,
    model: TimbreVAE,
    precision: str,
    graphs: dict[str, Graph],
    knobs: dict[str, Any],
    fidelity: dict[str, float],
) -> Manifest:
    manifest = Manifest(
        format_version=1,
        producer=f"neiro {metadata.version('neiro')}",
        model_kind=model.KIND,
        precision="int8" if precision == "int8" else "fp32",
        features=Features(
            sample_rate=features.sample_rate,
            window_samples=features.window_samples,
            hop_samples=features.hop_samples,
            log_floor=features.log_floor,
            cutoff_quefrency=features.cutoff_quefrency,
            level_seconds=features.level_seconds,
            silence_dbfs=features.silence_dbfs,
            level=features.level,
        ),
        latents=dict(model.latent_sizes),  # type: ignore[arg-type]
        graphs=graphs,
        axes=tuple(Axis.model_validate(axis) for axis in knobs["axes"]),
        presets=tuple(Preset.model_validate(preset) for preset in knobs["presets"]),
        fidelity=fidelity,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=None) + "\n", encoding="utf-8")
    return manifest


def _ports(shapes: dict[str, Any]) -> tuple[Port, ...]:
    return tuple(Port(name=name, shape=tuple(shape)) for name, shape in shapes.items())


def _export(
    module: nn.Module, example: tuple[torch.Tensor, ...], path: Path, inputs: list[str], outputs: list[str], free: dict[str, dict[int, str]] | None
) -> None:
    """The tracing exporter: it writes nn.GRU as one ONNX node with a free length, and the same bytes every time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, example, str(path), input_names=inputs, output_names=outputs, dynamic_axes=free, opset_version=OPSET, dynamo=False)
