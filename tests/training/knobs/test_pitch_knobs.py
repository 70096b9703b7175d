"""Knobs for pitch and variation: what is heard, what is uncorrelated with what, and whether the decoder plays the notes
of the curve.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from realtime.bundle import embedded_bundle, load_bundle
from tests.support.mixture_models import model_of
from training import release
from training.checkpoint import Checkpoint, load_checkpoint, save_slim
from training.data.manifest import read_dataset
from training.evaluation.probes import batches
from training.features import FeatureConfig, FeatureExtractor
from training.knobs.decoded_pitch import decoded_notes, pitch_of
from training.knobs.directions import heard_most
from training.knobs.knobs import measure_knobs, variation_axes
from training.knobs.pitch import pitch_anchors, pitch_axes, playable
from training.knobs.pitch_curve import Notes, average_curve
from training.knobs.presets import timbres_at
from training.models.latents import Latents
from training.models.metric import MetricConfig, MetricVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

CHECKPOINT = Path(__file__).parents[3] / "training/checkpoints/live.pt"
FEATURES = FeatureConfig(window_samples=1024, hop_samples=512)
SMALL = PerturbationConfig(FEATURES.bins, 6, 10, 5, 16, None, 2, False)
PRESETS = [
    {"name": name, "anchors": [{"midi_note": 55.0, "timbre": [x]}, {"midi_note": 85.0, "timbre": [x]}]}
    for name, x in (("a", 0.0), ("b", 1.0))
]


class Organ(nn.Module):
    """A decoder of known pitch: ten harmonics of the MIDI note 60 + 10·z^p[0], falling more steeply where z^t is
    higher.
    """

    KIND: ClassVar[str] = "organ"
    latent_sizes: ClassVar[dict[str, int]] = {"timbre": 1, "pitch": 2}

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        return {"timbre": (1,), "pitch": (frames, 2)}

    def decode(self, latents: Latents) -> Tensor:
        hz = 440 * 2 ** ((latents.pitch[:, :1, :1, None] * 10 + 60 - 69) / 12)
        bins = torch.arange(FEATURES.bins, dtype=torch.float32)[:, None] * (
            FEATURES.sample_rate / FEATURES.window_samples
        )
        order = torch.arange(1, 11, dtype=torch.float32)
        peaks = torch.exp(-0.5 * ((bins - hz * order) / 40).square()) * torch.exp(
            -(0.1 + latents.timbre[:, None, None]) * order
        )
        return torch.log(peaks.sum(-1) + FEATURES.log_floor).expand(-1, latents.pitch.shape[1], -1)


def tone(note: float, seconds: float = 0.5, harmonics: int = 8) -> np.ndarray:
    time = np.arange(round(seconds * FEATURES.sample_rate)) / FEATURES.sample_rate
    hz = 440 * 2 ** ((note - 69) / 12)
    return np.asarray(sum(np.cos(2 * np.pi * k * hz * time + k) / k for k in range(1, harmonics + 1) if k * hz < 20000))


@pytest.mark.parametrize("note", [45.0, 57.3, 69.0, 81.49, 96.0, 105.7])
def test_pitch_of_a_tone_is_its_note(note: float) -> None:
    features = FeatureExtractor(dataclasses.replace(FEATURES, window_samples=2048))
    amplitude = features.amplitudes(torch.from_numpy(0.1 * tone(note))[None]).amplitude[0, 8].numpy()
    assert pitch_of(amplitude[None], features.config)[0] == pytest.approx(note, abs=0.15)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.abs(np.random.default_rng(0).standard_normal((20, 50, FEATURES.bins)))
    amplitude = noise.mean(1)  # over time, as decoded spectra are
    assert np.isnan(pitch_of(np.concatenate([amplitude, np.zeros((1, FEATURES.bins))]), FEATURES)).all()


def test_pitch_of_recorded_notes(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data).select(split="test")
    features = FeatureExtractor(dataclasses.replace(FEATURES, window_samples=2048))
    _, audio = next(iter(batches(sounds, 0.5)))
    steady = features.amplitudes(audio).amplitude[:, 10:].mean(1).numpy()
    cents = 100 * (pitch_of(steady, features.config) - sounds.pitch[: len(steady)])
    assert np.mean(np.abs(cents) < 50) > 0.85


def straight_notes(offset: float = 0.0, sounds: int = 6) -> Notes:
    """The organ's own z^p for the notes 58 … 82, off by so many semitones, each by several sounds that differ."""
    rng = np.random.default_rng(2)
    note = np.repeat(np.arange(58.0, 83.0), sounds)
    return Notes(
        np.stack(
            [(note + offset - 60) / 10 + 0.02 * rng.standard_normal(len(note)), rng.standard_normal(len(note))], 1
        ),
        note,
    )


