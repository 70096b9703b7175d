"""The model, one hop per call: ONNX Runtime on fixed buffers. States are bound by name, in two banks that swap."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from realtime.bundle import Bundle, Graph, Port

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
WARM_UP_STEPS, MEASURED_STEPS = 20, 50


class EngineError(Exception):
    """A model that cannot run as asked; the message says what to do."""


class _StreamingGraph:
    """One graph with its buffers.

    inputs, outputs : name → float32 array, the very memory the graph reads and writes
    """

    def __init__(self, bundle: Bundle, name: str, provider: str, flush_denormals: bool) -> None:
        graph = bundle.manifest.graphs[name]
        self.session = open_session(bundle.graph_path(name), provider, flush_denormals=flush_denormals)
        _check_ports(name, graph, self.session)
        self.inputs = {port.name: _buffer(port) for port in graph.inputs}
        self.outputs = {port.name: _buffer(port) for port in graph.outputs}
        self._banks = [{port.name: _buffer(port) for port in graph.states} for _ in range(2)]
        self._bindings = [self._bind(self._banks[i], self._banks[1 - i]) for i in range(2)]
        self._present = 0  # which bank holds the state

    @property
    def state(self) -> dict[str, np.ndarray]:
        return self._banks[self._present]

    def _bind(self, past: dict[str, np.ndarray], following: dict[str, np.ndarray]) -> Any:
        binding = self.session.io_binding()
        for name, array in self.inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in self.outputs.items():
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name in past:
            binding.bind_ortvalue_input(f"state.{name}", ort.OrtValue.ortvalue_from_numpy(past[name]))
            binding.bind_ortvalue_output(f"next.{name}", ort.OrtValue.ortvalue_from_numpy(following[name]))
        return binding

    def step(self) -> None:  # audio thread
        self.session.run_with_iobinding(self._bindings[self._present])
        self._present = 1 - self._present

    def reset(self) -> None:  # audio thread
        for bank in self._banks:
            for array in bank.values():
                array[:] = 0.0


class StreamingModel:
    """Encoder and decoder of a bundle of the kind "latents".

    Parameters
    ----------
    bundle : Bundle
    provider : "auto", "cpu" or "cuda"
    flush_denormals : see `open_session`; for a process that does nothing else, since all arithmetic in it changes

    Attributes
    ----------
    latents : name → (1, dimensions), float32, the encoder's last answer
    decoder_inputs : name → (2, dimensions), float32; write them, then call `decode`
    log_amplitude : (2, bins), float32, the decoder's last answer
    provider : "cpu" or "cuda", what is really used
    provider_note : how that was decided, one sentence

    Raises
    ------
    EngineError
        If a graph cannot be loaded, does not have the manifest's ports, or the provider asked for does not work.
    """

    def __init__(self, bundle: Bundle, provider: str = "auto", *, flush_denormals: bool = False) -> None:
        if provider not in ("auto", *PROVIDERS):
            raise EngineError(f"there is no provider {provider!r}; choose auto, cpu or cuda")
        if provider == "auto":
            self.provider, self.provider_note = _choose(bundle)
        else:
            self.provider, self.provider_note = provider, f"{provider} was asked for"
        self._graphs = {
            name.removeprefix("streaming/"): _StreamingGraph(bundle, name, self.provider, flush_denormals)
            for name in bundle.manifest.streaming
        }
        self._encoder, self._decoder = self._graphs["encoder"], self._graphs["decoder"]
        # Views of the encoder's inputs.
        self._envelope, self._fine, self._rate = (
            self._encoder.inputs[name].reshape(-1) for name in ("envelope", "fine", "rate")
        )
        self.latents = {name: self._encoder.outputs[name] for name in bundle.manifest.latents}
        self.decoder_inputs = self._decoder.inputs
        self.log_amplitude = self._decoder.outputs["log_amplitude"]
        try:
            self.warm_up()
        except Exception as error:  # ONNX Runtime has no common base for what it raises
            raise EngineError(
                f"{bundle.path} does not run on {self.provider} ({_first_line(error)}); export the bundle again"
            ) from None

    def encode(self, envelope: np.ndarray, fine: np.ndarray, rate: float) -> None:  # audio thread
        """Next frame's latents, into `latents`.

        envelope, fine : (bins,);  rate : smallest update weight of the running means, 1/frames
        """
        np.copyto(self._envelope, envelope, casting="same_kind")
        np.copyto(self._fine, fine, casting="same_kind")
        self._rate[0] = rate
        self._encoder.step()

    def decode(self) -> None:  # audio thread
        """`decoder_inputs` to `log_amplitude`, both rows in one run."""
        self._decoder.step()

    def merge_decoder_rows(self, share: float) -> None:  # audio thread
        """Draw the edited row's state towards the unedited one's; share 1 makes them the same, bit for bit."""
        for state in self._decoder.state.values():
            if share == 1.0:
                state[1] = state[0]
            else:
                state[1] += np.float32(share) * (state[0] - state[1])

    def reset(self) -> None:  # audio thread
        """As new: states and latents zero."""
        for graph in self._graphs.values():
            graph.reset()
            for array in (*graph.inputs.values(), *graph.outputs.values()):
                array[:] = 0.0

    def states(self) -> dict[str, np.ndarray]:
        """Present states by name, `encoder.<name>` and `decoder.<name>`; views."""
        return {
            f"{graph}.{name}": array for graph, parts in self._graphs.items() for name, array in parts.state.items()
        }

    def warm_up(self, steps: int = WARM_UP_STEPS) -> float:
        """Run on zeros, then reset. Returns the median seconds of a step, all graphs together."""
        self.reset()
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            for graph in self._graphs.values():
                graph.step()
            times.append(time.perf_counter() - start)
        self.reset()
        return float(np.median(times))


class HarmonicModel(StreamingModel):
    """Encoder and decoders of a bundle of the kind "harmonic". `decoder_inputs` have f0, centre_f0, voicing and
    loudness beside the latents.

    Attributes
    ----------
    voice : name → (2, size), float32, what the decoder drew: envelope, offsets, noise, inharmonicity
    key_inputs : name → (VOICES, size), float32: latents, f0, voicing, loudness; write them, then call `play_keys`
    key_voice : name → (VOICES, size), the answer
    """

    def __init__(self, bundle: Bundle, provider: str = "auto", *, flush_denormals: bool = False) -> None:
        super().__init__(bundle, provider, flush_denormals=flush_denormals)
        assert bundle.manifest.harmonic is not None  # the manifest was checked
        names = bundle.manifest.harmonic.voice
        self._keys = self._graphs["voices"]
        self.voice = {name: self._decoder.outputs[name] for name in names}
        self.key_inputs, self.key_voice = self._keys.inputs, {name: self._keys.outputs[name] for name in names}

    def play_keys(self) -> None:  # audio thread
        """`key_inputs` to `key_voice`."""
        self._keys.step()

    def begin_key(self, row: int) -> None:  # audio thread
        """This voice forgets what it played."""
        for state in self._keys.state.values():
            state[row] = 0.0


MODELS: dict[str, type[StreamingModel]] = {"latents": StreamingModel, "harmonic": HarmonicModel}


def open_model(bundle: Bundle, provider: str = "auto", *, flush_denormals: bool = False) -> StreamingModel:
    """The model of a bundle, by its kind; see `StreamingModel` for the arguments and errors.

    Raises
    ------
    EngineError
        Also if the bundle is of a kind that cannot be played.
    """
    if bundle.manifest.kind not in MODELS:
        raise EngineError(
            f"{bundle.path} is of the kind {bundle.manifest.kind!r}; this version plays {', '.join(MODELS)}"
        )
    return MODELS[bundle.manifest.kind](bundle, provider, flush_denormals=flush_denormals)


def _choose(bundle: Bundle) -> tuple[str, str]:
    """CPU, unless CUDA really works here and was measured to be faster."""
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        return "cpu", "this ONNX Runtime has no CUDA"
    model = MODELS[bundle.manifest.kind]
    try:
        cuda_ms = 1000 * model(bundle, "cuda").warm_up(MEASURED_STEPS)
    except EngineError as error:
        return "cpu", str(error)
    cpu_ms = 1000 * model(bundle, "cpu").warm_up(MEASURED_STEPS)
    faster = "cuda" if cuda_ms < cpu_ms else "cpu"
    return faster, f"measured per step: CPU {cpu_ms:.2f} ms, CUDA {cuda_ms:.2f} ms"


def open_session(path: Path, provider: str, *, flush_denormals: bool = False) -> ort.InferenceSession:
    """One graph on one core, or on the GPU.

    provider : "cpu" or "cuda"
    flush_denormals : numbers below 1e-38 become 0 (float64: 1e-308), in whatever this thread, and every thread it
        starts, computes from now on. ONNX Runtime listens to the first session of a process only.

    Raises
    ------
    EngineError
        If the file cannot be loaded, or runs on something else than the provider asked for.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if flush_denormals:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.enable_mem_reuse = False  # a place of its own for every result: measured 5 % faster, and some 100 KB larger
    wanted = [PROVIDERS["cpu"]] if provider == "cpu" else _cuda_providers()
    try:
        session = ort.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # ONNX Runtime has no common base for what it raises
        raise EngineError(f"{path} cannot be loaded ({_first_line(error)}); export the bundle again") from None
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise EngineError(
            "CUDA was asked for, but ONNX Runtime fell back to the CPU; check the NVIDIA driver, or use --provider cpu"
        )
    return session


