"""The snapshots' file: strict about its content, and nothing in it is ever lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.controls.snapshot_file import Snapshot, SnapshotError, UserTimbre, read_snapshots, write_snapshots
from tests.support.boards import Board


def test_what_another_bundle_knows_is_told_once_and_never_lost(new: Callable[[], Board], path: Path) -> None:
    foreign = Snapshot(
        number=1,
        name="far",
        knobs={"raw[99]": 1.5, "preset": "Theremin", "mix": 0.5},
        own=[UserTimbre(slot=1, name="x", values=[0.5] * 9)],
    )
    write_snapshots(path, [foreign, Snapshot(number=2, knobs={"warmth": 1.0, "preset_b": "own 1"})])
    board = new()
    board.turn(snapshot=1)
    board.turn(snapshot=1)
    assert [line for line in board.said if "left out" in line] == [
        "snapshot 1 (far): left out, because this model does not know it: raw[99], preset",
    ]
    assert (board.values()["mix"], board.values()["preset"]) == (0.5, 0)
    board.turn(gain_db=-6, snapshot_store=1)
    board.snapshots.close()
    kept = read_snapshots(path)
    assert kept[1].knobs == {"raw[99]": 1.5, "preset": "Theremin", "mix": 0.5, "gain_db": -6}
    assert kept[1].own == foreign.own
    assert kept[2].knobs == {"warmth": 1.0, "preset_b": "own 1"}


def test_a_file_that_an_editor_began_with_a_byte_order_mark_is_read_and_written(
    new: Callable[[], Board], path: Path
) -> None:
    write_snapshots(path, [Snapshot(number=9, knobs={"mix": 0.25})])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    board = new()
    board.turn(snapshot=9)
    assert board.values()["mix"] == 0.25
    board.turn(snapshot_store=1)
    board.snapshots.close()
    assert set(read_snapshots(path)) == {1, 9}


def test_a_file_changed_by_hand_while_playing_counts(new: Callable[[], Board], path: Path) -> None:
    board = new()
    write_snapshots(path, [Snapshot(number=9, knobs={"mix": 0.25})])
    board.turn(snapshot=9)
    assert board.values()["mix"] == 0.25
    path.write_text("[[snapshot]]\nnumber = 9\n[snapshot.knobs]\nmix = 7\n")
    before = path.read_text()
    board.turn(snapshot_store=1)
    assert board.said[-1] == f"{path}: snapshot 9: mix = 7 must be 0 … 1"
    board.snapshots.close()
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("snapshot = 1", "snapshot = 1: Input should be a valid list"),
        ("[[snapshot]", "is not TOML"),
        ("[[snap]]\nnumber = 1", "unknown key 'snap'; the keys are snapshot"),
        ("[[snapshot]]\nname = 'x'", "the 1. snapshot: number is missing"),
        ("[[snapshot]]\nnumber = 0", "snapshot 0: number = 0: Input should be greater than or equal to 1"),
        ("[[snapshot]]\nnumber = 1.5", "the 1. snapshot: number = 1.5: Input should be a valid integer"),
        (
            "[[snapshot]]\nnumber = 3\n[snapshot.knob]\nmix = 1",
            "snapshot 3: unknown key 'knob'; the keys are number, name, knobs, own",
        ),
        ("[[snapshot]]\nnumber = 3\n[snapshot.knobs]\nmix = true", "snapshot 3: knobs.mix = True: "),
        ("[[snapshot]]\nnumber = 3\n[snapshot.knobs]\nmix = nan", "snapshot 3: knobs.mix = nan: "),
        ("[[snapshot]]\nnumber = 3\n[snapshot.knobs]\nmix = 'x'", "snapshot 3: mix = 'x' must be a number"),
        ("[[snapshot]]\nnumber = 3\n[snapshot.knobs]\ngain_db = 13", "snapshot 3: gain_db = 13 must be -60 … 12"),
        (
            "[[snapshot]]\nnumber = 3\n[snapshot.knobs]\ntimbre_hold = 0.5",
            "snapshot 3: timbre_hold = 0.5 must be a whole number from 0 … 1",
        ),
        (
            "[[snapshot]]\nnumber = 3\n[snapshot.knobs]\ncapture = 1",
            "snapshot 3: capture is not a knob that a snapshot keeps",
        ),
        (
            "[[snapshot]]\nnumber = 3\n[[snapshot.own]]\nslot = 9\nname = ''\nvalues = [1]",
            "snapshot 3: own.0.slot = 9: ",
        ),
        (
            "[[snapshot]]\nnumber = 3\n" + 2 * "[[snapshot.own]]\nslot = 1\nname = ''\nvalues = [1]\n",
            "snapshot 3: own: slot 1 is there twice",
        ),
        (2 * "[[snapshot]]\nnumber = 3\n", "snapshot 3 is there twice"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_the_place(
    new: Callable[[], Board], path: Path, text: str, expected: str
) -> None:
    path.write_text(text)
    with pytest.raises(SnapshotError) as caught:
        new()
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_one_sentence(new: Callable[[], Board], path: Path) -> None:
    path.mkdir()
    with pytest.raises(SnapshotError, match=r"cannot read the snapshots .*Is a directory"):
        new()
    path.rmdir()
    board = new()
    board.turn(snapshot_store=1)
    path.mkdir()
    board.snapshots.poll()
    assert re.fullmatch(rf"cannot write the snapshots {path}: Is a directory", board.said[-1])
    path.rmdir()
    board.snapshots.close()  # there is room again
    assert list(read_snapshots(path)) == [1]
    assert list(path.parent.iterdir()) == [path]
