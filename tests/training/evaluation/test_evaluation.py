"""What evaluation computes, checked where the answer is known: k-NN, the pitch of frames, swaps, the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from training.checkpoint import Checkpoint, load_checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import SoundSet, read_dataset
from training.evaluation.frames import frame_pitch, gather
from training.evaluation.measurement import knn
from training.evaluation.perturbation.swaps import choose_pair, swapped
from training.evaluation.probes import LatentTable, encode_all, knn_correct
from training.evaluation.report import Footnotes, command_line, short_names, table
from training.features import FeatureConfig, FeatureExtractor
from training.models.perturbation import PerturbationVAE

# k-NN -----------------------------------------------------------------------------------------------------------------


def test_knn_finds_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    apart = 10 * np.eye(4)[labels] + rng.standard_normal((120, 4))
    shuffled = rng.permutation(120)
    assert knn_correct(apart[::2], labels[::2], apart[1::2], labels[1::2]).all()
    assert knn_correct(apart[shuffled][::2], labels[::2], apart[shuffled][1::2], labels[1::2]).mean() < 0.5
    moved = apart[1::2].copy()
    moved[:3] = 10 * np.eye(4)[3]  # the first three sound like the last class
    assert np.flatnonzero(~knn_correct(apart[::2], labels[::2], moved, labels[1::2])).tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def sounds(tiny_data: Path) -> SoundSet:
    """Eight instruments × ten pitches × two velocities."""
    return read_dataset(tiny_data)


def tables(sounds: SoundSet) -> tuple[LatentTable, LatentTable]:
    """As if an encoder gave every sound a latent that says its instrument and nothing else; for training and test."""
    _, instrument = np.unique(sounds.instrument, return_inverse=True)
    latent = np.eye(8)[instrument] + 1e-3 * np.random.default_rng(0).standard_normal((len(sounds), 8))
    one = LatentTable({"timbre": latent}, np.ones(len(sounds)), np.full(len(sounds), 100.0))
    return one, one


def test_a_latent_that_says_the_instrument_says_the_instrument(sounds: SoundSet) -> None:
    halves = (sounds.take(np.arange(0, 160, 2)), sounds.take(np.arange(1, 160, 2)))
    measured = (tables(halves[0])[0], tables(halves[1])[0])
    assert knn("instrument", "timbre", halves, measured).figure.value == 1.0
    assert knn("pitch", "timbre", halves, measured).figure.value < 0.3


def test_unpitched_unlabelled_and_silent_sounds_do_not_count(sounds: SoundSet) -> None:
    pitch, instrument = sounds.pitch.copy(), sounds.instrument.copy().astype("<U40")
    pitch[:40], instrument[40:50] = np.nan, UNLABELLED
    some = dataclasses.replace(sounds, pitch=pitch, instrument=instrument)
    table = tables(sounds)[0]
    table.frames[150:] = 0
    found = {label: knn(label, "timbre", (some, some), (table, table)).figure for label in ("instrument", "pitch")}
    assert found["pitch"].whole.sum() == 160 - 40 - 10
    assert found["instrument"].whole.sum() == 160 - 10 - 10
    assert found["instrument"].value == 1.0


@pytest.mark.parametrize(
    ("instrument", "reason"),
    [
        (np.full(160, "Flute"), "one instrument only (Flute)"),
        (np.full(160, UNLABELLED), "no training sound has a known instrument"),
        (
            np.array([f"number {i}" if i < 4 else UNLABELLED for i in range(160)]),
            "4 training sounds have a known instrument, fewer",
        ),
    ],
)
def test_what_cannot_be_told_is_a_sentence_not_a_zero(sounds: SoundSet, instrument: np.ndarray, reason: str) -> None:
    changed = dataclasses.replace(sounds, instrument=instrument)
    found = knn("instrument", "timbre", (changed, changed), tables(sounds))
    assert np.isnan(found.figure.value)
    assert reason in found.missing
    assert found.missing.endswith(".")


def test_unseen_instruments_are_named_and_all_unseen_is_no_figure(sounds: SoundSet) -> None:
    flute = sounds.instrument == "Flute"
    everything, table = sounds, tables(sounds)[0]
    rest = LatentTable({"timbre": table.latents["timbre"][~flute]}, table.squared_error[~flute], table.frames[~flute])
    found = knn("instrument", "timbre", (sounds.take(~flute), everything), (rest, table))
    assert found.figure.value == pytest.approx(1 - flute.mean())
    assert found.remark == "20 of 160 test sounds have an instrument that no training sound has, and count as missed."
    only = LatentTable({"timbre": table.latents["timbre"][flute]}, table.squared_error[flute], table.frames[flute])
    assert (
        "no instrument of the test sounds occurs"
        in knn("instrument", "timbre", (sounds.take(~flute), sounds.take(flute)), (rest, only)).missing
    )


# Frames of notes and phrases ------------------------------------------------------------------------------------------


def test_pitch_of_a_frame_is_that_of_the_middle_of_its_window() -> None:
    """Two notes of a second each and a rest: at 44.1 kHz a block is 1.45 ms."""
    config = FeatureConfig(window_samples=2048, hop_samples=256)
    second = 44100 // 64
    track = np.concatenate([np.full(second, 60.0), np.full(second, 67.0), np.full(second, np.nan)]).astype(np.float32)
    pitch, moving = frame_pitch(track, 500, config)
    middle = (np.arange(1, 501) * 256 - 1024) / 44100  # seconds
    np.testing.assert_array_equal(np.isnan(pitch), (middle < 0) | (middle >= 2 * second * 64 / 44100))
    clear = np.isfinite(pitch) & (np.abs(middle - 1) > 0.005)
    np.testing.assert_array_equal(pitch[clear], np.where(middle[clear] < 1, 60, 67))
    edge = np.abs(np.abs(middle - 1) - 0.1) < 0.005
    np.testing.assert_array_equal(moving[~edge], (np.abs(middle - 1) < 0.1)[~edge])


@pytest.mark.parametrize(("depth", "moves"), [(0.2, False), (0.5, True)])
def test_vibrato_moves_when_it_is_wide(depth: float, moves: bool) -> None:
    config = FeatureConfig(window_samples=2048, hop_samples=256)
    track = 60 + depth * np.sin(2 * np.pi * 6 * np.arange(2000) * 64 / 44100)
    pitch, moving = frame_pitch(track, 400, config)
    assert moving[40:360].all() == moving[40:360].any() == moves
    assert np.abs(pitch[40:360] - 60).max() == pytest.approx(depth, rel=0.02)


def test_frames_of_notes_have_the_notes_pitch(smoke_checkpoint: Path, tiny_data: Path) -> None:
    checkpoint = load_checkpoint(smoke_checkpoint)
    notes = read_dataset(tiny_data).select(split="test")
    frames = gather(checkpoint.model, FeatureExtractor(checkpoint.features), notes, 0.5, 7, seed=0)
    assert set(frames.latents) == {"variation", "pitch"}
    assert len(frames.pitch) == len(frames.latents["pitch"]) == 7 * len(notes)
    np.testing.assert_array_equal(frames.pitch, notes.pitch[frames.sound])
    assert not frames.moving.any()
    again = gather(checkpoint.model, FeatureExtractor(checkpoint.features), notes, 0.5, 7, seed=0)
    np.testing.assert_array_equal(frames.latents["pitch"], again.latents["pitch"])


# Figure 3 -------------------------------------------------------------------------------------------------------------


def deaf_to_all_but_timbre(smoke_checkpoint: Path) -> Checkpoint:
    """Its decoder's first layer hears neither variation nor pitch."""
    checkpoint = load_checkpoint(smoke_checkpoint)
    assert isinstance(checkpoint.model, PerturbationVAE)
    with torch.no_grad():
        checkpoint.model.decoder_stack.body.get_parameter("weight_ih_l0")[:, checkpoint.model.config.timbre_dim :] = 0
    return checkpoint


