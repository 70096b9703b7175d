"""Snapshots: restored to the bit, strict about their file, never losing what is in it, morphing without a jump."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import load_map
from realtime.controls.snapshot_file import Own, Snapshot, SnapshotError, read_snapshots, write_snapshots
from realtime.controls.snapshots import Snapshots
from realtime.controls.timbres import Timbres
from realtime.hop.edits import Edits
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import SLOTS, KnobError
from tests.support.bundles import TIMBRE, make_bundle

HEARD = np.array([0.1, -0.2, 1 / 3, 1e-17])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("snapshots") / "small.bundle"))


class Board:
    """A desk with its timbres and snapshots, as a performance has it; `said` is what the user was told."""

    def __init__(self, bundle: Bundle, path: Path, *, keep: bool = True) -> None:
        self.said: list[str] = []
        self.heard: np.ndarray | None = HEARD
        self.desk = Desk(KnobBank(bundle.manifest))
        self.timbres = Timbres(self.desk, bundle.manifest, lambda: self.heard, self.said.append)
        self.snapshots = Snapshots(self.desk, self.timbres, path, self.said.append, keep=keep)

    def turn(self, **values: float) -> None:
        for name, value in values.items():
            self.desk.set(name, value)

    def holds(self, slot: int, timbre: np.ndarray) -> bool:
        held = self.timbres.timbre(slot)
        return held is not None and np.array_equal(held, timbre)

    def values(self) -> dict[str, float]:
        return {
            target.name: float(value)
            for target, value in zip(self.desk.bank.targets, self.desk.bank.values, strict=True)
        }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stage.toml"


@pytest.fixture
def new(bundle: Bundle, path: Path) -> Callable[[], Board]:
    return lambda: Board(bundle, path)


def turn_everything(board: Board, seed: int) -> None:
    """Every knob somewhere, all of them awkward numbers, with a captured timbre in one corner."""
    random = np.random.default_rng(seed)
    for target in board.desk.bank.targets:
        if not target.name.startswith(("preset", "note")):
            value = random.uniform(target.low, target.high)
            board.desk.set(target.name, round(value) if target.whole else value)
    board.timbres.capture(3)
    board.turn(
        preset=1,
        preset_b=board.desk.value(board.desk.index["preset"]),
        preset_c=2,
        preset_amount=random.uniform(0.1, 1),
    )


# Keeping and restoring
# ----------------------------------------------------------------------------------------------------


def test_everything_is_back_to_the_bit_after_a_restart(new: Callable[[], Board], path: Path) -> None:
    board = new()
    turn_everything(board, 1)
    board.turn(snapshot_a=1, snapshot_b=7, snapshot_store=5)
    kept = board.values()
    board.snapshots.poll()
    other = new()
    other.turn(mix=0.25, snapshot=5)
    assert other.values() == kept
    assert other.holds(3, HEARD)
    assert [other.desk.value(other.desk.index[name]) for name in ("snapshot_a", "snapshot_b")] == [1, 7]
    other.snapshots.store(6)
    other.snapshots.poll()
    first, second = (read_snapshots(path)[number] for number in (5, 6))
    assert (first.knobs, first.own) == (second.knobs, second.own)


def test_recall_sets_what_was_at_rest_to_rest_but_leaves_fixed_knobs_and_held_keys_alone(
    new: Callable[[], Board],
) -> None:
    board = new()
    board.turn(snapshot_store=1)
    turn_everything(board, 2)
    board.turn(note=64, note_velocity=0.5)
    board.desk.fixed.add("gain_db")
    loud = board.values()["gain_db"]
    board.turn(snapshot=1)
    assert board.values() == {target.name: target.default for target in board.desk.bank.targets} | {
        "note": 64.0,
        "note_velocity": 0.5,
        "gain_db": loud,
    }


def test_presets_are_kept_by_name_and_found_by_name(new: Callable[[], Board], path: Path) -> None:
    board = new()
    board.turn(preset=2, preset_b=1)
    board.snapshots.store(1, "two")
    board.snapshots.close()
    assert read_snapshots(path)[1].knobs == {"preset": "gong", "preset_b": "alto"}
    assert board.snapshots.number("TWO") == board.snapshots.number("1") == 1


def test_a_program_change_recalls_and_a_controller_stores(new: Callable[[], Board], path: Path, tmp_path: Path) -> None:
    map_path = tmp_path / "map.toml"
    map_path.write_text(
        '[[knob]]\nprogram_change = true\ntarget = "snapshot"\n[[knob]]\ncc = 30\ntarget = "snapshot_store"\n'
    )
    board = new()
    knobs = load_map(map_path, board.desk)
    board.turn(mix=0.5)
    assert knobs.apply([0xB0, 30, 4], board.desk)
    board.turn(mix=1.0)
    assert knobs.apply([0xC0, 4], board.desk)
    assert board.values()["mix"] == 0.5
    assert knobs.apply([0xC0, 99], board.desk)
    assert board.said[-1] == f"there is no snapshot 99 in {path}"
    assert board.values()["mix"] == 0.5


def test_a_name_stays_when_a_controller_stores_over_it(new: Callable[[], Board]) -> None:
    board = new()
    board.snapshots.store(2, 'a "name" with \\ and ♪ \x7f')
    board.turn(mix=0.5, snapshot_store=2)
    board.snapshots.close()
    assert new().snapshots.all()[0].name == 'a "name" with \\ and ♪ \x7f'


def test_without_keeping_nothing_is_written(bundle: Bundle, path: Path) -> None:
    board = Board(bundle, path, keep=False)
    board.turn(mix=0.5, snapshot_store=1, snapshot=1)
    board.snapshots.poll()
    board.snapshots.close()
    assert not path.exists()


# Timbres of one's own
# -----------------------------------------------------------------------------------------------------


def test_capture_keeps_what_is_heard_and_plays_with_it(new: Callable[[], Board]) -> None:
    board = new()
    board.turn(preset_amount=0.0, capture=2)
    assert board.holds(2, HEARD)
    assert (board.values()["preset"], board.values()["preset_amount"]) == (4, 1)
    assert re.match(r"captured the timbre heard now as own 2 \(preset 4\)", board.said[-1])
    board.heard = None
    board.turn(capture=1)
    assert board.said[-1] == "nothing was heard yet; play a note, then capture its timbre"
    with pytest.raises(KnobError, match=r"slots 1 … 8"):
        board.timbres.capture(SLOTS + 1)


def test_a_recall_never_costs_a_timbre_that_lies_nowhere_else(new: Callable[[], Board]) -> None:
    board = new()
    board.turn(capture=1, snapshot_store=1)
    board.heard = 2 * HEARD
    board.turn(capture=1)
    board.turn(snapshot=1)
    assert board.holds(1, 2 * HEARD)
    chosen = board.timbres.slot_of(round(board.values()["preset"]))
    assert chosen is not None
    assert board.holds(chosen, HEARD)
    for slot in range(1, SLOTS + 1):
        board.heard = slot * np.ones(TIMBRE)
        board.turn(capture=slot)
    board.turn(snapshot=1)
    assert any("gave way to captured 1 of the snapshot: all 8 slots were taken" in line for line in board.said)
    assert board.holds(1, HEARD)


# The file
# -----------------------------------------------------------------------------------------------------------------


def test_what_another_bundle_knows_is_told_once_and_never_lost(new: Callable[[], Board], path: Path) -> None:
    foreign = Snapshot(
        number=1,
        name="far",
        knobs={"raw[99]": 1.5, "preset": "Theremin", "mix": 0.5},
        own=[Own(slot=1, name="x", values=[0.5] * 9)],
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


# Morph
# --------------------------------------------------------------------------------------------------------------------


def morphing(
    new: Callable[[], Board], first: dict[str, float], second: dict[str, float]
) -> tuple[Board, list[dict[str, float]]]:
    board, ends = new(), []
    for number, values in enumerate((first, second), 1):
        board.turn(**{target.name: target.default for target in board.desk.bank.targets} | values)
        board.turn(snapshot_store=number)
        ends.append(board.values())
    board.turn(snapshot_a=1, snapshot_b=2)
    return board, ends


def test_the_ends_of_a_morph_are_the_snapshots_themselves(new: Callable[[], Board]) -> None:
    first = {"timbre[0]": 1.1, "preset": 1, "preset_amount": 0.7, "timbre_hold": 0, "resynth": 0.0}
    second = {
        "timbre[0]": -0.3,
        "preset": 2,
        "preset_b": 1,
        "x": 0.3,
        "timbre_hold": 1,
        "resynth": 1.0,
        "gain_db": -11.1,
    }
    board, ends = morphing(new, first, second)
    for place in (0.3, 0.0, 0.99, 1.0, 0.5, 0.0, 1.0):
        board.turn(snapshot_morph=place)
        if place in (0.0, 1.0):
            assert board.values() == ends[int(place)]
    board.turn(snapshot_morph=0.25)
    found = board.values()
    assert found["gain_db"] == pytest.approx(0.25 * -11.1)
    assert found["timbre[0]"] == pytest.approx(0.75 * 1.1 + 0.25 * -0.3)
    assert (found["timbre_hold"], found["resynth"]) == (0, 0.25)
    board.turn(snapshot_morph=0.5)
    assert board.values()["timbre_hold"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"preset": 1}, {"preset": 2}),
        ({}, {"preset": 2, "preset_amount": 0.5}),
        ({"preset": 1, "preset_b": 2, "x": 0.4}, {"preset": 2, "timbre[1]": 2.0}),
        ({"preset": 2}, {"preset": 1, "preset_b": 2, "x": 0.6, "preset_amount": 0.6}),
        (
            {"preset": 1, "preset_b": 2, "preset_d": 2, "x": 0.2, "y": 0.1},
            {"preset": 1, "preset_b": 2, "preset_d": 2, "x": 0.9, "y": 0.8},
        ),
    ],
)
def test_a_morph_moves_the_timbre_without_a_jump(
    bundle: Bundle, new: Callable[[], Board], first: dict, second: dict
) -> None:
    """Through the session's own edits, at every step of a slowly turned 7-bit controller and back."""
    board, _ = morphing(new, first, second)
    edits = Edits(bundle.manifest)
    heard = {name: np.full((1, size), 0.3, np.float32) for name, size in bundle.manifest.latents.items()}
    out = {name: np.zeros((2, size)) for name, size in bundle.manifest.latents.items()}

    def hops(count: int) -> list[np.ndarray]:
        found = []
        for _ in range(count):
            edits.follow(board.desk.bank.values, board.desk.bank.smoothing, heard)
            edits.apply(heard, board.desk.bank.slots, 60.0, out)
            found.append(out["timbre"][1].copy())
        return found

    board.turn(snapshot_morph=0.0)
    start = hops(300)[-1]
    track = [start]
    for place in range(1, 128):
        board.turn(snapshot_morph=place / 127)
        track += hops(20)  # 29 ms
    end = hops(300)[-1]
    for place in reversed(range(127)):
        board.turn(snapshot_morph=place / 127)
        track += hops(20)
    travelled = float(np.linalg.norm(end - start))
    assert travelled > 0.2
    assert np.linalg.norm(np.diff(track, axis=0), axis=1).max() < 0.02 * travelled
    for number, reached in ((1, start), (2, end)):
        board.turn(snapshot=number)
        assert np.abs(hops(400)[-1] - reached).max() < 1e-3


