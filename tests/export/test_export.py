"""The export command as a user runs it: bundles that play, proofs, refusals in one sentence, nothing half-written."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from export.calibration import SHIPPED, calibration_sounds
from export.onnx import main
from export.pipeline import Options, export
from export.quantize.quantize import parse_precision
from realtime.bundle import BundleError, Manifest, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session
from training.checkpoint import Checkpoint, load_checkpoint, save_slim
from training.data.manifest import read_dataset
from training.data.store import SoundStore
from training.knobs.knobs import raw_axes, timbre_axes
from training.models.perturbation import Latents, PerturbationVAE


@pytest.fixture(scope="module")
def bundle_folder(smoke_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "smoke.bundle"
    assert main([str(smoke_checkpoint), "--output", str(folder)]) == 0
    return folder


def bidirectional_checkpoint(smoke_checkpoint: Path, path: Path) -> Path:
    """A bidirectional model with the smoke recipe's frames, untrained: export does the same with any weights."""
    smoke = load_checkpoint(smoke_checkpoint)
    torch.manual_seed(0)
    model = PerturbationVAE(
        dataclasses.replace(smoke.model.config, bidirectional=True, layers=3, hidden=20, envelope_coefficients=0)
    )
    save_slim(Checkpoint(smoke.features, model, {}), path)
    return path


def test_bundle_holds_what_the_runtime_needs(bundle_folder: Path) -> None:
    manifest = load_bundle(bundle_folder).manifest
    names = [axis.name for axis in manifest.axes]
    assert names[:16] == [f"timbre[{i}]" for i in range(16)]
    effects = [axis.effect_db for axis in manifest.axes[:16]]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > 0
    assert {"raw[0]", "raw[15]", "brightness", "noisiness", "attack"} <= set(names)
    assert all(axis.correlation is not None for axis in manifest.axes if axis.descriptor)
    assert len(manifest.presets) == 8
    notes = [anchor.midi_note for anchor in manifest.presets[0].anchors]
    assert len(notes) >= 3
    assert notes == sorted(note for note in notes if note is not None)
    assert set(manifest.graphs) == {"streaming/encoder", "streaming/decoder", "offline/encoder", "offline/decoder"}


def test_report_says_what_was_measured(bundle_folder: Path) -> None:
    report = json.loads((bundle_folder / "report.json").read_text())
    assert report["verified_hops"] * 256 >= 10 * 44100
    assert max(report["differences"].values()) < 1e-3
    assert report["figures"]["mse_streaming"] < 3 * report["figures"]["mse_original"]
    assert "reconstruction MSE, original" in (bundle_folder / "report.md").read_text()


def test_bundle_plays_and_knobs_change_the_sound(bundle_folder: Path, tiny_data: Path) -> None:
    """Through the runtime's session: at rest bit for bit the input, with a knob turned something else."""
    bundle = load_bundle(bundle_folder)
    sound = SoundStore(read_dataset(tiny_data)).read(30)[:, None]
    knobs = KnobBank(bundle.manifest)
    session = Session(bundle, knobs, channels=1, sample_rate=44100)
    np.testing.assert_array_equal(render(session, sound, 44100), sound)
    knobs.set("timbre[0]", 3.0)
    session.reset()
    turned = render(session, sound, 44100)
    assert np.isfinite(turned).all()
    assert np.sqrt(np.mean(np.square(turned - sound))) > 0.01 * np.sqrt(np.mean(np.square(sound)))
    assert int(session.meters["failed_hops"]) == 0


def test_bidirectional_checkpoints_are_folded(smoke_checkpoint: Path, tmp_path: Path) -> None:
    source = bidirectional_checkpoint(smoke_checkpoint, tmp_path / "both.pt")
    report = export(source, tmp_path / "both.bundle", Options())
    assert report["fidelity"]["folded"]["MSE"] < report["fidelity"]["dropped"]["MSE"]
    assert "bidirectional" in report["model"]
    assert load_bundle(tmp_path / "both.bundle").manifest.latents["timbre"] == 16


def test_int8_is_small_and_near(smoke_checkpoint: Path, bundle_folder: Path, tmp_path: Path) -> None:
    report = export(smoke_checkpoint, tmp_path / "small.bundle", Options(parse_precision("int8"), streaming_only=True))
    small = load_bundle(tmp_path / "small.bundle")
    assert set(small.manifest.graphs) == {"streaming/encoder", "streaming/decoder"}
    assert (
        small.graph_path("streaming/encoder").stat().st_size
        < 0.5 * load_bundle(bundle_folder).graph_path("streaming/encoder").stat().st_size
    )
    assert max(report["differences"].values()) < 0.08