def test_curve_has_the_notes_with_enough_sounds_and_goes_through_their_means() -> None:
    learnt = straight_notes(sounds=40)
    few = Notes(np.concatenate([learnt.pitch, [[9.0, 9.0]] * 2]), np.concatenate([learnt.midi_note, [90.0, 90.0]]))
    curve = average_curve(few)
    assert curve.notes.tolist() == np.unique(learnt.midi_note).tolist()
    np.testing.assert_allclose(curve.pitch[:, 0], (curve.notes - 60) / 10, atol=0.03)
    assert curve.spread[1, 1] == pytest.approx(1.0, rel=0.2)


def test_errors_say_by_how_much_the_decoder_misses() -> None:
    """The organ plays what it is asked; a curve that is a semitone flat is found to be."""
    organ, features = Organ(), FeatureExtractor(FEATURES)
    right = pitch_anchors(organ, features, straight_notes(), PRESETS, None)  # type: ignore[arg-type]
    flat = pitch_anchors(organ, features, straight_notes(-1.0), PRESETS, None)  # type: ignore[arg-type]
    assert max(anchor["error_cents"] for anchor in right) < 50
    assert np.median([anchor["error_cents"] for anchor in flat]) == pytest.approx(100, abs=15)
    assert playable(right) == {"notes": 25, "within_50_cents": 1.0, "lowest": 58.0, "highest": 82.0}
    assert playable(flat)["within_50_cents"] == 0.0


def test_tuning_brings_a_flat_curve_into_tune() -> None:
    tuned = pitch_anchors(Organ(), FeatureExtractor(FEATURES), straight_notes(-0.6), PRESETS, None, 60)  # type: ignore[arg-type]
    plain = pitch_anchors(Organ(), FeatureExtractor(FEATURES), straight_notes(-0.6), PRESETS, None)  # type: ignore[arg-type]
    before, after = (np.median([anchor["error_cents"] for anchor in anchors]) for anchors in (plain, tuned))
    assert after < 0.5 * before
    far = np.array([anchor["pitch"] for anchor in tuned]) - [anchor["pitch"] for anchor in plain]
    assert np.abs(far).max() < 0.3, "near the real sounds"


@pytest.fixture(scope="module")
def small() -> PerturbationVAE:
    torch.manual_seed(3)
    return PerturbationVAE(SMALL).eval()


@pytest.fixture(scope="module")
def probe() -> Latents:
    generator = torch.Generator().manual_seed(1)
    return Latents(
        *(torch.randn(3, *frames, size, generator=generator) for frames, size in (((), 6), ((12,), 10), ((12,), 5)))
    )


def test_variation_axes_are_those_heard_most_and_uncorrelated(small: PerturbationVAE, probe: Latents) -> None:
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((600, 10)) @ rng.standard_normal((10, 10))
    axes = variation_axes(small, probe, frames)
    assert [axis["name"] for axis in axes] == [f"variation[{k}]" for k in range(8)]
    effects = [axis["effect_db"] for axis in axes]
    assert effects == sorted(effects, reverse=True)
    directions = np.array([axis["direction"] for axis in axes])
    # in whitened coordinates: unit length, right angles
    gram = directions @ np.linalg.inv(np.cov(frames.T)) @ directions.T
    np.testing.assert_allclose(gram, np.eye(8), atol=0.03)
    rest = heard_most(small, probe, "variation", frames)
    assert min(effects) >= rest[-1].effect_db - 1e-3


def test_first_pitch_axis_predicts_the_note_and_the_second_leaves_it(small: PerturbationVAE, probe: Latents) -> None:
    rng = np.random.default_rng(4)
    note = rng.uniform(40, 90, 300)
    z = rng.standard_normal((300, 5))
    z[:, 2] = 0.5 * z[:, 0] + note / 20
    learnt, check = Notes(z[:200], note[:200]), Notes(z[200:], note[200:])
    (_, first, about), (_, second, _) = pitch_axes(small, probe, learnt, check)
    assert about["descriptor"] == "midi_note"
    assert about["correlation"] > 0.95
    predict = np.linalg.lstsq(np.c_[learnt.pitch, np.ones(200)], learnt.midi_note, rcond=None)[0][:-1]
    assert first.direction @ predict == pytest.approx(note.std(), rel=0.1)
    assert abs(second.direction @ predict) < 0.02 * note.std()