def _cuda_providers() -> list[str]:
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        raise EngineError(
            "CUDA was asked for, but this ONNX Runtime has none; install neiro[gpu] in place of neiro[cpu], or use "
            "--provider cpu"
        )
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
    return [PROVIDERS["cuda"], PROVIDERS["cpu"]]


def _buffer(port: Port) -> np.ndarray:
    return np.zeros([int(size) for size in port.shape], np.float32)


def _check_ports(name: str, graph: Graph, session: ort.InferenceSession) -> None:
    """The file has the manifest's ports, of fixed shape and float32; anything else would fail on the audio thread."""
    inputs = [*graph.inputs, *(Port(name=f"state.{port.name}", shape=port.shape) for port in graph.states)]
    outputs = [*graph.outputs, *(Port(name=f"next.{port.name}", shape=port.shape) for port in graph.states)]
    for wanted, found in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        expected = {port.name: (list(port.shape), "tensor(float)") for port in wanted}
        present = {port.name: (list(port.shape), port.type) for port in found}
        for port in sorted(expected.keys() | present.keys()):
            if expected.get(port) != present.get(port):
                described = [
                    f"{'none' if ports.get(port) is None else ports[port][0]}" for ports in (expected, present)
                ]
                raise EngineError(
                    f"{name}: port {port} is {described[0]} in the manifest, {described[1]} in the file; export the "
                    "bundle again"
                )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
