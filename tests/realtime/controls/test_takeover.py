"""Soft takeover and feedback: what a controller does to a target that moved elsewhere meanwhile."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.desk import Desk
from realtime.controls.map.encode import messages_for
from realtime.controls.map.knob_map import KnobMap
from tests.support.desks import custom, desk_of, play, value


def mixer(tmp_path: Path, takeover: str) -> tuple[Desk, KnobMap]:
    desk = desk_of()
    return desk, custom(
        tmp_path, f'[[knob]]\ncc = 1\ntakeover = "{takeover}"\ntarget = "mix"\n[[knob]]\ncc = 2\ntarget = "mix"', desk
    )


def test_pickup_waits_until_the_controller_passes_the_value(tmp_path: Path) -> None:
    desk, knobs = mixer(tmp_path, "pickup")
    desk.set("mix", 0.5)
    assert not play(knobs, desk, [0xB0, 1, 10], [0xB0, 1, 40])
    assert value(desk, "mix") == 0.5
    assert knobs.ignored == 2
    assert play(knobs, desk, [0xB0, 1, 80])  # passed
    assert value(desk, "mix") > 0.5
    assert play(knobs, desk, [0xB0, 1, 0])  # holds now, however far it jumps
    assert value(desk, "mix") == 0
    desk.set("mix", 1.0, "osc")  # moved elsewhere
    assert not play(knobs, desk, [0xB0, 1, 20])
    play(knobs, desk, [0xB0, 2, 32])  # moved by another controller
    assert play(knobs, desk, [0xB0, 1, 32])  # close enough to be the same place
    play(knobs, desk, [0xB0, 2, 127])
    assert not play(knobs, desk, [0xB0, 1, 33])


@given(start=st.floats(0, 1), moves=st.lists(st.integers(0, 127), min_size=2, max_size=20))
def test_scaled_takeover_never_jumps_and_meets_the_controller_at_both_ends(
    tmp_path_factory: pytest.TempPathFactory, start: float, moves: list[int]
) -> None:
    """A step of the controller never moves the target further than the share of its way that is left, and always the
    same way.
    """
    desk, knobs = mixer(tmp_path_factory.mktemp("map"), "scale")
    desk.set("mix", start)
    assert not play(knobs, desk, [0xB0, 1, moves[0]])  # only now is it known where the controller stands
    assert value(desk, "mix") == start
    for before, now in pairwise(moves):
        old = value(desk, "mix")
        play(knobs, desk, [0xB0, 1, now])
        new = value(desk, "mix")
        assert (new - old) * (now - before) >= -1e-12
        if now in (0, 127):
            assert new == now // 127
        elif now > before:
            share_left = pytest.approx((127 - now) / (127 - before), abs=0.02)
            assert old > 1 - 1e-9 or (1 - new) / (1 - old) == share_left
    play(knobs, desk, [0xB0, 1, 127], [0xB0, 1, 64])
    assert value(desk, "mix") == pytest.approx(0.5)


CURVES = st.sampled_from(["linear", "exponential", "s"])
SOURCES = st.sampled_from(
    [
        "cc = 20",
        "cc14 = 20",
        "nrpn = 300",
        "rpn = 5",
        "pitch_bend = true",
        "channel_pressure = true",
        "poly_pressure = 60",
    ]
)


@given(
    source=SOURCES,
    curve=CURVES,
    low=st.floats(-3, 3),
    high=st.floats(-3, 3),
    center=st.none() | st.floats(-3, 3),
    share=st.floats(0, 1),
)
def test_what_is_sent_back_says_the_value_as_finely_as_the_controller_can(
    tmp_path_factory: pytest.TempPathFactory,
    source: str,
    curve: str,
    low: float,
    high: float,
    center: float | None,
    share: float,
) -> None:
    """Value → messages → value: within one step of the controller where the curve is steepest."""
    desk = desk_of()
    middle = "" if center is None else f"center = {center!r}"
    text = f'[[knob]]\n{source}\ncurve = "{curve}"\nlow = {low!r}\nhigh = {high!r}\n{middle}\ntarget = "timbre[0]"'
    knobs = custom(tmp_path_factory.mktemp("map"), text, desk)
    route = knobs.routes[0]
    wanted = route.value(share)
    for message in messages_for(route, wanted, channel=3):
        knobs.apply(message, desk)
    steps = 16383 if source.split(" ")[0] in ("cc14", "nrpn", "rpn", "pitch_bend") else 127
    widest = max(
        abs(a - b)
        for a in (low, high, route.low)
        for b in (low, high, route.high if route.center is None else route.center)
    )
    assert value(desk, "timbre[0]") == pytest.approx(wanted, abs=8 * widest / steps + 1e-9)


def test_buttons_and_choosers_are_lit_as_their_target_stands(tmp_path: Path) -> None:
    desk = desk_of()
    text = """
    [[knob]]
    note = 40
    value = 2
    target = "preset"
    [[knob]]
    cc = 50
    toggle = true
    target = "timbre_hold"
    [[knob]]
    program_change = true
    first = 0
    target = "preset"
    [[knob]]
    notes = true
    target = "preset"
    """
    lit, switch, program, notes = custom(tmp_path, text, desk).routes
    assert messages_for(lit, 2.0, 1) == [(0x91, 40, 127)]
    assert messages_for(lit, 3.0, 1) == [(0x91, 40, 0)]
    assert [messages_for(switch, on, 0) for on in (0.0, 1.0)] == [[(0xB0, 50, 0)], [(0xB0, 50, 127)]]
    assert messages_for(program, 3.0, 0) == [(0xC0, 2)]
    assert messages_for(program, 0.0, 0) == []  # no program means "none"
    assert messages_for(notes, 3.0, 0) == [(0x90, 3, 127)]
