"""A model of one instrument (DDSP) becomes a bundle like any other: one latent, the same whatever plays, that knobs
move.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.calibration import calibration_sounds
from export.pipeline import Options, export
from realtime.bundle import load_bundle
from realtime.hop.model import open_model
from realtime.render import render
from tests.support.harmonic import cents_off, session_of, tone, weighted_db
from training.checkpoint import Checkpoint, describe
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE

CONFIG = HarmonicConfig(
    timbre_dim=5,
    hidden=12,
    decoder_hidden=16,
    fine_bands=12,
    envelope_coefficients=20,
    centred_loudness=True,
    factors=("timbre",),
    one_timbre=True,
)
FEATURES = FeatureConfig(44100, 2048, 512, 1e-2, 100, normalisation="running")


@pytest.fixture(scope="module")
def bundle(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, its knobs measured on real notes."""
    torch.manual_seed(3)
    model, path = HarmonicVAE(CONFIG), tmp_path_factory.mktemp("one") / "ckpt.pt"
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "neiro": describe(FEATURES, model, {"data": str(tiny_data)})}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.pipeline.VERIFY_SECONDS", 2.0)
        export(path, path.with_suffix(".bundle"), Options())
    return path.with_suffix(".bundle")


def test_it_has_every_port_of_its_kind_and_knobs_that_are_heard(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    assert manifest.kind == "harmonic"
    assert manifest.latents == {"timbre": 5}
    ports = [port.name for port in onnx.load(str(bundle / "streaming/encoder.onnx")).graph.input]
    assert {"envelope", "fine", "rate"} <= set(ports)
    effects = {axis.name: axis.effect_db for axis in manifest.axes}
    assert min(effects.values()) > 0.01
    assert {"brightness", "noisiness", "timbre[0]", "raw[4]"} <= set(effects)
    steps = np.array([axis.direction for axis in manifest.axes if axis.name.startswith("timbre")])
    assert np.abs(steps @ steps.T - np.eye(5)).max() < 0.01  # a standard deviation of the prior each


def test_a_folder_that_holds_out_two_notes_is_enough(tiny_data: Path) -> None:
    selection = {"instruments": ["Violin"], "pitches": [60, 67]}
    checkpoint = Checkpoint(FEATURES, HarmonicVAE(CONFIG), {"data": str(tiny_data), "selection": selection})  # type: ignore[arg-type]
    found = calibration_sounds(checkpoint, None)
    assert 1 <= len(found.held_out) < 4 <= len(found.fit)


def test_whoever_plays_has_its_timbre(bundle: Path) -> None:
    model = open_model(load_bundle(bundle), "cpu")
    found = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        for _ in range(5):
            envelope, fine = rng.standard_normal((2, 1025)).astype(np.float32)
            model.encode(envelope, fine, 0.01)
            found.append(model.latents["timbre"][0].copy())
    assert np.ptp(found, axis=0).max() == 0
    anchors = [anchor for preset in load_bundle(bundle).manifest.presets for anchor in preset.anchors]
    assert anchors
    assert all(np.abs(np.array(anchor.timbre) - found[0]).max() < 1e-4 for anchor in anchors)


def test_it_is_played_live_by_input_and_by_keys_and_a_knob_changes_the_sound(bundle: Path, phrase: np.ndarray) -> None:
    loaded, sound = load_bundle(bundle), phrase[:, None]
    assert np.array_equal(render(session_of(loaded), sound, 44100), sound)
    morphed = render(session_of(loaded, brightness=2.0), sound, 44100)
    assert np.isfinite(morphed).all()
    assert np.abs(morphed - sound).max() > 1e-3
    played = render(session_of(loaded, synth=1.0), tone(220.0), 44100)[22050:, 0]
    assert abs(cents_off(played, 220.0)) <= 3
    assert weighted_db(played) == pytest.approx(weighted_db(tone(220.0)[22050:]), abs=1.0)
    higher = render(session_of(loaded, synth=1.0, pitch_semitones=7.0), tone(220.0), 44100)[22050:, 0]
    assert abs(cents_off(higher, 220.0 * 2 ** (7 / 12))) <= 3
    keyed = render(session_of(loaded, synth=1.0, keys=1, preset=1, key_0=57), 0 * tone(220.0), 44100)[22050:, 0]
    assert abs(cents_off(keyed, 220.0)) <= 3
