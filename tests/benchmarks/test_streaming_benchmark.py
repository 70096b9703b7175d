"""The streaming benchmark end to end on a miniature: measured, stopped, continued and written.

Its verdict is checked on known figures.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.streaming import __main__ as streaming
from benchmarks.streaming.cuda import DeviceGraph
from benchmarks.streaming.players import in_layers, in_modules, in_onnxruntime, written
from benchmarks.streaming.verdict import verdict
from benchmarks.streaming.ways import DISTILLED, FOLDED, ORIGINAL, SLIDING, STUDENT, Effort, Subject, ways
from export.fallbacks import Wanted
from export.proof.fidelity import measure_whole
from export.systems import streaming_graphs, system_of
from realtime.hop.model import StreamingModel
from training.checkpoint import Checkpoint, describe, load_checkpoint
from training.data.manifest import read_dataset
from training.features import FeatureConfig, Spectra
from training.models.latents import TimbreVAE
from training.models.mixture import MixtureConfig, MixtureVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

FEATURES = FeatureConfig(
    sample_rate=44100, window_samples=1024, hop_samples=1024, log_floor=1e-2, cutoff_quefrency=50, silence_dbfs=-70.0
)
EFFORT = Effort(
    train_sounds=40,
    test_sounds=16,
    windowed_sounds=(2, 8),
    calibration=16,
    hops=50,
    memory_bytes=1 << 22,
    memory_seconds=0.02,
    compiler=False,
)
SMALL = {
    "bins": 513,
    "timbre_dim": 6,
    "variation_dim": 5,
    "pitch_dim": 4,
    "hidden": 12,
    "layers": 2,
    "envelope_coefficients": 20,
}
MIXTURE = MixtureConfig(
    bins=513,
    sample_rate=44100,
    mel_bands=24,
    filters=12,
    hidden=16,
    latent_dim=5,
    frames=11,
    instruments=("flute", "cello"),
    log_floor=1e-2,
)


def subject(folder: Path, name: str, model: TimbreVAE, data: Path, **minutes: float) -> Subject:
    assert isinstance(model, torch.nn.Module)
    path = folder / f"{name}.pt"
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"neiro": describe(FEATURES, model, {}), "state_dict": weights}, path)
    return Subject(
        name,
        name.upper(),
        replace(load_checkpoint(path), info={"data": str(data), "segment_seconds": 0.5}),
        path,
        **minutes,
    )


def models() -> tuple[PerturbationVAE, MixtureVAE, PerturbationVAE]:
    """S1 bidirectional, S3, S1 causal."""
    torch.manual_seed(0)
    return (
        PerturbationVAE(PerturbationConfig(**SMALL)),  # type: ignore[arg-type]
        MixtureVAE(MIXTURE),
        PerturbationVAE(PerturbationConfig(**SMALL, bidirectional=False)),  # type: ignore[arg-type]
    )


def test_miniature_report_and_what_was_measured_stays(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, mixture, causal = models()
    subjects = [
        subject(tmp_path, "s1", both, tiny_data, distil_minutes=0.005),
        subject(tmp_path, "s3", mixture, tiny_data, distil_minutes=0.005),
        Subject("paper", "S1, causal", Checkpoint(FEATURES, causal.eval(), {}), None),
    ]
    work, out = tmp_path / "work", tmp_path / "report"
    streaming.run(subjects, EFFORT, work, out)
    text = (out / "report.md").read_text(encoding="utf-8")
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    found = content["subjects"]
    for one in subjects:
        assert list(found[one.name]["speed"]["forms"]) == [way.name for way in ways(one)]
        assert found[one.name]["backends"]["backends"].keys() >= {
            "ONNX Runtime, fp32",
            "ONNX Runtime, int8",
            "ONNX Runtime, int4",
            "TorchScript",
        }
    assert list(found["s1"]["quality"]) == [way.name for way in ways(subjects[0])]
    assert found["paper"]["quality"] == {}
    assert (out / "quality-against-cost.png").stat().st_size > 5000
    assert re.findall(r"\*\*(S\d): (?:yes|no)\.\*\*", text) == ["S1", "S3"]
    assert str(tmp_path) not in text + json.dumps(content)

    sounds = read_dataset(tiny_data).select(split="test")
    rows = [row for row in text.splitlines() if row.startswith("| S1 | original")]
    few = streaming.Quality(streaming.Forms(subjects[0], EFFORT, work)).sounds.test
    assert set(few.sound.tolist()) <= set(sounds.sound.tolist())
    assert f"| {measure_whole(both.eval(), FEATURES, few, 0.5).mse:.3f} |" in rows[0]

    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.json")}
    (work / "s1" / "quality-folded.json").unlink()  # as if it had been stopped before
    monkeypatch.setattr(streaming, "form_times", None)  # what was measured is not measured again
    monkeypatch.setattr(streaming, "backend_times", None)
    assert streaming.run(subjects, EFFORT, work, out).count("\n") == text.count("\n")
    after = {path: path.stat().st_mtime_ns for path in work.rglob("*.json")}
    assert {path.name for path in before if before[path] != after[path]} == {"quality-folded.json"}
    again = json.loads((out / "report.json").read_text(encoding="utf-8"))["subjects"]
    assert again["s1"]["quality"][FOLDED]["mse"] == pytest.approx(found["s1"]["quality"][FOLDED]["mse"], rel=1e-4)
    assert again["s1"]["quality"][DISTILLED] == found["s1"]["quality"][DISTILLED]


def test_ways_of_each_kind_of_model(tmp_path: Path, tiny_data: Path) -> None:
    both, mixture, causal = models()
    names = {
        way.name: way for way in ways(subject(tmp_path, "s1", both, tiny_data, distil_minutes=10, lookahead_minutes=3))
    }
    assert names[DISTILLED].wanted == Wanted(10)
    assert names["distilled, lookahead 4"].wanted == Wanted(3, 4)
    assert names["windowed, 43 frames"].wanted == Wanted(window_frames=43)  # 1 s
    assert len(names) == 12
    assert [way.name for way in ways(subject(tmp_path, "s3", mixture, tiny_data))] == [ORIGINAL, SLIDING, STUDENT]
    assert len(ways(subject(tmp_path, "live", causal, tiny_data))) == 1


def test_every_player_plays_the_same_model(tmp_path: Path) -> None:
    """ONNX Runtime, the graphs' modules and the model's own layers reach the same answer after the same hops."""
    _, _, model = models()
    pair = streaming_graphs(system_of(model), model.eval())
    rng = np.random.default_rng(0)
    log_amplitude, envelope, fine = (
        torch.from_numpy(rng.standard_normal((1, 20, 513)).astype(np.float32)) for _ in range(3)
    )
    spectra = Spectra(log_amplitude, envelope, fine, torch.ones(1, 20, dtype=torch.bool))
    engine = StreamingModel(written(tmp_path / "bundle", pair, model, FEATURES), "cpu")
    players = (
        in_onnxruntime(engine, spectra, 0.01),
        in_modules(pair, pair, spectra, 0.01),
        in_layers(model, spectra, 0.01),
    )
    answers = [[play(hop) for hop in range(30)][-1] for play in players]
    for last in answers:
        np.testing.assert_allclose(np.asarray(last).reshape(2, 513), engine.log_amplitude, atol=1e-4)


def test_device_graphs_keep_their_states(tmp_path: Path) -> None:
    """The code that measures a GPU, on the CPU: hop by hop what the engine answers."""
    _, _, model = models()
    bundle = written(tmp_path / "bundle", streaming_graphs(system_of(model), model.eval()), model, FEATURES)
    engine, graph = StreamingModel(bundle, "cpu"), DeviceGraph(bundle, "streaming/encoder", "cpu")
    for frame in np.random.default_rng(0).standard_normal((15, 2, 513)).astype(np.float32):
        engine.encode(frame[0], frame[1], 0.01)
        answer = graph(envelope=frame[:1], fine=frame[1:], rate=np.array([0.01], np.float32))
        assert answer.keys() == engine.latents.keys()
        for name, value in answer.items():
            np.testing.assert_allclose(value, engine.latents[name], atol=1e-5)  # type: ignore[index]


def test_no_gpu_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert streaming.main(["--provider", "cuda", "--work", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "neiro[gpu]" in line
    assert not list(tmp_path.iterdir())


def test_verdict_on_known_figures() -> None:
    original = {
        "mse": 2.0,
        "knn": {"instrument from timbre": 0.80, "pitch from pitch": 0.90, "pitch from timbre": 0.10},
    }

    def judged(mse: float, *knn: float) -> tuple[bool, list[str], list[str]]:
        found = verdict(original, {"mse": mse, "knn": dict(zip(original["knn"], knn, strict=True))})  # type: ignore[call-overload, arg-type]
        return found.holds, list(found.beyond), list(found.worse)

    assert judged(2.1, 0.78, 0.92, 0.12) == (True, [], [])
    assert judged(1.0, 0.80, 0.90, 0.10) == (True, [], [])
    assert judged(2.0, 0.84, 0.95, 0.05) == (
        True,
        ["instrument from timbre", "pitch from pitch", "pitch from timbre"],
        [],
    )
    assert judged(2.11, 0.80, 0.90, 0.10) == (False, [], [])
    assert judged(2.0, 0.77, 0.93, 0.13) == (
        False,
        ["instrument from timbre", "pitch from pitch", "pitch from timbre"],
        ["instrument from timbre", "pitch from timbre"],
    )


def test_wrong_requests_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert streaming.main(["--only", "s9", "--work", str(tmp_path)]) == 2
    assert "s9" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
