"""A hop in ONNX Runtime on a GPU: buffers bound on the device (IOBinding), both graphs replayed as CUDA graphs, copies
to and fro counted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.streaming.forms import Forms
from benchmarks.streaming.players import written
from benchmarks.streaming.speed import summary, take_turns
from benchmarks.streaming.ways import Way
from export.graph_file import run_streaming
from export.graphs.perturbation import DECODER_ROWS
from export.proof.verify import TOLERANCES
from export.systems import streaming_graphs, system_of
from realtime.bundle import Bundle
from realtime.hop.model import PROVIDERS, EngineError

CHECKED_HOPS = 200


def check_cuda() -> None:
    """Raises EngineError where this ONNX Runtime has no CUDA."""
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        raise EngineError(
            "--provider cuda: this ONNX Runtime has no CUDA; install neiro[gpu] in place of neiro[cpu], or leave the "
            "option out"
        )
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA libraries that pip installed


class DeviceGraph:
    """One streaming graph whose states never leave the device. On a GPU there is a CUDA graph for each of the two banks
    of states.

    device : "cuda", or "cpu", which answers the same
    """

    def __init__(self, bundle: Bundle, name: str, device: str = "cuda") -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        exact = {"enable_cuda_graph": "1", "use_tf32": "0"}  # capturing fails if a node is left to the CPU
        provider = PROVIDERS[device]
        providers: list[Any] = [(provider, exact) if device == "cuda" else provider]
        self.session = ort.InferenceSession(str(bundle.graph_path(name)), options, providers=providers)
        if self.session.get_providers()[0] != provider:
            raise EngineError(
                "CUDA was asked for, but ONNX Runtime fell back to the CPU; check the NVIDIA driver, or leave "
                "--provider out"
            )
        ports = bundle.manifest.graphs[name]
        self.inputs = {port.name: _on_device(port.shape, device) for port in ports.inputs}
        self.outputs = {port.name: _on_device(port.shape, device) for port in ports.outputs}
        banks = [{port.name: _on_device(port.shape, device) for port in ports.states} for _ in range(2)]
        self._bindings = [self._bind(banks[i], banks[1 - i]) for i in range(2)]
        self._options = [ort.RunOptions(), ort.RunOptions()]
        for number, option in enumerate(self._options, 1):
            option.add_run_config_entry("gpu_graph_id", str(number))
        self._present = 0

    def _bind(self, past: dict[str, Any], following: dict[str, Any]) -> Any:
        binding = self.session.io_binding()
        for name, value in self.inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self.outputs.items():
            binding.bind_ortvalue_output(name, value)
        for name in past:
            binding.bind_ortvalue_input(f"state.{name}", past[name])
            binding.bind_ortvalue_output(f"next.{name}", following[name])
        return binding

    def __call__(self, **values: np.ndarray) -> dict[str, np.ndarray]:
        for name, value in values.items():
            self.inputs[name].update_inplace(np.ascontiguousarray(value, np.float32))
        binding = self._bindings[self._present]
        self.session.run_with_iobinding(binding, self._options[self._present])
        binding.synchronize_outputs()
        self._present = 1 - self._present
        return {name: value.numpy() for name, value in self.outputs.items()}


def _on_device(shape: tuple[Any, ...], device: str) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.zeros([int(size) for size in shape], np.float32), device, 0)


def cuda_times(forms: Forms, way: Way) -> dict[str, Any]:
    """One form at fp32: compared with the CPU hop by hop, then timed.

    Raises
    ------
    EngineError
        If CUDA is not what was used, or answers otherwise than the CPU.
    """
    check_cuda()
    subject, spectra = forms.subject, forms.held_out
    model = forms(way).model
    envelope, fine, rate = spectra.envelope[0].numpy(), spectra.fine[0].numpy(), np.array([subject.rate], np.float32)
    with tempfile.TemporaryDirectory() as place:
        bundle = written(
            Path(place) / "fp32",
            streaming_graphs(system_of(subject.checkpoint.model), model),
            model,
            subject.checkpoint.features,
        )
        encoder, decoder = (DeviceGraph(bundle, f"streaming/{name}") for name in ("encoder", "decoder"))

        def answer(hop: int) -> np.ndarray:
            z = encoder(envelope=envelope[hop % len(envelope)][None], fine=fine[hop % len(fine)][None], rate=rate)
            return decoder(**{name: np.repeat(value, DECODER_ROWS, 0) for name, value in z.items()})["log_amplitude"]

        found = np.stack([answer(hop)[0] for hop in range(min(CHECKED_HOPS, len(envelope)))])
        difference = float(
            np.abs(found - run_streaming(bundle.path, spectra, subject.rate).log_amplitude[: len(found)]).max()
        )
        limit = TOLERANCES["fp32"]
        if not difference <= limit:
            raise EngineError(
                f"{subject.name}: CUDA differs from the CPU by {difference:.1e} (limit {limit:.0e}); its times say "
                "nothing"
            )
        times = take_turns({"cuda": answer}, forms.effort.hops)["cuda"]
    return summary(times, subject.hop_ms) | {"way": way.name, "provider": PROVIDERS["cuda"], "difference": difference}
