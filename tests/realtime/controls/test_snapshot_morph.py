"""Morphing between two snapshots: exact at both ends, without a jump between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from realtime.bundle import Bundle
from realtime.hop.edits import Edits
from tests.support.boards import HEARD, Board


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