def test_two_snapshots_with_different_timbres_in_one_slot_both_sound(new: Callable[[], Board]) -> None:
    board = new()
    board.turn(capture=1, snapshot_store=1)
    board.heard = -HEARD
    board.turn(capture=1, snapshot_store=2)
    board.turn(snapshot_a=1, snapshot_b=2, snapshot_morph=0.5)
    values = board.values()
    lower, upper = (board.timbres.slot_of(round(values[name])) or 0 for name in ("preset", "preset_c"))
    assert board.holds(lower, HEARD)
    assert board.holds(upper, -HEARD)
    assert values["y"] == pytest.approx(0.5 / 0.955)


def test_a_morph_to_nowhere_moves_nothing_and_is_told_once(new: Callable[[], Board]) -> None:
    board = new()
    board.turn(mix=0.5, snapshot_morph=0.5)
    board.turn(snapshot_morph=0.6)
    assert board.values()["mix"] == 0.5
    assert board.said == ["snapshot_morph moves nothing until snapshot_a and snapshot_b name two snapshots"]


def test_another_bundle_with_the_same_knobs_restores_them(bundle: Bundle, path: Path, tmp_path: Path) -> None:
    """Presets by name, though they have other numbers there."""
    board = Board(bundle, path)
    board.turn(preset=2, mix=0.5, snapshot_store=1)
    board.snapshots.close()
    other = make_bundle(tmp_path / "other.bundle")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["presets"].reverse()
    (other / "manifest.json").write_text(json.dumps(manifest))
    found = Board(load_bundle(other), path)
    found.turn(snapshot=1)
    assert (found.values()["preset"], found.values()["mix"]) == (1, 0.5)