def test_export_twice_gives_the_same_graphs_and_manifest(
    smoke_checkpoint: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    export(smoke_checkpoint, tmp_path / "again.bundle", Options())
    first, second = load_bundle(bundle_folder).manifest, load_bundle(tmp_path / "again.bundle").manifest
    assert first == second


@pytest.mark.parametrize("file", ["streaming/encoder.onnx", "streaming/decoder.onnx", "offline/encoder.onnx"])
def test_one_changed_byte_is_refused(bundle_folder: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy.bundle"
    subprocess.run(["cp", "-r", str(bundle_folder), str(copy)], check=True)
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BundleError, match="has been changed since the export"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 2}, "bundle format 2"),
        ({"surprise": 1}, "surprise"),
        ({"latents": {"timbre": 5, "variation": 8, "pitch": 8}}, "dimensions"),
        ({"graphs": {}}, "graphs lack streaming/encoder"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    bundle_folder: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    copy = tmp_path / "copy.bundle"
    subprocess.run(["cp", "-r", str(bundle_folder), str(copy)], check=True)
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(content | change))
    with pytest.raises(BundleError, match=words):
        load_bundle(copy)


def test_a_graph_outside_the_bundle_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bundle"
    subprocess.run(["cp", "-r", str(bundle_folder), str(copy)], check=True)
    text = (copy / "manifest.json").read_text().replace("streaming/encoder.onnx", "../smoke.bundle/x.onnx")
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(copy)


def test_a_full_disk_leaves_the_old_bundle(smoke_checkpoint: Path, tmp_path: Path) -> None:
    """The disk fills while graphs are written: one sentence, exit code 2, the old bundle untouched, no other file."""
    target = tmp_path / "good.bundle"
    assert main([str(smoke_checkpoint), "--output", str(target), "--streaming-only"]) == 0
    before = load_bundle(target).manifest
    limited = [sys.executable, "-m", "export.onnx", str(smoke_checkpoint), "--output", str(target), "--streaming-only"]
    done = subprocess.run(limited, preexec_fn=_small_files, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert load_bundle(target).manifest == before
    assert [path.name for path in tmp_path.iterdir()] == ["good.bundle"]


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_targets_that_are_no_bundle_are_left_alone(
    smoke_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/diary.txt").write_text("mine")
    assert main([str(smoke_checkpoint), "--output", str(tmp_path / "notes")]) == 2
    assert "is not a bundle" in capsys.readouterr().err
    assert (tmp_path / "notes/diary.txt").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"not sound", None])
def test_bad_calibration_is_one_sentence(
    smoke_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    if content is not None:
        (folder / "a.wav").write_bytes(content)
    assert main([str(smoke_checkpoint), "--output", str(tmp_path / "x.bundle"), "--calibration", str(folder)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert str(folder) in error
    assert not (tmp_path / "x.bundle").exists()


def test_without_data_there_are_axes_but_no_presets(
    smoke_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint whose data set is not here: the shipped notes calibrate, and the user is told what is missing."""
    checkpoint = load_checkpoint(smoke_checkpoint)
    save_slim(dataclasses.replace(checkpoint, info={}), tmp_path / "alone.pt")
    assert main([str(tmp_path / "alone.pt"), "--output", str(tmp_path / "alone.bundle"), "--streaming-only"]) == 0
    assert "no data set at hand" in capsys.readouterr().err
    manifest = load_bundle(tmp_path / "alone.bundle").manifest
    assert [axis.name for axis in manifest.axes] == [f"{kind}[{i}]" for kind in ("timbre", "raw") for i in range(16)]
    assert manifest.presets == ()


def test_shipped_calibration_is_real_and_small(smoke_checkpoint: Path) -> None:
    assert SHIPPED.stat().st_size < 1_000_000
    checkpoint = dataclasses.replace(load_checkpoint(smoke_checkpoint), info={})
    calibration = calibration_sounds(checkpoint, None)
    fit, held_out = calibration.fit, calibration.held_out
    assert len(fit) + len(held_out) >= 60
    assert not any(torch.equal(a, b) for a in fit for b in held_out)
    assert float(fit.abs().amax(1).min()) > 0.01


def test_axes_are_ordered_uncorrelated_and_in_their_units(smoke_checkpoint: Path) -> None:
    """Strongest first; uncorrelated with unit variance over real sounds; the effect noted is what decoding shows."""
    model = load_checkpoint(smoke_checkpoint).model
    torch.manual_seed(0)
    c = model.config
    probe = Latents(torch.randn(3, c.timbre_dim), torch.randn(3, 10, c.variation_dim), torch.randn(3, 10, c.pitch_dim))
    timbre = np.random.default_rng(0).standard_normal((400, c.timbre_dim)) @ np.random.default_rng(1).standard_normal(
        (c.timbre_dim, c.timbre_dim)
    )
    axes = timbre_axes(model, probe, timbre)
    directions = np.array([axis["direction"] for axis in axes])
    np.testing.assert_allclose(
        directions.T @ directions, np.cov(timbre.T), rtol=0.02, atol=0.02 * np.trace(np.cov(timbre.T)) / c.timbre_dim
    )
    effects = [axis["effect_db"] for axis in axes]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > effects[-1]
    for axis in (axes[0], axes[7], raw_axes(model, probe)[3]):
        moved = probe.with_(timbre=probe.timbre + torch.tensor(axis["direction"]))
        with torch.no_grad():
            change = model.decode(moved) - model.decode(probe)
        assert axis["effect_db"] == pytest.approx(float(change.square().mean().sqrt()) * 8.6859, rel=0.01, abs=2e-3)


def test_manifest_schema_round_trips(bundle_folder: Path) -> None:
    manifest = load_bundle(bundle_folder).manifest
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
