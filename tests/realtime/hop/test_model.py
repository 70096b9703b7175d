"""The streaming engine answers as a plain ONNX Runtime session does; states go by name; faults are sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from realtime.bundle import Bundle, Graph, Port, file_sha256, load_bundle
from realtime.hop.model import EngineError, StreamingModel
from tests.support.bundles import make_bundle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "small.bundle")


@pytest.fixture
def bundle(path: Path) -> Bundle:
    return load_bundle(path)


def inputs_of(bundle: Bundle, steps: int) -> list[dict[str, np.ndarray]]:
    random, bins = np.random.default_rng(3), bundle.manifest.features.bins
    return [{"envelope": random.standard_normal(bins), "fine": random.standard_normal(bins)} for _ in range(steps)]


def run(model: StreamingModel, hops: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """The latents and both decoded rows, hop by hop; the edited row has its z^t turned round."""
    answers = []
    for hop in hops:
        model.encode(hop["envelope"], hop["fine"], 0.1)
        model.decoder_inputs["timbre"][:] = np.stack([model.latents["timbre"][0], -model.latents["timbre"][0]])
        model.decoder_inputs["variation"][:] = model.latents["variation"]
        model.decoder_inputs["pitch"][:] = model.latents["pitch"]
        model.decode()
        answers.append(np.concatenate([*(value[0] for value in model.latents.values()), *model.log_amplitude]))
    return answers


class PlainModel:
    """The same graphs through session.run, states carried by name in a dictionary."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.session = ort.InferenceSession(str(bundle.graph_path(name)), providers=["CPUExecutionProvider"])
        states = bundle.manifest.graphs[name].states
        self.states = {
            f"state.{port.name}": np.zeros([int(size) for size in port.shape], np.float32) for port in states
        }

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [port.name for port in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(names, inputs | self.states), strict=True))
        self.states = {name: found["next." + name.removeprefix("state.")] for name in self.states}
        return found


