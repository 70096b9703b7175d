"""The harmonic model becomes a bundle of its own kind, proven hop by hop; what it cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import harmonic
from export.errors import ExportError
from export.fallbacks import Wanted
from export.graph_file import Stepper
from export.pipeline import Options, export
from export.quantize.quantize import parse_precision
from realtime.bundle import BundleError, load_bundle
from realtime.hop.model import HarmonicModel, open_model
from realtime.kinds import VOICES
from training.checkpoint import describe
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE, Voice

CONFIG = HarmonicConfig(
    timbre_dim=6,
    variation_dim=3,
    pitch_dim=4,
    hidden=24,
    decoder_hidden=32,
    fine_bands=12,
    envelope_coefficients=20,
    centred_loudness=True,
)
FEATURES = FeatureConfig(44100, 2048, 512, 1e-2, 100, normalisation="running")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    model = HarmonicVAE(CONFIG)
    path = tmp_path_factory.mktemp("harmonic") / "ckpt.pt"
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "neiro": describe(FEATURES, model, {})}, path)
    return path


@pytest.fixture(scope="module", autouse=True)
def short() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.pipeline.VERIFY_SECONDS", 2.0)
        patch.setattr(harmonic, "MEASURED_SOUNDS", 2)
        yield


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    path = checkpoint.with_suffix(".bundle")
    report = export(checkpoint, path, Options())
    assert max(report["differences"].values()) < 2e-3
    return path


def test_the_bundle_says_what_it_is(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    assert manifest.kind == "harmonic"
    assert manifest.outputs == ("morph", "resynth", "synth")
    facts = manifest.harmonic
    assert facts is not None
    assert facts.voice == {"envelope": 64, "offsets": 32, "noise": 24, "inharmonicity": 1}
    assert facts.loudness_centred
    assert facts.centre_hops == round((1024 - 512) / 512)
    assert set(manifest.graphs) == {"streaming/encoder", "streaming/decoder", "streaming/voices"}
    assert json.loads((bundle / "report.json").read_text())["figures"]["algorithmic_latency_samples"] == 0


def test_int8_is_near_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    report = export(checkpoint, tmp_path / "a.bundle", Options(parse_precision("int8")))
    assert load_bundle(tmp_path / "a.bundle").manifest.precision == "int8"
    assert report["precision_cost"]["distance_db"] < 3


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (Options(fused=True), "--fused"),
        (Options(wanted=Wanted(lookahead=3)), "--lookahead"),
        (Options(wanted=Wanted(distil_minutes=1)), "--distil-minutes"),
        (Options(wanted=Wanted(window_frames=9)), "--window-frames"),
    ],
)
def test_what_it_cannot_be_is_refused(checkpoint: Path, tmp_path: Path, options: Options, word: str) -> None:
    with pytest.raises(ExportError, match=f"{word}.* leave it out"):
        export(checkpoint, tmp_path / "a.bundle", options)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_is_noticed(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = HarmonicVAE.drawn

    def wrong(self: HarmonicVAE, output: torch.Tensor) -> Voice:
        voice = whole(self, output)
        return voice._replace(offsets=voice.offsets + 0.01) if torch.onnx.is_in_onnx_export() else voice

    monkeypatch.setattr(HarmonicVAE, "drawn", wrong)
    with pytest.raises(ExportError, match=r"heard offsets: fp32 ONNX differs from torch by 1\.0e-02"):
        export(checkpoint, tmp_path / "a.bundle", Options())
    assert not list(tmp_path.iterdir())


def test_a_manifest_without_its_record_is_refused(bundle: Path, tmp_path: Path) -> None:
    content = json.loads((bundle / "manifest.json").read_text())
    for kind, drop in (("harmonic", True), ("latents", False)):
        other = dict(content, kind=kind)
        if drop:
            del other["harmonic"]
        (tmp_path / "manifest.json").write_text(json.dumps(other))
        with pytest.raises(BundleError, match="`harmonic`"):
            load_bundle(tmp_path)


def test_the_runtime_plays_every_graph_and_rows_do_not_mix(bundle: Path) -> None:
    model = open_model(load_bundle(bundle), "cpu")
    assert isinstance(model, HarmonicModel)
    rng = np.random.default_rng(0)
    model.encode(rng.standard_normal(1025), rng.standard_normal(1025), 0.01)
    for latent, value in model.latents.items():
        model.decoder_inputs[latent][:] = value
        model.key_inputs[latent][:] = value
    for inputs in (model.decoder_inputs, model.key_inputs):
        inputs["f0"][:], inputs["voicing"][:], inputs["loudness"][:] = 220, 1, 0
    model.decoder_inputs["centre_f0"][:] = 220
    model.decode()
    model.play_keys()
    for name, found in model.voice.items():
        assert np.isfinite(found).all()
        np.testing.assert_allclose(model.key_voice[name], np.repeat(found[:1], VOICES, 0), atol=1e-5)
    before = {name: value.copy() for name, value in model.key_voice.items()}
    model.begin_key(3)
    for _ in range(2):
        model.key_inputs["f0"][2] = 880
        model.play_keys()
    assert np.abs(model.key_voice["envelope"][2] - model.key_voice["envelope"][0]).max() > 1e-3
    np.testing.assert_array_equal(model.key_voice["envelope"][0], model.key_voice["envelope"][7])
    model.reset()
    assert not any(state.any() for state in model.states().values())
    assert before["envelope"].any()


def test_nothing_breaks_on_zeros_and_wild_pitches(bundle: Path) -> None:
    decoder = Stepper(bundle / "streaming/decoder.onnx")
    sizes = load_bundle(bundle).manifest.graphs["streaming/decoder"].inputs
    told = {port.name: np.zeros([2, int(port.shape[1])], np.float32) for port in sizes}
    for f0 in (0.0, 1e-3, 5.0, 30000.0, 1e9):
        told["f0"][:] = told["centre_f0"][:] = f0
        assert all(np.isfinite(value).all() for value in decoder(**told).values())
