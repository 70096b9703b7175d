"""Folding a bidirectional model on real notes, and graphs that equal torch at every size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.bundle_writer import quantize_streaming
from export.causal.fold import CalibrationBatch, drop, fold, single_layers
from export.errors import ExportError
from export.graph_file import run_streaming, write_offline, write_streaming
from export.graphs.perturbation import (
    GruStep,
    OfflineDecoder,
    OfflineEncoder,
    StackStep,
    StreamingDecoder,
    StreamingEncoder,
)
from export.proof.verify import verify_offline, verify_streaming
from export.quantize.quantize import parse_precision
from export.report import reconstruction_mse
from training.data.manifest import read_dataset
from training.evaluation.probes import batches
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.perturbation import PerturbationConfig, PerturbationVAE
from training.recurrent import RecurrentStack

FEATURES = FeatureConfig(44100, 512, 441, 1e-2, 50, "sound")
BIDIRECTIONAL = PerturbationConfig(
    bins=257, timbre_dim=12, variation_dim=6, pitch_dim=8, hidden=24, layers=3, bidirectional=True
)


@pytest.fixture(scope="module")
def notes(tiny_data: Path) -> dict[str, list[Spectra]]:
    """Real notes: some to train and fold on, others held out."""
    extractor = FeatureExtractor(FEATURES)
    sounds = read_dataset(tiny_data)
    return {
        split: [extractor(audio) for _, audio in batches(sounds.select(split=split), 0.5)]
        for split in ("train", "test")
    }


def trained(config: PerturbationConfig, spectra: list[Spectra], steps: int) -> PerturbationVAE:
    torch.manual_seed(0)
    model = PerturbationVAE(config)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(steps):
        batch = spectra[step % len(spectra)]
        decoded = model.decode(model.encode(batch.envelope, batch.fine, batch.sounding).latents)
        loss = (decoded - batch.log_amplitude).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module", params=["independent", "conditional"])
def bidirectional(request: pytest.FixtureRequest, notes: dict[str, list[Spectra]]) -> PerturbationVAE:
    return trained(dataclasses.replace(BIDIRECTIONAL, pitch_encoder=request.param), notes["train"], steps=120)


def heard(spectra: list[Spectra]) -> list[CalibrationBatch]:
    """The teacher and the student hear the very same."""
    return [CalibrationBatch(batch, batch) for batch in spectra]


def held_out_mse(model: PerturbationVAE, spectra: list[Spectra]) -> float:
    return float(np.mean([reconstruction_mse(model, batch) for batch in spectra]))


def test_folding_keeps_the_reconstruction_dropping_does_not(
    bidirectional: PerturbationVAE, notes: dict[str, list[Spectra]]
) -> None:
    """On held-out notes: folded within 10 % of the bidirectional original; the forward half alone far off."""
    original = held_out_mse(bidirectional, notes["test"])
    folded = held_out_mse(fold(bidirectional, heard(notes["train"])), notes["test"])
    dropped = held_out_mse(drop(bidirectional), notes["test"])
    assert original < 1.0 * float(np.mean([_variance(batch) for batch in notes["test"]])), (
        "the original must have learnt something"
    )
    assert folded <= 1.10 * original
    assert dropped > 1.25 * original


def _variance(spectra: Spectra) -> float:
    frames = spectra.log_amplitude[spectra.sounding]
    return float((frames - frames.mean()).square().mean())


def test_the_folded_model_cannot_see_the_future(
    bidirectional: PerturbationVAE, notes: dict[str, list[Spectra]]
) -> None:
    student = fold(bidirectional, heard(notes["train"]))
    assert not student.config.bidirectional
    batch = notes["test"][0]
    changed = batch.envelope.clone()
    changed[:, 20:] = 3.0
    rate, state = torch.tensor(0.01), student.encoder_state(len(changed))
    with torch.no_grad():
        before, _ = student.stream_encode(batch.envelope, batch.fine, rate, state)
        after, _ = student.stream_encode(changed, batch.fine, rate, state)
    assert torch.equal(before.timbre[:, :20], after.timbre[:, :20])
    assert torch.equal(before.variation[:, :20], after.variation[:, :20])


def test_single_layers_are_the_stack() -> None:
    stack = RecurrentStack(5, 6, 3, condition_size=2, bidirectional=True).eval()
    x, condition = torch.randn(2, 9, 5), torch.randn(2, 9, 2)
    with torch.no_grad():
        y = x
        for i, layer in enumerate(single_layers(stack)):
            y = layer(torch.cat([y, condition], -1) if i == 2 else y)[0]
        torch.testing.assert_close(y, stack(x, stack.initial_state(2), condition)[0])


def test_bidirectional_stacks_do_not_stream() -> None:
    with pytest.raises(ValueError, match="causal"):
        StackStep(RecurrentStack(5, 6, 2, bidirectional=True))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31 - 1),
    hidden=st.integers(1, 40),
    layers=st.integers(2, 4),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    pitch_encoder=st.sampled_from(["independent", "conditional"]),
    centred=st.booleans(),
    coefficients=st.sampled_from([0, 16]),
)
def test_graphs_equal_torch_at_random_sizes(
    tmp_path_factory: pytest.TempPathFactory,
    notes: dict[str, list[Spectra]],
    seed: int,
    hidden: int,
    layers: int,
    sizes: tuple[int, int, int],
    pitch_encoder: str,
    centred: bool,
    coefficients: int,
) -> None:
    """Every hop of real notes, through freshly exported graphs, within 1e-3 of torch, whatever the architecture."""
    torch.manual_seed(seed)
    config = PerturbationConfig(257, *sizes, hidden, None, layers, False, pitch_encoder, centred, coefficients)  # type: ignore[arg-type]
    model, folder = PerturbationVAE(config).eval(), tmp_path_factory.mktemp("graphs")
    write_streaming(folder, StreamingEncoder(model), StreamingDecoder(model))
    batch = notes["test"][0]
    one = Spectra(batch.log_amplitude[:1], batch.envelope[:1], batch.fine[:1], batch.sounding[:1])
    differences, _ = verify_streaming(folder, model, one, 0.02)
    assert max(differences.values()) < 1e-3


def test_offline_graphs_equal_torch_at_any_length(
    bidirectional: PerturbationVAE, notes: dict[str, list[Spectra]], tmp_path: Path
) -> None:

    write_offline(tmp_path, OfflineEncoder(bidirectional), OfflineDecoder(bidirectional))
    for frames in (1, 7, 49):
        batch = notes["test"][0]
        one = Spectra(
            batch.log_amplitude[:1, :frames],
            batch.envelope[:1, :frames],
            batch.fine[:1, :frames],
            batch.sounding[:1, :frames],
        )
        assert (
            max(verify_offline(tmp_path, OfflineEncoder(bidirectional), OfflineDecoder(bidirectional), one).values())
            < 1e-3
        )


def test_export_refuses_what_it_cannot_reproduce(notes: dict[str, list[Spectra]], tmp_path: Path) -> None:
    """Graphs of one model held against another: the difference is found and named."""
    config = dataclasses.replace(BIDIRECTIONAL, bidirectional=False)
    torch.manual_seed(1)
    model, other = PerturbationVAE(config).eval(), PerturbationVAE(config).eval()
    write_streaming(tmp_path, StreamingEncoder(model), StreamingDecoder(model))
    batch = notes["test"][0]
    one = Spectra(batch.log_amplitude[:1], batch.envelope[:1], batch.fine[:1], batch.sounding[:1])
    with pytest.raises(ExportError, match=r"differs from torch by .* \(limit 1e-03\)"):
        verify_streaming(tmp_path, other, one, 0.02)


def test_int8_rows_do_not_disturb_each_other(notes: dict[str, list[Spectra]], tmp_path: Path) -> None:
    """The decoder's first row is the same bits whatever the second, edited row holds."""
    torch.manual_seed(2)
    model = PerturbationVAE(dataclasses.replace(BIDIRECTIONAL, bidirectional=False, hidden=64)).eval()
    graphs = write_streaming(tmp_path, StreamingEncoder(model), StreamingDecoder(model))
    quantize_streaming(tmp_path, graphs, parse_precision("int8"))
    batch = notes["test"][0]
    one = Spectra(batch.log_amplitude[:1, :20], batch.envelope[:1, :20], batch.fine[:1, :20], batch.sounding[:1, :20])
    calm, wild = run_streaming(tmp_path, one, 0.02, shift=0.0), run_streaming(tmp_path, one, 0.02, shift=25.0)
    np.testing.assert_array_equal(calm.log_amplitude, wild.log_amplitude)
    graph = onnxruntime.InferenceSession(str(tmp_path / "streaming/encoder.onnx"), providers=["CPUExecutionProvider"])
    assert {port.name for port in graph.get_inputs()} == {
        "envelope",
        "fine",
        "rate",
        *(f"state.{name}" for name in StreamingEncoder(model).state_shapes),
    }


def test_gru_step_is_torchs_gru() -> None:
    gru = torch.nn.GRU(4, 5, 2, batch_first=True)
    step, x, h = GruStep(gru, 0), torch.randn(3, 4), torch.randn(3, 5)
    first = torch.nn.GRU(4, 5, batch_first=True)
    first.load_state_dict({name: value for name, value in gru.state_dict().items() if name.endswith("l0")})
    with torch.no_grad():
        torch.testing.assert_close(step(x, h), first(x[:, None], h[None])[0][:, 0])