@pytest.mark.parametrize("system", ["metric", "mixture"])
def test_systems_without_variation(system: str, tiny_data: Path) -> None:
    """S2 has pitch per frame, S3 per sound; neither has variation."""
    features = FeatureConfig(window_samples=256, hop_samples=256, log_floor=1e-3, cutoff_quefrency=20)
    torch.manual_seed(1)
    config = MetricConfig(bins=129, latent_dim=5, hidden=8, shared=8, decoder_hidden=8, log_floor=features.log_floor)
    model = MetricVAE(config).eval() if system == "metric" else model_of()
    data = read_dataset(tiny_data)
    knobs = measure_knobs(
        model, FeatureExtractor(features), data.select(split="train"), data.select(split="validation"), 0.3
    )
    assert knobs["variation_axes"] == []
    assert [axis["name"] for axis in knobs["pitch_axes"]] == ["pitch[0]", "pitch[1]"]
    assert [anchor["midi_note"] for anchor in knobs["pitch_anchors"]] == list(range(60, 79, 2))
    assert all(len(anchor["pitch"]) == 5 for anchor in knobs["pitch_anchors"])


def test_what_is_missing_is_added_and_the_rest_stays(
    small: PerturbationVAE, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "old.pt", tmp_path / "new.pt"
    old = {"axes": [{"name": "timbre[0]", "label": "mine", "direction": [1.0] * 6, "effect_db": 2.5}], "presets": []}
    save_slim(Checkpoint(FEATURES, small, {"command": "as said"}, old), source)
    words = [
        str(source),
        "--data",
        str(tiny_data),
        "--out",
        str(out),
        "--train-sounds",
        "120",
        "--seconds",
        "0.3",
        "--add-missing",
    ]
    assert release.main([*words, "--tuning-steps", "2"]) == 2
    assert "no card old.json" in capsys.readouterr().err
    assert not out.exists()
    source.with_suffix(".json").write_text(json.dumps({"held_out": {"mse": 0.25}, "seed": 7}))
    assert release.main([*words, "--tuning-steps", "2"]) == 0
    card, knobs = json.loads(out.with_suffix(".json").read_text()), load_checkpoint(out).knobs
    assert knobs is not None
    assert {key: knobs[key] for key in old} == old
    assert len(knobs["variation_axes"]) == 8
    assert len(knobs["pitch_anchors"]) == 10
    assert (card["held_out"], card["seed"]) == ({"mse": 0.25}, 7)
    assert card["playable"] == playable(knobs["pitch_anchors"])
    assert load_checkpoint(out).info == {"command": "as said"}


def test_shipped_model_plays_what_its_card_says() -> None:
    """Decoded again, the notes that the card calls playable are in tune, and a fifth along the curve is a fifth."""
    checkpoint, manifest = load_checkpoint(CHECKPOINT), load_bundle(embedded_bundle()).manifest
    card = json.loads(CHECKPOINT.with_suffix(".json").read_text())["playable"]
    assert checkpoint.knobs is not None
    assert playable(checkpoint.knobs["pitch_anchors"]) == card
    assert [list(anchor.pitch) for anchor in manifest.pitch_anchors] == [
        anchor["pitch"] for anchor in checkpoint.knobs["pitch_anchors"]
    ]
    assert card["highest"] - card["lowest"] >= 10
    curve = {anchor.midi_note: anchor.pitch for anchor in manifest.pitch_anchors}
    notes = np.arange(card["lowest"], card["highest"] + 1)
    # as the runtime plays presets: those of the note
    timbres = [timbres_at(checkpoint.knobs["presets"], note)[2::9] for note in notes]
    rows = np.repeat(notes, [len(some) for some in timbres])
    latents = {
        "timbre": np.concatenate(timbres),
        "variation": np.zeros((len(rows), manifest.latents["variation"])),
        "pitch": np.array([curve[n] for n in rows]),
    }
    heard = decoded_notes(checkpoint.model, FeatureExtractor(checkpoint.features), latents)
    middle = np.array([np.nanmedian(heard[rows == note]) for note in notes])
    assert np.mean(np.abs(middle - notes) < 0.5) > 0.9
    np.testing.assert_allclose(np.median(middle[7:] - middle[:-7]), 7, atol=0.1)
