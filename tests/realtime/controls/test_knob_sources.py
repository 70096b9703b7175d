"""Every kind of controller: what it moves, and how far."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.controls.midi.events import PortMessage
from realtime.knobs.targets import SMOOTHING_SECONDS
from tests.support.desks import custom, desk_of, play, value

PARAMETER = (2 << 7) + 5


def select(kind: str, number: int, channel: int = 0) -> list[list[int]]:
    upper, lower = (99, 98) if kind == "nrpn" else (101, 100)
    return [[0xB0 | channel, upper, number >> 7], [0xB0 | channel, lower, number & 127]]


@pytest.mark.parametrize("kind", ["nrpn", "rpn"])
def test_parameters_reach_both_ends_with_and_without_their_lower_half(tmp_path: Path, kind: str) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, f'[[knob]]\n{kind} = {PARAMETER}\ntarget = "timbre[0]"', desk)
    play(knobs, desk, *select(kind, PARAMETER))
    for coarse, expected in ((0, -3.0), (64, 0.0), (127, 3.0)):
        assert play(knobs, desk, [0xB0, 6, coarse])
        assert value(desk, "timbre[0]") == expected
    play(knobs, desk, [0xB0, 6, 127], [0xB0, 38, 127])
    assert value(desk, "timbre[0]") == 3.0
    play(knobs, desk, [0xB0, 6, 64], [0xB0, 38, 1])
    assert 0 < value(desk, "timbre[0]") < 3 / 8000


def test_parameters_of_other_numbers_kinds_channels_and_ports_are_left_alone(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, f'[[knob]]\nnrpn = {PARAMETER}\ntarget = "mix"', desk)
    assert not play(knobs, desk, [0xB0, 6, 5])  # nothing chosen yet
    assert not play(knobs, desk, *select("nrpn", PARAMETER + 1), [0xB0, 6, 5])
    assert not play(knobs, desk, *select("rpn", PARAMETER), [0xB0, 6, 5])
    assert not play(knobs, desk, *select("nrpn", PARAMETER), [0xB1, 6, 5])
    # Null function.
    assert not play(knobs, desk, *select("nrpn", PARAMETER), *select("rpn", 127 * 128 + 127), [0xB0, 6, 5])
    assert value(desk, "mix") == 1.0
    for message in select("nrpn", PARAMETER):
        knobs.apply(PortMessage(message, "one"), desk)
    for message in select("nrpn", 7):
        knobs.apply(PortMessage(message, "two"), desk)
    assert not knobs.apply(PortMessage([0xB0, 6, 0], "two"), desk)
    assert knobs.apply(PortMessage([0xB0, 6, 0], "one"), desk)
    assert value(desk, "mix") == 0.0


def test_increments_go_on_from_the_present_value_and_stop_at_the_ends(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, '[[knob]]\nnrpn = 1\ntarget = "mix"\n[[knob]]\nnrpn = 2\ntarget = "preset"', desk)
    desk.set("mix", 0.5)
    play(knobs, desk, *select("nrpn", 1), [0xB0, 96, 0])
    assert value(desk, "mix") == pytest.approx(0.5 + 1 / 127)
    play(knobs, desk, *[[0xB0, 97, 0]] * 200)
    assert value(desk, "mix") == 0.0
    desk.set("preset", 1)
    play(knobs, desk, *select("nrpn", 2), [0xB0, 96, 127])
    assert value(desk, "preset") == 2
    play(knobs, desk, *[[0xB0, 97, 0]] * 5)
    assert value(desk, "preset") == 0


def test_pressure_velocity_and_notes(tmp_path: Path) -> None:
    desk = desk_of()
    text = """
    [[knob]]
    channel_pressure = true
    target = "timbre[0]"
    [[knob]]
    poly_pressure = 60
    target = "timbre[1]"
    [[knob]]
    poly_pressure = true
    target = "timbre[2]"
    [[knob]]
    velocity = true
    target = "timbre[3]"
    [[knob]]
    notes = true
    first = 36
    target = "preset"
    """
    knobs = custom(tmp_path, text, desk)
    play(knobs, desk, [0xD0, 127], [0xA0, 61, 0], [0xA0, 60, 127], [0xA0, 61, 127])
    assert [value(desk, f"timbre[{i}]") for i in range(3)] == [3, 3, 3]
    play(knobs, desk, [0xA0, 61, 0])
    assert [value(desk, f"timbre[{i}]") for i in range(3)] == [3, 3, -3]
    for message, velocity, preset in (
        ([0x90, 36, 127], 3, 1),
        ([0x90, 38, 1], None, 3),
        ([0x90, 38, 0], None, 3),
        ([0x80, 36, 64], None, 3),
    ):
        play(knobs, desk, message)
        assert value(desk, "preset") == preset
        assert velocity is None or value(desk, "timbre[3]") == velocity
    assert not knobs.apply([0x80, 36, 64], desk)  # letting go neither chooses nor strikes
    assert knobs.ignored == 0
    knobs.apply([0x90, 20, 64], desk)
    assert value(desk, "preset") == 3  # 20 is below the first


def test_programs_can_begin_at_one_and_recall_snapshots(tmp_path: Path) -> None:
    desk = desk_of()
    recalled: list[float] = []
    desk.act("snapshot", recalled.append)
    knobs = custom(tmp_path, '[[knob]]\nprogram_change = true\nfirst = 0\ntarget = "snapshot"', desk)
    play(knobs, desk, [0xC0, 0], [0xC0, 4], [0xC0, 4])
    assert recalled == [1, 5, 5]


def test_pads_hold_set_and_switch(tmp_path: Path) -> None:
    desk = desk_of()
    captured: list[float] = []
    desk.act("capture", captured.append)
    text = """
    [[knob]]
    note = 40
    target = "timbre[0]"
    [[knob]]
    note = 41
    value = 2
    target = "capture"
    [[knob]]
    note = 42
    toggle = true
    target = "timbre_hold"
    [[knob]]
    cc = 64
    target = "variation_freeze"
    [[knob]]
    cc = 65
    toggle = true
    target = "mix"
    """
    knobs = custom(tmp_path, text, desk)
    seen = []
    for message in ([0x90, 40, 1], [0x80, 40, 0]):
        play(knobs, desk, message)
        seen.append(value(desk, "timbre[0]"))
    assert seen == [3.0, 0.0]  # let go: at rest, not at the bottom
    play(knobs, desk, [0x90, 41, 90], [0x80, 41, 0], [0x90, 41, 90])
    assert captured == [2, 2]
    seen = []
    for message in ([0x90, 42, 9], [0x90, 42, 0], [0x90, 42, 9], [0x90, 42, 9]):
        play(knobs, desk, message)
        seen.append(value(desk, "timbre_hold"))
    assert seen == [1, 1, 0, 1]
    for number, expected in ((63, 0), (64, 1), (127, 1), (0, 0)):  # a pedal is down from 64 on (MIDI 1.0 specification)
        play(knobs, desk, [0xB0, 64, number])
        assert value(desk, "variation_freeze") == expected
    seen = []
    for number in (10, 70, 100, 127, 60, 0, 127):
        play(knobs, desk, [0xB0, 65, number])
        seen.append(value(desk, "mix"))
    assert seen == [1, 0, 0, 0, 0, 0, 1]  # one press, however many values it sends


def test_keys_the_last_one_sounds_and_what_is_held_comes_back(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, '[[knob]]\nkeys = true\nlow = 40\nhigh = 90\ntarget = "note"', desk)
    seen = []
    for message in (
        [0x90, 60, 127],
        [0x90, 64, 64],
        [0x80, 60, 0],  # not the one that sounds
        [0x90, 30, 64],  # outside the keys
        [0x90, 67, 32],
        [0x90, 67, 0],  # note-on without velocity is note-off
        [0x91, 64, 127],  # another channel's key of the same number
        [0x91, 64, 0],
        [0x80, 64, 0],
    ):
        play(knobs, desk, message)
        seen.append((value(desk, "note"), round(value(desk, "note_velocity"), 2)))
    assert seen == [(60, 1), (64, 0.5), (64, 0.5), (64, 0.5), (67, 0.25), (64, 0.25), (64, 1), (64, 1), (-1, 1)]
    play(knobs, desk, [0x90, 60, 127], [0x91, 62, 127], [0xB1, 123, 0])  # all notes off, on one channel
    assert value(desk, "note") == 60
    play(knobs, desk, [0xB0, 120, 0])
    assert value(desk, "note") == -1
    play(knobs, desk, [0x90, 60, 127])
    assert knobs.release_notes(desk)
    assert value(desk, "note") == -1


def test_a_knob_asks_for_its_smoothing_and_no_other_keeps_it(tmp_path: Path) -> None:
    desk = desk_of()
    custom(tmp_path, '[[knob]]\ncc = 1\nsmoothing = 1.5\ntarget = "mix"', desk)
    assert desk.bank.smoothing[desk.index["mix"]] == 1.5
    custom(tmp_path, '[[knob]]\ncc = 1\nsmoothing = 0\ntarget = "timbre[0]"', desk)
    assert desk.bank.smoothing[desk.index["timbre[0]"]] == 0
    assert desk.bank.smoothing[desk.index["mix"]] == SMOOTHING_SECONDS


def test_a_desk_that_fixes_a_knob_is_obeyed(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, '[[knob]]\ncc = 1\ntarget = "mix"', desk)
    desk.fixed.add("mix")
    assert not knobs.apply([0xB0, 1, 0], desk)
    assert value(desk, "mix") == 1
