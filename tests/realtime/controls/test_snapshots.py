"""Snapshots: everything is restored to the bit, and no captured timbre is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.controls.map.knob_map import load_map
from realtime.controls.snapshot_file import read_snapshots
from realtime.knobs.targets import SLOTS, KnobError
from tests.support.boards import HEARD, Board
from tests.support.bundles import TIMBRE, make_bundle


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