def run_plain(bundle: Bundle, hops: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    encoder, decoder = PlainModel(bundle, "streaming/encoder"), PlainModel(bundle, "streaming/decoder")
    answers = []
    for hop in hops:
        heard = encoder(
            {name: value[None].astype(np.float32) for name, value in hop.items()}
            | {"rate": np.array([0.1], np.float32)}
        )
        both = {name: np.repeat(heard[name], 2, axis=0) for name in ("timbre", "variation", "pitch")}
        both["timbre"][1] *= -1
        answers.append(
            np.concatenate(
                [heard["timbre"][0], heard["variation"][0], heard["pitch"][0], *decoder(both)["log_amplitude"]]
            )
        )
    return answers


def test_steps_are_those_of_plain_runs(bundle: Bundle) -> None:
    hops = inputs_of(bundle, 25)
    assert np.array_equal(run(StreamingModel(bundle, "cpu"), hops), run_plain(bundle, hops))


def test_states_go_by_name_not_by_order(bundle: Bundle) -> None:
    graphs = {
        name: graph.model_copy(
            update={"states": graph.states[::-1], "inputs": graph.inputs[::-1], "outputs": graph.outputs[::-1]}
        )
        for name, graph in bundle.manifest.graphs.items()
    }
    turned = Bundle(bundle.path, bundle.manifest.model_copy(update={"graphs": graphs}))
    hops = inputs_of(bundle, 10)
    one, other = StreamingModel(bundle, "cpu"), StreamingModel(turned, "cpu")
    assert np.array_equal(run(one, hops), run(other, hops))
    assert {"encoder.envelope", "encoder.count", "decoder.decoder"} <= one.states().keys()
    assert one.states()["encoder.count"].item() == 10
    assert all(np.array_equal(value, other.states()[name]) for name, value in one.states().items())


@pytest.mark.parametrize("steps", [7, 8])  # an odd and an even number: either bank may hold the state
def test_reset_is_a_new_start(bundle: Bundle, steps: int) -> None:
    model, hops = StreamingModel(bundle, "cpu"), inputs_of(bundle, steps)
    first = run(model, hops)
    assert any(state.any() for state in model.states().values())
    model.reset()
    assert not any(state.any() for state in model.states().values())
    assert np.array_equal(run(model, hops), first)


def test_the_unedited_row_does_not_hear_the_edited_one(bundle: Bundle) -> None:
    model = StreamingModel(bundle, "cpu")
    rows = []
    for edit in (0.0, 2.0):
        model.reset()
        for step in range(10):
            model.decoder_inputs["timbre"][:] = 0.1 * step
            model.decoder_inputs["timbre"][1] += edit
            model.decode()
        rows.append(model.log_amplitude.copy())
    assert np.allclose(rows[0][0], rows[1][0], atol=1e-6)
    assert np.abs(rows[1][1] - rows[1][0]).max() > 0.1


def test_rows_merge_step_by_step_and_wholly(bundle: Bundle) -> None:
    model = StreamingModel(bundle, "cpu")
    run(model, inputs_of(bundle, 5))
    state = model.states()["decoder.decoder"]
    apart = np.abs(state[1] - state[0]).max()
    kept = state[0].copy()
    model.merge_decoder_rows(0.5)
    assert np.abs(state[1] - state[0]).max() == pytest.approx(apart / 2, rel=1e-4)
    model.merge_decoder_rows(1.0)
    assert np.array_equal(state[1], state[0])
    assert np.array_equal(state[0], kept)


def cuda_works(bundle: Bundle) -> bool:
    wanted = ["CUDAExecutionProvider"]
    if not set(wanted) & set(ort.get_available_providers()):
        return False
    return (
        ort.InferenceSession(str(bundle.graph_path("streaming/decoder")), providers=wanted).get_providers()[0]
        == wanted[0]
    )


def test_asking_for_cuda_gets_cuda_or_a_sentence(bundle: Bundle) -> None:
    if cuda_works(bundle):
        assert StreamingModel(bundle, "cuda").provider == "cuda"
        assert "measured per step" in StreamingModel(bundle, "auto").provider_note
    else:
        with pytest.raises(EngineError, match=r"CUDA was asked for, but .* use --provider cpu"):
            StreamingModel(bundle, "cuda")


def test_auto_is_not_fooled_by_a_cuda_that_does_not_work(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime lists CUDA, then quietly runs on the CPU: the session really opened decides."""
    opened: list[list[str]] = []
    real = ort.InferenceSession

    def without_cuda(path: str, options: ort.SessionOptions, providers: list[str]) -> ort.InferenceSession:
        opened.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(ort, "InferenceSession", without_cuda)
    model = StreamingModel(bundle, "auto")
    assert opened[0][0] == "CUDAExecutionProvider"
    assert model.provider == "cpu"
    assert "fell back to the CPU" in model.provider_note
    with pytest.raises(EngineError, match="fell back to the CPU; check the NVIDIA driver, or use --provider cpu"):
        StreamingModel(bundle, "cuda")


def test_an_unknown_provider_is_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no provider 'tpu'; choose auto, cpu or cuda"):
        StreamingModel(bundle, "tpu")


def test_a_graph_with_other_ports_is_refused(bundle: Bundle) -> None:
    graph = bundle.manifest.graphs["streaming/encoder"]
    wrong: Graph = graph.model_copy(update={"states": (*graph.states[1:], Port(name="envelope", shape=(1, 99)))})
    manifest = bundle.manifest.model_copy(update={"graphs": bundle.manifest.graphs | {"streaming/encoder": wrong}})
    with pytest.raises(
        EngineError,
        match=r"port (next|state)\.envelope is \[1, 99\] in the manifest, \[1, 8\] in the file; export the bundle "
        "again",
    ):
        StreamingModel(Bundle(bundle.path, manifest), "cpu")


def test_a_file_that_is_no_graph_is_refused(path: Path) -> None:
    """Its hash is right, so the bundle opens; ONNX Runtime does not understand it."""
    file = path / "streaming" / "decoder.onnx"
    file.write_bytes(b"not a graph" * 100)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["graphs"]["streaming/decoder"]["sha256"] = file_sha256(file)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match=r"decoder\.onnx cannot be loaded") as caught:
        StreamingModel(load_bundle(path), "cpu")
    assert "\n" not in str(caught.value)


TINY = """
import sys, threading
import numpy as np
from realtime.bundle import load_bundle
from realtime.hop.model import StreamingModel
def tiny() -> bool:
    return bool((np.full(4, 1e-310) * 0.5).any())
StreamingModel(load_bundle(sys.argv[1]), "cpu", flush_denormals=sys.argv[2] == "flush")
found = [tiny()]
thread = threading.Thread(target=lambda: found.append(tiny()))
thread.start()
thread.join()
print(found)
"""


@pytest.mark.parametrize(("asked", "left"), [("keep", True), ("flush", False)])
def test_tiny_numbers_are_flushed_where_asked_and_in_threads_started_from_there(
    path: Path, asked: str, left: bool
) -> None:
    """In a process of its own, for from then on all arithmetic in it is another: so it must be asked for."""
    done = subprocess.run([sys.executable, "-c", TINY, str(path), asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([left, left])
