"""S2 exported: folding on real notes, graphs that equal torch, and its evaluation where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.bundle_writer import quantize_streaming
from export.causal.fold import CalibrationBatch
from export.causal.metric import drop_metric, fold_metric
from export.graph_file import run_streaming, write_offline, write_streaming
from export.graphs.metric import LstmStackStep, MetricStreamingDecoder, MetricStreamingEncoder
from export.graphs.perturbation import OfflineDecoder, OfflineEncoder
from export.onnx import main as export_main
from export.proof.verify import verify_offline, verify_streaming
from export.quantize.quantize import parse_precision
from export.report import reconstruction_mse
from realtime.bundle import load_bundle
from realtime.run import main as run_main
from training.checkpoint import Checkpoint, save_slim
from training.data.manifest import read_dataset
from training.evaluation.probes import batches
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.losses import exponential_nll
from training.models.metric import LstmStack, MetricConfig, MetricVAE

FEATURES = FeatureConfig(44100, 512, 441, 1e-2, 50, "sound", level="power")
BIDIRECTIONAL = MetricConfig(257, 8, 24, 3, 24, 20, 0.0, True, log_floor=1e-2)
PHRASE = Path(__file__).parents[2] / "benchmarks/demo/phrase.flac"


@pytest.fixture(scope="module")
def notes(tiny_data: Path) -> dict[str, list[Spectra]]:
    """Real notes: some to train and fold on, others held out."""
    extractor = FeatureExtractor(FEATURES)
    sounds = read_dataset(tiny_data)
    return {
        split: [extractor(audio) for _, audio in batches(sounds.select(split=split), 0.5)]
        for split in ("train", "test")
    }


def heard(spectra: list[Spectra]) -> list[CalibrationBatch]:
    """The teacher and the student hear the very same."""
    return [CalibrationBatch(batch, batch) for batch in spectra]


def nll(model: MetricVAE, spectra: list[Spectra]) -> float:
    """Exponential likelihood of the power on the frames that sound (Tanaka 2021, eq. 3), of whole sounds."""
    parts = []
    with torch.no_grad():
        for batch in spectra:
            kappa = model.power(model.encode(batch.envelope, batch.fine, batch.sounding).latents)
            parts.append(exponential_nll(model.observed(batch.log_amplitude), kappa)[batch.sounding])
    return float(torch.cat(parts).mean())


@pytest.fixture(scope="module")
def bidirectional(notes: dict[str, list[Spectra]]) -> MetricVAE:
    """Trained for a while."""
    torch.manual_seed(0)
    model = MetricVAE(BIDIRECTIONAL)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(90):
        batch = notes["train"][step % len(notes["train"])]
        kappa = model.power(model.encode(batch.envelope, batch.fine, batch.sounding).latents)
        loss = exponential_nll(model.observed(batch.log_amplitude), kappa)[batch.sounding].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


# Causal
# -----------------------------------------------------------------------------------------------------------------


def test_folding_keeps_the_likelihood_dropping_does_not(
    bidirectional: MetricVAE, notes: dict[str, list[Spectra]]
) -> None:
    """On held-out notes, in nats per bin: of what dropping the backward half costs, folding gives back three quarters
    or more.
    """
    original, dropped = nll(bidirectional, notes["test"]), nll(drop_metric(bidirectional), notes["test"])
    folded_model = fold_metric(bidirectional, heard(notes["train"]))
    folded = nll(folded_model, notes["test"])
    assert original < -1, "the original must have learnt something"
    assert dropped > original + 0.2
    assert folded - original < 0.25 * (dropped - original)
    mse = [
        np.mean([reconstruction_mse(model, batch) for batch in notes["test"]])
        for model in (folded_model, drop_metric(bidirectional))
    ]
    assert mse[0] < mse[1]


def test_the_folded_model_streams_and_cannot_see_the_future(
    bidirectional: MetricVAE, notes: dict[str, list[Spectra]]
) -> None:
    student = fold_metric(bidirectional, heard(notes["train"]))
    assert not student.config.bidirectional
    batch = notes["test"][0]
    changed = batch.envelope.clone()
    changed[:, 20:] = 2.0
    rate, state = torch.tensor(0.01), student.encoder_state(len(changed))
    with torch.no_grad():
        before, _ = student.stream_encode(batch.envelope, batch.fine, rate, state)
        after, _ = student.stream_encode(changed, batch.fine, rate, state)
    for name in student.latent_sizes:
        assert torch.equal(before[name][:, :20], after[name][:, :20])
        assert not torch.equal(before[name][:, 20:], after[name][:, 20:])


def test_bidirectional_stacks_do_not_stream() -> None:
    with pytest.raises(ValueError, match="causal"):
        LstmStackStep(LstmStack(5, 6, 2, bidirectional=True))


# Graphs
# -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31 - 1),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 4), st.integers(1, 30), st.integers(1, 20)),
)
def test_graphs_equal_torch_at_random_sizes(
    tmp_path_factory: pytest.TempPathFactory,
    notes: dict[str, list[Spectra]],
    seed: int,
    sizes: tuple[int, int, int, int, int],
) -> None:
    """Every hop of real notes, through freshly exported graphs, within 1e-3 of torch, whatever the architecture."""
    torch.manual_seed(seed)
    model = MetricVAE(MetricConfig(257, *sizes, 0.3, False, 1e-2)).eval()
    folder = tmp_path_factory.mktemp("graphs")
    write_streaming(folder, MetricStreamingEncoder(model), MetricStreamingDecoder(model))
    batch = notes["test"][0]
    one = Spectra(batch.log_amplitude[:1], batch.envelope[:1], batch.fine[:1], batch.sounding[:1])
    differences, _ = verify_streaming(folder, model, one, 0.02)
    assert max(differences.values()) < 1e-3


def test_offline_graphs_equal_torch_at_any_length(
    bidirectional: MetricVAE, notes: dict[str, list[Spectra]], tmp_path: Path
) -> None:
    write_offline(tmp_path, OfflineEncoder(bidirectional), OfflineDecoder(bidirectional))
    batch = notes["test"][0]
    for frames in (1, 7, 49):
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


def test_int8_rows_do_not_disturb_each_other(
    bidirectional: MetricVAE, notes: dict[str, list[Spectra]], tmp_path: Path
) -> None:
    """The decoder's first row has the same bits whatever the second, edited row holds; all ports are there."""
    model = fold_metric(bidirectional, heard(notes["train"]))
    graphs = write_streaming(tmp_path, MetricStreamingEncoder(model), MetricStreamingDecoder(model))
    quantize_streaming(tmp_path, graphs, parse_precision("int8"))
    batch = notes["test"][0]
    one = Spectra(batch.log_amplitude[:1, :20], batch.envelope[:1, :20], batch.fine[:1, :20], batch.sounding[:1, :20])
    calm, wild = run_streaming(tmp_path, one, 0.02, shift=0.0), run_streaming(tmp_path, one, 0.02, shift=25.0)
    np.testing.assert_array_equal(calm.log_amplitude, wild.log_amplitude)
    graph = onnxruntime.InferenceSession(str(tmp_path / "streaming/encoder.onnx"), providers=["CPUExecutionProvider"])
    states = {f"state.layer{i}.{part}" for i in range(3) for part in ("hidden", "cell")}
    assert {port.name for port in graph.get_inputs()} == {"envelope", "fine", "rate"} | states


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_checkpoint_becomes_a_bundle_that_plays(bidirectional: MetricVAE, tmp_path: Path, precision: str) -> None:
    """Without a data set at hand: folded on the shipped notes, verified, and a knob moves a real phrase."""
    save_slim(Checkpoint(FEATURES, bidirectional, {"alpha": 0.2}), tmp_path / "ckpt.pt")
    bundle = tmp_path / "ckpt.bundle"
    assert export_main([str(tmp_path / "ckpt.pt"), "--output", str(bundle), "--precision", precision]) == 0
    manifest = load_bundle(bundle).manifest
    assert dict(manifest.latents) == {"timbre": 8, "pitch": 8}
    assert manifest.features.level == "power"
    heard = []
    for value in ("0", "2"):
        out = tmp_path / f"{value}.wav"
        assert (
            run_main(
                ["--bundle", str(bundle), "--input", str(PHRASE), "--output", str(out), "--knob", f"timbre[0]={value}"]
            )
            == 0
        )
        heard.append(out.read_bytes())
    assert heard[0] != heard[1]