def test_swapping_the_only_latent_that_is_heard_gives_the_other_sound(smoke_checkpoint: Path, sounds: SoundSet) -> None:
    checkpoint = deaf_to_all_but_timbre(smoke_checkpoint)
    features = FeatureExtractor(checkpoint.features)
    few = sounds.select(split="test")
    pair = choose_pair(few, encode_all(checkpoint.model, features, few, 0.5), seed=0)
    assert pair is not None
    two = few.take(pair)
    assert two.instrument[0] != two.instrument[1]
    assert abs(two.pitch[0] - two.pitch[1]) >= 5
    shown = swapped(checkpoint.model, features, two, 0.5)
    np.testing.assert_array_equal(shown["timbre of the other"], shown["reconstruction"][::-1])
    np.testing.assert_array_equal(shown["pitch of the other"], shown["reconstruction"])
    assert list(shown) == [
        "original",
        "reconstruction",
        "timbre of the other",
        "variation of the other",
        "pitch of the other",
    ]


def test_no_pair_where_all_sounds_are_one_instrument(sounds: SoundSet) -> None:
    flutes = sounds.select(instruments=["Flute"])
    assert choose_pair(flutes, tables(flutes)[0], 0) is None


# Report ---------------------------------------------------------------------------------------------------------------


def test_names_tell_checkpoints_apart_without_saying_where_they_are() -> None:
    deep = "lightning_logs/version_0/checkpoints/best.pt"
    assert short_names([Path("/somewhere/live.pt")]) == ["live"]
    assert short_names([Path(f"/x/runs/three/{deep}"), Path(f"/x/runs/two/{deep}")]) == ["three", "two"]
    assert short_names([Path("/x/a.pt"), Path("/x/b.pt")]) == ["a", "b"]
    assert short_names([Path("/x/1/a.pt"), Path("/y/1/b.pt"), Path("/x/2/a.pt")]) == ["1/a", "1/b", "2/a"]
    assert len(set(short_names([Path("a.pt"), Path("a.pt")]))) == 2
    assert (
        command_line("run", ["/x/a.pt", "--data=/y/z", "--out", "o/p", "--seed", "1"])
        == "run a.pt --data=z --out p --seed 1"
    )


def test_tables_and_footnotes() -> None:
    assert table(("a", "b|c"), [("1", "2")]) == "| a | b\\|c |\n| --- | --- |\n| 1 | 2 |\n"
    notes = Footnotes()
    assert [notes.mark(sentence) for sentence in ("One.", "Two.", "One.")] == [" (1)", " (2)", " (1)"]
    assert notes.text() == "(1) One.  \n(2) Two.  \n"
