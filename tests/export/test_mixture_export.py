"""S3 hop by hop: the incremental graphs are the recomputed window, the student learns, and the bundle plays."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.bundle_writer import quantize_streaming
from export.causal.distil import DistillationPlan, teach
from export.causal.mixture import compare, streaming_graphs
from export.causal.student import StudentLessons, StudentVAE
from export.fallbacks import Wanted
from export.graph_file import open_session, run_streaming, write_offline, write_streaming
from export.graphs.mixture import NewestDecoder, SlidingEncoder
from export.graphs.perturbation import OfflineDecoder, OfflineEncoder
from export.onnx import main
from export.pipeline import Options, export
from export.proof.verify import verify_streaming
from export.quantize.quantize import parse_precision
from realtime.bundle import load_bundle
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.run import main as run_main
from realtime.session import Session
from tests.support.mixture_models import SMALL, model_of, spectra
from training.checkpoint import Checkpoint, save_slim
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.mixture import MixtureConfig, MixtureVAE

FEATURES = FeatureConfig(44100, 1024, 512, 1e-3, 60, "running", silence_dbfs=-70.0)


def step_through(model: MixtureVAE, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The streaming modules in torch, a frame a call, from zeros: latents (frames, D), newest frames (frames, bins)."""
    encoder, decoder = SlidingEncoder(model).eval(), NewestDecoder(model).eval()
    states = [torch.zeros(shape) for shape in encoder.state_shapes.values()]
    values: dict[str, list[Tensor]] = {name: [] for name in encoder.output_shapes}
    decoded = []
    for frame in x.unbind(1):
        answer = encoder(frame, torch.zeros_like(frame), torch.tensor([0.3]), *states)
        z, states = answer[: len(values)], list(answer[len(values) :])
        for name, value in zip(values, z, strict=True):
            values[name].append(value)
        decoded.append(decoder(*(value.expand(2, -1) for value in z))[0][:1])
    return {name: torch.cat(rows) for name, rows in values.items()}, torch.cat(decoded)


