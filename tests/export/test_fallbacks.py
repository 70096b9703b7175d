"""Causal forms of a trained bidirectional model: folding, distilling, playing in the runtime, stops and refusals."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from export.calibration import calibration_sounds
from export.causal import fold as causal
from export.errors import ExportError
from export.fallbacks import Wanted, calibration_batches, make_fallback
from export.graph_file import open_session, run_streaming
from export.onnx import main
from export.pipeline import Options, export
from export.proof.fidelity import measure_streaming
from export.streaming_play import play
from export.systems import system_of
from realtime.bundle import load_bundle
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session
from tests.support.clock import EvenClock
from tests.support.spectra import noise
from training.checkpoint import Checkpoint, load_checkpoint, save_slim
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor
from training.knobs.knobs import measure_knobs
from training.models.perturbation import PerturbationConfig, PerturbationVAE

FEATURES = FeatureConfig(44100, 1024, 512, 1e-2, 50, "sound", silence_dbfs=-70.0)
RATE = 0.02


@pytest.fixture(scope="module")
def bidirectional(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bidirectional S1 of the paper's shape, small and trained for a while, as a checkpoint with its data."""
    sounds = read_dataset(tiny_data).select(split="train")
    store = SoundStore(sounds)
    audio = torch.from_numpy(np.stack([store.read(row, 0, 22050) for row in range(len(sounds))]))
    spectra = FeatureExtractor(FEATURES)(audio)
    torch.manual_seed(0)
    model = PerturbationVAE(PerturbationConfig(FEATURES.bins, 12, 6, 8, 32, None, 2, True, "conditional"))
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(100):
        rows = torch.randperm(len(audio), generator=torch.Generator().manual_seed(step))[:16]
        z = model.encode(spectra.envelope[rows], spectra.fine[rows], spectra.sounding[rows]).latents
        loss = (model.decode(z) - spectra.log_amplitude[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("bidirectional") / "both.pt"
    knobs = measure_knobs(
        model.eval(), FeatureExtractor(FEATURES), sounds, read_dataset(tiny_data).select(split="validation"), 0.5
    )
    save_slim(Checkpoint(FEATURES, model, {"data": str(tiny_data), "segment_seconds": 0.5}, knobs), path)
    return path


@pytest.fixture(scope="module")
def causal_forms(bidirectional: Path) -> dict[int, PerturbationVAE]:
    """Folded, by how many frames they look ahead."""
    checkpoint = load_checkpoint(bidirectional)
    calibration = calibration_sounds(checkpoint, None, seconds=0.5)
    return {k: make_fallback(checkpoint, calibration, Wanted(lookahead=k)).model for k in (0, 2, 4)}  # type: ignore[misc]


@pytest.mark.parametrize("lookahead", [0, 3])
@torch.no_grad()
def test_folding_fits_what_streaming_will_give(
    bidirectional: Path, monkeypatch: pytest.MonkeyPatch, lookahead: int
) -> None:
    """The latents that each refitted map was worked out on are those that the finished model streams, frame by frame,
    on the same notes.
    """
    checkpoint, seen = load_checkpoint(bidirectional), {}  # type: ignore[var-annotated]
    sounds = calibration_batches(checkpoint, calibration_sounds(checkpoint, None, seconds=0.5).fit)
    streamed = causal.streamed_means

    def watched(student: PerturbationVAE, name: str, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        z = streamed(student, name, h, mask)
        seen.setdefault(name, z)
        return z

    monkeypatch.setattr(causal, "streamed_means", watched)
    assert isinstance(checkpoint.model, PerturbationVAE)
    student = causal.fold(checkpoint.model, sounds, lookahead)
    found, _ = play(student, sounds[0].live, 1e-4)
    for name, value in found.items():
        heard_frames = sounds[0].live.sounding
        torch.testing.assert_close(seen[name][:, lookahead:][heard_frames], value[heard_frames], atol=1e-4, rtol=1e-4)


# In the runtime
# ------------------------------------------------------------------------------


def test_the_runtime_delays_by_the_lookahead_and_says_so(bidirectional: Path, tiny_data: Path, tmp_path: Path) -> None:
    """At rest the output is the input, so many samples later, bit for bit, at any block size; an offline rendering is
    in step again.
    """
    report = export(
        bidirectional, tmp_path / "ahead.bundle", Options(streaming_only=True, wanted=Wanted(lookahead=3), fused=True)
    )
    assert report["lookahead_hops"] == 3
    assert report["differences"]["fused audio"] < 1e-4
    bundle = load_bundle(tmp_path / "ahead.bundle")
    sound = SoundStore(read_dataset(tiny_data)).read(30)[:30000, None]
    for rate, late in ((44100, 3 * 512), (48000, round(3 * 512 * 48000 / 44100))):
        session = Session(bundle, KnobBank(bundle.manifest), channels=1, sample_rate=rate)
        assert session.latency_samples == late
        out = np.empty_like(sound)
        for start in range(0, len(sound), 777):
            session.process_block(sound[start : start + 777], out[start : start + 777])
        np.testing.assert_array_equal(out[late:], sound[:-late])
        assert not out[:late].any()
        session.reset()
        np.testing.assert_array_equal(render(session, sound, rate), sound)


def test_a_knob_event_keeps_its_place_in_a_delayed_rendering(
    bidirectional: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """Turned at a sample of the file, it changes nothing before that sample of the file."""
    export(bidirectional, tmp_path / "ahead.bundle", Options(streaming_only=True, wanted=Wanted(lookahead=3)))
    bundle = load_bundle(tmp_path / "ahead.bundle")
    sound, bank = SoundStore(read_dataset(tiny_data)).read(30)[:30000, None], KnobBank(bundle.manifest)
    session = Session(bundle, bank, channels=1, sample_rate=44100)
    out = render(session, sound, 44100, [(10_000, lambda: bank.set("gain_db", -20.0))])
    changed = np.flatnonzero(np.abs(out - sound)[:, 0] > 1e-6)
    assert 10_000 <= changed[0] <= 10_000 + 2 * 512


def test_the_windowed_original_plays(bidirectional: Path, tiny_data: Path, tmp_path: Path) -> None:
    export(bidirectional, tmp_path / "window.bundle", Options(streaming_only=True, wanted=Wanted(window_frames=12)))
    bundle = load_bundle(tmp_path / "window.bundle")
    assert bundle.manifest.model_kind == "windowed"
    bank = KnobBank(bundle.manifest)
    bank.set("timbre[0]", 3.0)
    session = Session(bundle, bank, channels=1, sample_rate=44100)
    sound = SoundStore(read_dataset(tiny_data)).read(30)[:30000, None]
    out = render(session, sound, 44100)
    assert int(session.meters["failed_hops"]) == 0
    assert np.abs(out - sound).max() > 1e-4


# Distilling
# ------------------------------------------------------------------------------


def test_a_student_comes_nearer_and_its_knobs_too(
    bidirectional: Path, causal_forms: dict[int, PerturbationVAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On held-out sounds: reconstruction, and distance from what the teacher decodes with another sound's timbre."""
    monkeypatch.setattr("training.timed_loop.time", EvenClock(0.1))
    checkpoint = load_checkpoint(bidirectional)
    calibration = calibration_sounds(checkpoint, None, seconds=0.5)
    fallback = make_fallback(checkpoint, calibration, Wanted(distil_minutes=0.15))
    assert fallback.name == "distilled"
    assert fallback.outcome is not None
    assert fallback.outcome.loss_after < 0.8 * fallback.outcome.loss_before
    tests = read_dataset(Path(checkpoint.info["data"])).select(split="test")
    folded, distilled = (
        measure_streaming(model, FEATURES, tests, 0.5).mse for model in (causal_forms[0], fallback.model)
    )
    assert distilled < folded
    lessons = system_of(checkpoint.model).lessons(
        checkpoint.model, causal_forms[0], FEATURES, calibration.fit, calibration.held_out
    )
    spectra = calibration_batches(checkpoint, calibration.held_out)[0].whole
    z = checkpoint.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    with torch.no_grad():
        missed = []
        for student in (causal_forms[0], fallback.model):
            lessons.student = student  # type: ignore[misc]
            missed.append(float(lessons.swap_error(z, spectra.sounding.float())))  # type: ignore[attr-defined]
    assert missed[1] < missed[0]


def _heeds_ctrl_c() -> None:
    """As under a terminal; tests that run in the background pass on that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_export_writes_nothing_and_resumes(bidirectional: Path, tmp_path: Path, stop: signal.Signals) -> None:
    """Interrupted or killed while the student learns: no bundle and nothing half-written; the same command goes on and
    cleans up.
    """
    target = tmp_path / "both.bundle"
    command = [
        sys.executable,
        "-m",
        "export.onnx",
        str(bidirectional),
        "--output",
        str(target),
        "--streaming-only",
        "--distil-minutes",
        "0.1",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_heeds_ctrl_c)
    state = tmp_path / "both.bundle.student.pt"
    deadline = time.monotonic() + 100
    while not state.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert state.is_file(), "the course keeps its state as it goes"
    running.send_signal(stop)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == (130 if stop == signal.SIGINT else -9)
    assert not target.exists()
    if stop == signal.SIGINT:
        assert "stopped, nothing was written" in errors
        assert "Traceback" not in errors
        assert [path.name for path in tmp_path.iterdir()] == [state.name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "going on with the student" in done.stderr
    report = json.loads((target / "report.json").read_text())
    assert report["fallback"].startswith("distilled, 0.1 min")
    assert list(report["fidelity"]) == ["original", "dropped", "folded", "distilled"]
    assert {"instrument from timbre", "pitch from pitch", "MSE", "log-spectral distance, dB"} <= set(
        report["fidelity"]["distilled"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["both.bundle"]


# Refusals
# ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lookahead", "65"], "--lookahead 65 must lie in 0 … 64 frames"),
        (["--lookahead", "-1"], "--lookahead -1 must lie in"),
        (["--window-frames", "1"], "--window-frames 1 must lie in 2 … 1000 frames"),
        (["--window-frames", "4", "--lookahead", "3"], "--window-frames 4 must lie in 5"),
        (["--window-frames", "9", "--distil-minutes", "1"], "nothing to distil"),
        (["--distil-minutes", "1e9"], "--distil-minutes 1e+09 must lie in"),
        (["--precision", "int3"], "int3"),
        (["--provider", "cuda"], "CUDA was asked for"),
    ],
)
def test_bad_options_are_one_sentence(
    bidirectional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main([str(bidirectional), "--output", str(tmp_path / "x.bundle"), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [0, 2, None])
def test_checkpoints_of_another_format_are_one_sentence(
    bidirectional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int | None
) -> None:
    """Older or newer: what was found, what can be read, what to do; nothing written."""
    content = torch.load(bidirectional, weights_only=True)
    content["neiro"]["format"] = number
    torch.save(content, tmp_path / "other.pt")
    assert main([str(tmp_path / "other.pt"), "--output", str(tmp_path / "x.bundle")]) == 2
    error = capsys.readouterr().err.strip()
    assert f"checkpoint format {number}" in error
    assert "use the version of Neiro that wrote it" in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]


def test_causal_models_need_no_fallback(
    bidirectional: Path, causal_forms: dict[int, PerturbationVAE], tmp_path: Path
) -> None:
    streams = dataclasses.replace(load_checkpoint(bidirectional), model=causal_forms[2])
    save_slim(streams, tmp_path / "causal.pt")
    checkpoint = load_checkpoint(tmp_path / "causal.pt")
    calibration = calibration_sounds(checkpoint, None, seconds=0.5)
    assert make_fallback(checkpoint, calibration, Wanted()).model.lookahead == 2
    with pytest.raises(ExportError, match="causal already"):
        make_fallback(checkpoint, calibration, Wanted(lookahead=1))


def test_the_provider_is_the_one_asked_for(bidirectional: Path, tmp_path: Path) -> None:
    export(bidirectional, tmp_path / "b.bundle", Options(streaming_only=True))
    session = open_session(tmp_path / "b.bundle/streaming/encoder.onnx", "cpu")
    assert session.get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(ExportError, match="CUDA was asked for"):
        open_session(tmp_path / "b.bundle/streaming/encoder.onnx", "cuda")
    assert len(run_streaming(tmp_path / "b.bundle", noise(5, 0, FEATURES.bins), RATE).hop_ms) == 5
