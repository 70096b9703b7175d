"""The shipped model's graphs with fewer bits: what it costs on real sound, and what is left alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.calibration import calibration_sounds
from export.graph_file import StreamingRun, open_session, run_streaming, write_streaming
from export.quantize.cost import PrecisionCost, precision_cost
from export.quantize.feeds import Feed, record_feeds
from export.quantize.quantize import Quantized, parse_precision, quantize
from export.systems import system_of
from training.checkpoint import load_checkpoint
from training.features import FeatureExtractor, Spectra

CHECKPOINT = Path(__file__).parents[2] / "training/checkpoints/live.pt"
RATE = 0.003


@dataclass(frozen=True)
class Shipped:
    """The shipped model's graphs at fp32 in `folder`, what they were fed at calibration sounds, and what they give for
    held-out ones.
    """

    folder: Path
    feeds: dict[str, list[Feed]]
    held_out: Spectra
    run: StreamingRun

    def cost(
        self, folder: Path, precision: str, *, calibrated: bool = True
    ) -> tuple[PrecisionCost, dict[str, Quantized]]:
        (folder / "streaming").mkdir(parents=True)
        done = {}
        for name, word in parse_precision(precision).items():
            file = f"streaming/{name}.onnx"
            done[name] = quantize(self.folder / file, folder / file, word, self.feeds[name] if calibrated else None)
        return precision_cost(
            self.run, run_streaming(folder, self.held_out, RATE), self.held_out.log_amplitude[0].numpy()
        ), done


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    folder = tmp_path_factory.mktemp("shipped")
    checkpoint = load_checkpoint(CHECKPOINT)
    write_streaming(folder, *system_of(checkpoint.model).streaming(checkpoint.model))
    sounds = calibration_sounds(checkpoint, None)
    features = FeatureExtractor(checkpoint.features)
    fit, held_out = (
        features(audio.reshape(1, -1)[:, : 8 * checkpoint.features.sample_rate])
        for audio in (sounds.fit, sounds.held_out)
    )
    return Shipped(folder, record_feeds(folder, fit, RATE, 500), held_out, run_streaming(folder, held_out, RATE))


def test_int8_is_near_on_real_sound(shipped: Shipped, tmp_path: Path) -> None:
    cost, done = shipped.cost(tmp_path, "int8")
    assert cost.relative_rms["log_amplitude"] < 0.01
    assert max(cost.relative_rms.values()) < 0.02
    assert min(cost.cosine.values()) > 0.999
    assert cost.distance_db < 0.15
    assert abs(cost.mse_change) < 0.01
    assert sum(part.bytes_after for part in done.values()) < 0.3 * sum(part.bytes_before for part in done.values())


def test_int4_is_clearly_nearer_with_calibration(shipped: Shipped, tmp_path: Path) -> None:
    plain, _ = shipped.cost(tmp_path / "plain", "int4", calibrated=False)
    calibrated, done = shipped.cost(tmp_path / "calibrated", "int4")
    assert calibrated.distance_db < 0.75 * plain.distance_db
    for name in ("timbre", "variation", "log_amplitude"):
        assert calibrated.relative_rms[name] < 0.75 * plain.relative_rms[name]
    assert max(calibrated.relative_rms.values()) < 0.25
    assert calibrated.relative_rms["log_amplitude"] < 0.04
    assert abs(calibrated.mse_change) < 0.05
    assert sum(part.bytes_after for part in done.values()) < 0.17 * sum(part.bytes_before for part in done.values())


def test_each_graph_has_its_own_precision(shipped: Shipped, tmp_path: Path) -> None:
    """Latents depend on the encoder alone; at fp32 a graph is the same file."""
    cost, done = shipped.cost(tmp_path / "encoder", "encoder=int8,decoder=fp32")
    assert done["decoder"] == Quantized()
    assert (tmp_path / "encoder/streaming/decoder.onnx").read_bytes() == (
        shipped.folder / "streaming/decoder.onnx"
    ).read_bytes()
    assert cost.relative_rms["timbre"] > 0
    cost, _ = shipped.cost(tmp_path / "decoder", "decoder=int4")
    assert cost.relative_rms["timbre"] == cost.relative_rms["pitch"] == 0
    assert cost.distance_db > 0


def test_int4_spares_the_latents_means_and_fixed_matrices(shipped: Shipped, tmp_path: Path) -> None:
    shipped.cost(tmp_path, "int4")
    graph = onnx.load(tmp_path / "streaming/encoder.onnx").graph
    products = [node for node in graph.node if node.op_type == "MatMulNBits"]
    settings = [{attribute.name: attribute.i for attribute in node.attribute} for node in products]
    assert [setting["bits"] == 8 for setting in settings] == [setting["N"] in (32, 64) for setting in settings]
    assert {setting["bits"] for setting in settings} == {4, 8}
    left = [node for node in graph.node if node.op_type == "MatMul"]
    assert [node.input[0] for node in left] == ["envelope"], "the envelope's cepstrum"


def test_recorded_feeds_are_the_run_itself(shipped: Shipped) -> None:
    """One hop of the graph on one hop's feed gives the states of the next hop's."""
    few = Spectra(**{name: getattr(shipped.held_out, name)[:, :20] for name in vars(shipped.held_out)})
    for name, feeds in record_feeds(shipped.folder, few, RATE, 1000).items():
        assert len(feeds) == 20
        session = open_session(shipped.folder / f"streaming/{name}.onnx")
        outputs = [port.name for port in session.get_outputs()]
        for feed, following in itertools.pairwise(feeds):
            answer = dict(zip(outputs, session.run(None, feed), strict=True))
            for port in (port for port in feed if port.startswith("state.")):
                np.testing.assert_array_equal(answer[port.replace("state.", "next.", 1)], following[port])
    assert len(record_feeds(shipped.folder, few, RATE, 7)["decoder"]) == 7
