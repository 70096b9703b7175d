"""What evaluation computes, checked where the answer is known: intervals, k-NN, the papers' figures, their claims, the
pitch of frames.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from training.checkpoint import Checkpoint, load_checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import SoundSet, read_dataset
from training.evaluation.bootstrap import interval
from training.evaluation.figures import (
    FAILS,
    HOLDS,
    OVERLAP,
    UNMEASURED,
    ZERO_INSIDE,
    Figure,
    compare,
    mean_of,
    nothing,
)
from training.evaluation.frames import frame_pitch, gather
from training.evaluation.measurement import knn
from training.evaluation.perturbation.claims import Entry, check, unchecked
from training.evaluation.perturbation.paper_tables import (
    CLAIMS,
    PAPER,
    TABLE_II,
    TABLE_III,
    WITHOUT_TIMBRE,
    WITHOUT_VARIATION,
    Row,
)
from training.evaluation.perturbation.swaps import choose_pair, swapped
from training.evaluation.probes import LatentTable, encode_all, knn_correct
from training.evaluation.report import Footnotes, command_line, short_names, table
from training.features import FeatureConfig, FeatureExtractor
from training.models.perturbation import PerturbationVAE


def accuracy(share: float, units: int = 400, prefix: str = "sound") -> Figure:
    """A figure of that value; the units it counts are the first ones."""
    correct = np.arange(units) < share * units
    return mean_of(correct, np.ones(units, bool), np.array([f"{prefix}-{i}" for i in range(units)]))


# Intervals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "coin"])
def test_interval_covers_the_truth_as_often_as_it_says(kind: str) -> None:
    """400 samples of 80 draws each: 95 % of the intervals hold the true mean (standard error of that share: 1.1 %)."""
    rng, covered = np.random.default_rng(5), 0
    for trial in range(400):
        values = rng.normal(3.0, 2.0, 80) if kind == "normal" else (rng.random(80) < 0.7).astype(float)
        low, high = interval(values, seed=trial, rounds=500)
        covered += low <= (3.0 if kind == "normal" else 0.7) <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_interval_narrows_with_the_root_of_the_sounds_and_follows_the_seed() -> None:
    values = np.random.default_rng(0).standard_normal(6400)
    widths = [np.ptp(interval(values[:count], seed=1)) for count in (400, 6400)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
    assert interval(values, lambda rows: float(values[rows].mean()), seed=1) == pytest.approx(interval(values, seed=1))
    assert np.isnan(interval(np.zeros(0), seed=0)).all()


def test_figure_weighs_by_its_wholes_and_leaves_out_what_does_not_count() -> None:
    figure = Figure(np.array([2.0, 30.0, 0.0]), np.array([1.0, 10.0, 0.0]), np.array(["a", "b", "silent"]))
    assert figure.value == pytest.approx(32 / 11)
    assert nothing().cell(0) == "—"
    assert nothing().plain(0) == {"value": None, "low": None, "high": None}
    low, high = accuracy(0.5).interval(0)
    assert accuracy(0.5).cell(0) == f"0.500 ±{(high - low) / 2:.3f}"


def test_comparison_sound_by_sound_sees_what_intervals_cannot() -> None:
    """0.500 and 0.520 of the same sounds differ in eight that only one gets right; of other sounds, that could be
    chance.
    """
    low, high = accuracy(0.50), accuracy(0.52)
    assert compare(low, high, 0) == HOLDS
    assert compare(high, low, 0) == FAILS
    assert compare(low, accuracy(0.52, prefix="other"), 0) == OVERLAP
    assert compare(low, accuracy(0.80, prefix="other"), 0) == HOLDS
    assert compare(accuracy(0.80), accuracy(0.5, prefix="other"), 0) == FAILS
    assert compare(low, low, 0) == ZERO_INSIDE
    assert compare(low, nothing(), 0) == compare(nothing(), low, 0) == UNMEASURED


# The paper's figures and claims ---------------------------------------------------------------------------------------


def test_paper_figures_are_typed_as_printed() -> None:
    assert list(PAPER[Row()].values()) == [0.553, 0.974, 0.340, 0.395, 0.107, 0.024, 0.751]
    assert list(PAPER[Row(encoder="conditional")].values()) == [0.553, 0.981, 0.334, 0.476, 0.096, 0.024, 0.770]
    assert PAPER[Row(WITHOUT_TIMBRE)] == {
        "mse": 0.557,
        "instrument from variation": 0.659,
        "instrument from pitch": 0.445,
        "pitch from variation": 0.066,
        "pitch from pitch": 0.813,
    }
    assert PAPER[Row(WITHOUT_VARIATION)]["pitch from timbre"] == 0.051
    assert PAPER[Row(encoder="conditional", percussion=True)]["instrument from pitch"] == 0.514
    assert (len(TABLE_II), len(TABLE_III), len(PAPER)) == (6, 4, 8)


def test_every_claim_is_what_the_paper_measured() -> None:
    assert len({(claim.text, claim.lower, claim.higher) for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        (lower, row), (higher, other) = claim.lower, claim.higher
        assert PAPER[row][lower] < PAPER[other][higher], claim.text


def entry(name: str, row: Row, setting: str = "small", **changes: float) -> Entry:
    """The paper's own row as if measured on 2,000 sounds, with changes."""
    figures = {
        figure: accuracy(changes.get(figure.replace(" ", "_"), value), 2000) for figure, value in PAPER[row].items()
    }
    return Entry(name, row, setting, figures)


def test_claims_hold_on_rows_like_the_papers_and_fail_where_they_are_turned_round() -> None:
    rows = [entry(str(number), row) for number, row in enumerate(PAPER)]
    assert {verdict.verdict for verdict in check(rows, 0)} <= {HOLDS, ZERO_INSIDE}
    assert len(check(rows, 0)) == len(CLAIMS)
    assert not unchecked(rows)
    turned = [entry("three", Row(), instrument_from_timbre=0.2), entry("two", Row(WITHOUT_VARIATION))]
    found = {verdict.claim.text: verdict for verdict in check(turned, 0)}
    failed = found["the timbre of three factors tells the instrument better than that of timbre + pitch"]
    assert (failed.verdict, failed.lower, failed.higher) == (FAILS, "two", "three")
    assert failed.ours == pytest.approx((0.958, 0.2))
    assert failed.paper == (0.958, 0.974)
    assert found["the pitch latent tells the pitch, the timbre less"].verdict == HOLDS


def test_only_rows_of_one_setting_are_compared_and_the_rest_is_counted() -> None:
    apart = [entry("three", Row(), "wide"), entry("two", Row(WITHOUT_VARIATION), "narrow")]
    assert {verdict.lower for verdict in check(apart, 0)} == {"three"}  # what is claimed of one row alone
    twice = [entry("seed 1", Row()), entry("seed 2", Row()), entry("two", Row(WITHOUT_VARIATION))]
    assert {(verdict.lower, verdict.higher) for verdict in check(twice, 0) if verdict.lower != verdict.higher} == {
        *(("seed 1", "two"), ("two", "seed 1"), ("seed 2", "two"), ("two", "seed 2"))
    }
    assert len(unchecked(twice)) + len({verdict.claim for verdict in check(twice, 0)}) == len(CLAIMS)


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