@given(
    frames=st.integers(5, 14),
    kernel=st.integers(1, 3),
    filters=st.integers(1, 9),
    bands=st.integers(2, 24),
    hidden=st.integers(1, 9),
    length=st.integers(1, 24),
)
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_the_incremental_form_is_the_recomputed_window(
    frames: int, kernel: int, filters: int, bands: int, hidden: int, length: int
) -> None:
    config = dataclasses.replace(SMALL, frames=frames, kernel=kernel, filters=filters, mel_bands=bands, hidden=hidden)
    model, x = model_of(config), spectra(1, length, seed=frames)
    found, decoded = step_through(model, x)
    wanted, _ = model.stream_encode(x, torch.zeros_like(x), torch.tensor(0.0), model.encoder_state(1))
    newest, _ = model.stream_decode(wanted, model.decoder_state(1))
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name][0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded, newest[0], atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_after_silence_as_long_as_the_window_the_state_is_fresh() -> None:
    """Zeros mean silence: a window of silence brings the state back to zeros, whatever was heard."""
    model = model_of()
    encoder = SlidingEncoder(model).eval()
    states = [torch.zeros(shape) for shape in encoder.state_shapes.values()]
    silence = torch.full((1, SMALL.bins), np.log(SMALL.log_floor))
    for frame in itertools.chain(spectra(1, 7)[0].split(1), [silence] * SMALL.frames):
        states = list(encoder(frame, torch.zeros_like(frame), torch.tensor([0.3]), *states)[2:])
    for state in states:
        torch.testing.assert_close(state, torch.zeros_like(state), atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_graphs_are_the_model_and_power_stays_in_float(tmp_path: Path, precision: str) -> None:
    model, x = model_of(dataclasses.replace(SMALL, filters=32, hidden=32, mel_bands=32)), spectra(1, 25)
    graphs = write_streaming(tmp_path, SlidingEncoder(model), NewestDecoder(model))
    quantize_streaming(tmp_path, graphs, parse_precision(precision))
    nothing = torch.zeros_like(x)
    sound = Spectra(x, x, nothing, torch.ones(1, 25, dtype=torch.bool))
    differences, _ = verify_streaming(tmp_path, model, sound, 0.1, parse_precision(precision))
    assert set(differences) == {"timbre", "pitch", "log_amplitude"}
    if precision == "int8":
        kinds = {
            name: [node.op_type for node in onnx.load(tmp_path / f"streaming/{name}.onnx").graph.node]
            for name in ("encoder", "decoder")
        }
        assert kinds["encoder"].count("MatMulNBits") == 6  # the two maps to the latents are too small to be worth it
        # Those, and power to mel: ten decades do not fit 8 bits.
        assert kinds["encoder"].count("MatMul") + kinds["encoder"].count("Gemm") == 3
        assert kinds["decoder"].count("MatMulNBits") == 3  # all but the map from the latents


@torch.no_grad()
def test_offline_graphs_are_the_model(tmp_path: Path) -> None:
    model, x = model_of(), spectra(1, SMALL.frames)
    write_offline(tmp_path, OfflineEncoder(model, SMALL.frames), OfflineDecoder(model, SMALL.frames))
    nothing = torch.zeros_like(x)
    z = model.encode(x, nothing, torch.ones(1, SMALL.frames)).latents
    answers = open_session(tmp_path / "offline/encoder.onnx").run(
        None, {"envelope": x.numpy(), "fine": nothing.numpy()}
    )
    for found, wanted in zip(answers, z.values(), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    inputs = {name: value.numpy() for name, value in z.items()}
    [decoded] = open_session(tmp_path / "offline/decoder.onnx").run(None, inputs)
    np.testing.assert_allclose(decoded, model.decode(z).numpy(), atol=1e-3)


# The student
# -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher() -> MixtureVAE:
    config = MixtureConfig(
        bins=FEATURES.bins,
        sample_rate=FEATURES.sample_rate,
        log_floor=FEATURES.log_floor,
        mel_bands=40,
        filters=24,
        hidden=24,
        latent_dim=6,
        frames=16,
        instruments=("a", "b"),
        floor_db=-60,
    )
    model = model_of(config)
    for encoder in (model.timbre_encoder, model.pitch_encoder):
        nn.init.orthogonal_(encoder.mean.weight, gain=3)  # as far apart as a trained model's latents
    return model


@pytest.fixture(scope="module")
def notes(tiny_data: Path) -> Tensor:
    """Real notes, (sounds, samples)."""
    sounds = read_dataset(tiny_data).select(split="train")
    store = SoundStore(sounds)
    rows = np.linspace(0, len(sounds) - 1, 48).astype(int)
    return torch.from_numpy(np.stack([store.read(int(row), 0, 22050) for row in rows]))


def test_a_taught_student_is_nearer_to_its_teacher(teacher: MixtureVAE, notes: Tensor) -> None:
    """A few seconds against none, on other notes than it was taught."""
    lessons, spectra = StudentLessons(teacher, FEATURES, notes[:24], notes[24:]), FeatureExtractor(FEATURES)(notes[24:])
    untaught = compare(teacher, StudentVAE(teacher).eval(), spectra)
    outcome = teach(lessons, DistillationPlan(0.1))
    taught = compare(teacher, lessons.student.eval(), spectra)
    assert outcome.loss_after < outcome.loss_before
    assert taught["latent_cosine_student_to_whole"] > untaught["latent_cosine_student_to_whole"] + 0.1
    assert taught["parameters_student"] > 0


@given(cuts=st.lists(st.integers(1, 24), max_size=5, unique=True))
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_a_student_streams_and_its_future_does_not_leak(cuts: list[int]) -> None:
    model, x, edges = StudentVAE(model_of(), hidden=10).eval(), spectra(2, 25), [0, *sorted(cuts), 25]
    nothing, rate = torch.zeros_like(x), torch.tensor(0.0)
    whole, _ = model.stream_encode(x, nothing, rate, model.encoder_state(2))
    state, parts = model.encoder_state(2), []
    for a, b in itertools.pairwise(edges):
        z, state = model.stream_encode(x[:, a:b], nothing[:, a:b], rate, state)
        parts.append(z.timbre)
    torch.testing.assert_close(torch.cat(parts, 1), whole.timbre, atol=1e-5, rtol=1e-5)
    changed = x.clone()
    changed[:, 15:] = 2.0
    after, _ = model.stream_encode(changed, nothing, rate, model.encoder_state(2))
    assert torch.equal(after.pitch[:, :15], whole.pitch[:, :15])
    assert torch.equal(model.encode(x, nothing, torch.ones(2, 25)).latents.timbre, whole.timbre[:, -1])


def test_the_students_graphs_are_the_student(tmp_path: Path) -> None:
    student, x = StudentVAE(model_of(), hidden=32).eval(), spectra(1, 25)
    write_streaming(tmp_path, *streaming_graphs(student))
    sound = Spectra(x, x, torch.zeros_like(x), torch.ones(1, 25, dtype=torch.bool))
    differences, run = verify_streaming(tmp_path, student, sound, 0.1)
    assert max(differences.values()) < 1e-3
    np.testing.assert_array_equal(run_streaming(tmp_path, sound, 0.1).latents["timbre"], run.latents["timbre"])


# The command
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(teacher: MixtureVAE, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained: what export does does not depend on training."""
    path = tmp_path_factory.mktemp("mixture") / "mixture.pt"
    save_slim(Checkpoint(FEATURES, teacher, {"data": str(tiny_data), "segment_seconds": 0.3}), path)
    return path


@pytest.fixture(scope="module")
def bundle_folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mixture.bundle"
    assert main([str(checkpoint), "--output", str(folder)]) == 0
    return folder


def test_bundle_plays_from_the_command_line(bundle_folder: Path, tmp_path: Path) -> None:
    phrase, out = Path(__file__).parents[2] / "benchmarks/demo/phrase.flac", tmp_path / "out.wav"
    assert (
        run_main(
            ["--bundle", str(bundle_folder), "--input", str(phrase), "--output", str(out), "--knob", "timbre[0]=2"]
        )
        == 0
    )
    assert out.stat().st_size > 10_000


def test_session_resets_and_knobs_change_the_sound(bundle_folder: Path, tiny_data: Path) -> None:
    bundle = load_bundle(bundle_folder)
    assert set(bundle.manifest.latents) == {"timbre", "pitch"}
    sound = SoundStore(read_dataset(tiny_data)).read(30)[:30000, None]
    knobs = KnobBank(bundle.manifest)
    session = Session(bundle, knobs, channels=1, sample_rate=44100)
    np.testing.assert_array_equal(render(session, sound, 44100), sound)
    knobs.set("timbre[0]", 3.0)
    session.reset()
    first = render(session, sound, 44100)
    session.reset()
    np.testing.assert_array_equal(render(session, sound, 44100), first)
    assert np.abs(first - sound).max() > 1e-3
    assert int(session.meters["failed_hops"]) == 0


def test_report_compares_the_window_with_the_whole(bundle_folder: Path) -> None:
    figures = json.loads((bundle_folder / "report.json").read_text())["figures"]
    text = (bundle_folder / "report.md").read_text()
    assert figures["latent_r2_sliding_to_whole"] <= 1
    assert figures["parameters_sliding"] < figures["parameters"]
    assert "the sliding window against the whole note's" in text
    assert "student" not in text


def test_int8_and_student_bundles(checkpoint: Path, tmp_path: Path) -> None:
    report = export(
        checkpoint,
        tmp_path / "student.bundle",
        Options(parse_precision("int8"), streaming_only=True, wanted=Wanted(distil_minutes=0.02)),
    )
    manifest = load_bundle(tmp_path / "student.bundle").manifest
    assert manifest.model_kind == "mixture_vae_student"
    assert {port.name for port in manifest.graphs["streaming/encoder"].states} == {"layer0", "layer1"}
    assert {"hop_ms_student", "hop_ms_sliding", "latent_cosine_student_to_whole", "mse_newest_student"} <= set(
        report["figures"]
    )
    assert "student" in (tmp_path / "student.bundle/report.md").read_text()
    small = export(checkpoint, tmp_path / "small.bundle", Options(parse_precision("int8"), streaming_only=True))
    assert max(small["differences"].values()) < 0.08


def test_what_this_system_cannot_have_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, words in (
        (["--distil-minutes", "-1"], "--distil-minutes -1 must lie in 0"),
        (["--distil-minutes", "nan"], "--distil-minutes nan must lie in 0"),
        (["--lookahead", "2"], "--lookahead is for recurrent models"),
        (["--window-frames", "9"], "--window-frames is for recurrent models"),
    ):
        assert main([str(checkpoint), *options, "--output", str(tmp_path / "x.bundle")]) == 2
        error = capsys.readouterr().err.strip()
        assert words in error
        assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())
