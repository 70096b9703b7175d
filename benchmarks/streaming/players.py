"""One hop of a streaming model, encoder to decoder, in ONNX Runtime and in torch, for `benchmarks.streaming` to time.

Every player hears the same frames and decodes two sets of latents at once, as the runtime does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from benchmarks.bundles import bundle_without_knobs
from export.bundle_writer import runtime_features
from export.graphs.perturbation import DECODER_ROWS
from export.systems import Pair
from realtime.bundle import Bundle
from realtime.hop.model import StreamingModel
from training.features import FeatureConfig, Spectra
from training.models.latents import Latents, TimbreVAE

Player = Callable[[int], object]  # plays the hop of this number; answers with the decoded spectra, (2, bins)


def written(folder: Path, pair: Pair, model: TimbreVAE, features: FeatureConfig) -> Bundle:
    """The form's streaming graphs at fp32, as a bundle without knobs."""
    return bundle_without_knobs(folder, pair, model, runtime_features(features), producer="benchmarks.streaming")


def weight_bytes(bundle: Bundle) -> int:
    """Of both streaming graphs' weights, scales included."""
    graphs = (
        onnx.load(bundle.graph_path(name)).graph for name in bundle.manifest.graphs if name.startswith("streaming/")
    )
    return sum(onnx.numpy_helper.to_array(weight).nbytes for graph in graphs for weight in graph.initializer)


def in_onnxruntime(model: StreamingModel, spectra: Spectra, rate: float) -> Player:
    """As the runtime does it, on one thread."""
    envelope, fine = spectra.envelope[0].numpy(), spectra.fine[0].numpy()

    def play(hop: int) -> object:
        model.encode(envelope[hop % len(envelope)], fine[hop % len(fine)], rate)
        for name, value in model.latents.items():
            model.decoder_inputs[name][:] = value
        model.decode()
        return model.log_amplitude

    return play


def in_modules(pair: Pair, modules: Pair, spectra: Spectra, rate: float) -> Player:
    """The very modules that become the graphs, or what torch made of them.

    pair : the modules themselves, which know the shapes;  modules : what is called
    """
    encoder, decoder = modules
    shapes: Any = pair
    outputs = len(shapes[0].output_shapes)
    states: list[Any] = [[torch.zeros(shape) for shape in graph.state_shapes.values()] for graph in shapes]
    smallest = torch.tensor([rate])
    frames = spectra.envelope.shape[1]

    def play(hop: int) -> object:
        at = hop % frames
        with torch.inference_mode():
            answer = encoder(spectra.envelope[:, at], spectra.fine[:, at], smallest, *states[0])
            states[0] = answer[outputs:]
            rows = [value.repeat(DECODER_ROWS, 1) for value in answer[:outputs]]
            decoded, *states[1] = decoder(*rows, *states[1])
            return decoded

    return play


def in_layers(model: TimbreVAE, spectra: Spectra, rate: float) -> Player:
    """The model's own layers (nn.GRU, nn.LSTM), one frame per call."""
    states = [model.encoder_state(1), model.decoder_state(DECODER_ROWS)]
    smallest = torch.tensor(rate)
    frames = spectra.envelope.shape[1]

    def play(hop: int) -> object:
        at = hop % frames
        with torch.inference_mode():
            z, states[0] = model.stream_encode(
                spectra.envelope[:, at : at + 1], spectra.fine[:, at : at + 1], smallest, states[0]
            )
            rows = Latents(**{name: value.repeat(DECODER_ROWS, 1, 1) for name, value in z.items()})
            decoded, states[1] = model.stream_decode(rows, states[1])
            return decoded[:, 0]

    return play


def traced(pair: Pair) -> Pair:
    """TorchScript of both modules."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated upstream
        made = [torch.jit.freeze(torch.jit.trace(graph.eval(), _example(graph))) for graph in pair]
    return made[0], made[1]


def compiled(pair: Pair) -> Pair:
    """torch.compile of both; the compiler works at the first hop."""
    torch._dynamo.reset()  # the limit of recompilations counts from here
    made: list[Any] = [torch.compile(graph.eval(), dynamic=False, options={"compile_threads": 1}) for graph in pair]
    return made[0], made[1]


def _example(graph: nn.Module) -> tuple[Tensor, ...]:
    shapes: Any = [*graph.input_shapes.values(), *graph.state_shapes.values()]  # type: ignore[union-attr, operator]
    return tuple(torch.zeros(shape) for shape in shapes)
