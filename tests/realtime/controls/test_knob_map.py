"""The knob map: exact at its marks, monotone between, deaf to garbage, clear about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.map.knob_map import KnobMapError, load_map
from realtime.knobs.targets import SLOTS
from tests.support.desks import custom, desk_of, value

BUILT_IN = Path(__file__).resolve().parents[3] / "realtime" / "default_map.toml"


def test_the_built_in_map_does_what_the_manual_says() -> None:
    desk = desk_of()
    knobs = load_map(None, desk)
    for i in range(8):
        for number, expected in ((0, -3.0), (64, 0.0), (127, 3.0)):
            assert knobs.apply([0xB0, 20 + i, number], desk)
            assert value(desk, f"timbre[{i}]") == expected
    for number, expected in ((0, 0.0), (127, 1.0)):
        assert knobs.apply([0xB5, 28, number], desk)
        assert value(desk, "mix") == expected
    for number, expected in ((0, -60.0), (64, 0.0), (127, 12.0)):
        assert knobs.apply([0xBF, 29, number], desk)
        assert value(desk, "gain_db") == expected
    for number in (3, 0):
        assert knobs.apply([0xC0, number], desk)
        assert value(desk, "preset") == number


def test_a_program_without_a_preset_is_ignored_and_counted() -> None:
    desk = desk_of(presets=3)
    knobs = load_map(None, desk)
    knobs.apply([0xC0, 2], desk)
    assert not knobs.apply([0xC0, 3 + SLOTS + 1], desk)
    assert (value(desk, "preset"), knobs.ignored, knobs.applied) == (2, 1, 1)


def test_the_built_in_map_fits_a_model_with_fewer_dimensions_and_a_users_map_must_fit(tmp_path: Path) -> None:
    desk = desk_of(dimensions=2)
    knobs = load_map(None, desk)
    assert not knobs.apply([0xB0, 22, 100], desk)
    assert knobs.apply([0xB0, 21, 100], desk)
    with pytest.raises(KnobMapError, match=r"knob 3: no knob named 'timbre\[2\]'"):
        custom(tmp_path, BUILT_IN.read_text(encoding="utf-8"), desk)


def test_a_fixed_knob_is_not_moved() -> None:
    desk = desk_of()
    knobs = load_map(None, desk, fixed=["timbre[0]"])
    desk.set("timbre[0]", 1.5)
    assert not knobs.apply([0xB0, 20, 0], desk)
    assert value(desk, "timbre[0]") == 1.5


def test_a_channel_listens_to_itself_only(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(tmp_path, '[[knob]]\ncc = 1\nchannel = 3\ntarget = "mix"', desk)
    assert not knobs.apply([0xB0, 1, 0], desk)
    assert knobs.apply([0xB2, 1, 0], desk)


def test_fourteen_bits_and_the_pitch_wheel_are_exact_at_their_marks(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = custom(
        tmp_path,
        '[[knob]]\ncc14 = 1\ntarget = "timbre[0]"\n'
        '[[knob]]\npitch_bend = true\ntarget = "timbre[1]"\nlow = 3\nhigh = -3',
        desk,
    )
    seen = []
    for coarse, fine in ((0, 0), (0, 1), (64, 0), (64, 1), (127, 127)):
        knobs.apply([0xB0, 1, coarse], desk)
        knobs.apply([0xB0, 33, fine], desk)
        seen.append(value(desk, "timbre[0]"))
    assert seen == sorted(set(seen))
    assert (seen[0], seen[2], seen[4]) == (-3, 0, 3)
    for fine, coarse, expected in ((0, 0, 3.0), (0, 64, 0.0), (127, 127, -3.0)):
        knobs.apply([0xE0, fine, coarse], desk)
        assert value(desk, "timbre[1]") == expected


@given(
    low=st.floats(-3, 3),
    high=st.floats(-3, 3),
    center=st.none() | st.floats(-3, 3),
    curve=st.sampled_from(["linear", "exponential", "s"]),
)
def test_every_curve_stays_in_its_range_and_hits_its_marks(
    tmp_path_factory: pytest.TempPathFactory, low: float, high: float, center: float | None, curve: str
) -> None:
    desk = desk_of()
    middle = "" if center is None else f"center = {center!r}"
    text = f'[[knob]]\ncc = 1\ntarget = "timbre[0]"\nlow = {low!r}\nhigh = {high!r}\ncurve = "{curve}"\n{middle}'
    knobs = custom(tmp_path_factory.mktemp("map"), text, desk)
    values = []
    for number in range(128):
        knobs.apply([0xB0, 1, number], desk)
        values.append(value(desk, "timbre[0]"))
    assert (values[0], values[127]) == (low, high)
    rest = center if center is not None else 0.0 if min(low, high) < 0 < max(low, high) else None
    marks = [low, high] if rest is None else [low, rest, high]
    assert rest is None or values[64] == rest
    assert min(marks) <= min(values)
    assert max(values) <= max(marks)
    halves = [values[:65], values[64:]] if rest is not None else [values]
    assert all(half in (sorted(half), sorted(half, reverse=True)) for half in halves)


@given(st.lists(st.integers(-1, 300), max_size=6) | st.binary(max_size=6))
def test_garbage_never_raises_and_never_leaves_a_range(message: list[int] | bytes) -> None:
    desk = desk_of()
    before = desk.bank.values.copy()
    done = load_map(None, desk).apply(message, desk)
    for target, number in zip(desk.bank.targets, desk.bank.values, strict=True):
        assert target.low <= number <= target.high
    assert done or (desk.bank.values == before).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[knob]]\ncc = 20", "knob 1: target is missing"),
        ('[[knob]]\ntarget = "mix"', "give exactly one of cc, cc14, nrpn, rpn, pitch_bend"),
        ('[[knob]]\ncc = 1\npitch_bend = true\ntarget = "mix"', "not cc and pitch_bend"),
        ('[[knob]]\ncc = 1\ntarget = "mix"\nchanel = 2', "knob 1: unknown key 'chanel'; the keys are target, cc"),
        ('[[knobs]]\ncc = 1\ntarget = "mix"', "unknown key 'knobs'; the keys are knob"),
        ('[[knob]]\ncc = 128\ntarget = "mix"', "cc = 128"),
        ('[[knob]]\ncc = "1"\ntarget = "mix"', "cc = '1'"),
        ('[[knob]]\ncc = 1\nchannel = 0\ntarget = "mix"', "channel = 0"),
        ('[[knob]]\ncc = 1\ntarget = "mix"\ncurve = "log"', "curve = 'log'"),
        ('[[knob]]\ncc = 1\ntarget = "mix"\nhigh = 2', "high = 2 is outside 0 … 1, the range of mix"),
        ('[[knob]]\ncc = 1\ntarget = "mix"\nlow = nan', "low = nan"),
        ('[[knob]]\ncc = 1\ntarget = "timbre[9]"', "did you mean"),
        ('[[knob]]\nprogram_change = true\ntarget = "mix"', "program_change can only move a target of whole numbers"),
        ('[[knob]]\nprogram_change = true\nlow = 1\ntarget = "preset"', "program_change takes no low"),
        (
            '[[knob]]\nnotes = true\nhigh = 3\ntarget = "preset"',
            "notes takes no low, high or center: the note number is the value",
        ),
        ('[[knob]]\nkeys = true\ntarget = "mix"', 'keys play notes, so their target is "note", not mix'),
        ('[[knob]]\nnrpn = 16383\ntarget = "mix"', "nrpn = 16383"),
        ('[[knob]]\npoly_pressure = 200\ntarget = "mix"', "poly_pressure = 200"),
        ('[[knob]]\npitch_bend = true\ntoggle = true\ntarget = "mix"', "toggle and value are for cc and note only"),
        ('[[knob]]\nnote = 1\nvalue = 1\nhigh = 1\ntarget = "mix"', "value stands alone"),
        ('[[knob]]\nnote = 1\nvalue = 2\ntarget = "mix"', "value = 2 is outside 0 … 1, the range of mix"),
        ('[[knob]]\ncc = 1\nfirst = 2\ntarget = "mix"', "first is for program_change and notes only"),
        (
            '[[knob]]\nnote = 1\ntakeover = "pickup"\ntarget = "mix"',
            "takeover = 'pickup' is for controllers that have a position",
        ),
        ('[[knob]]\ncc = 1\ntakeover = "catch"\ntarget = "mix"', "takeover = 'catch'"),
        ('[[knob]]\ncc = 1\nsmoothing = 6\ntarget = "mix"', "smoothing = 6"),
        ('[[knob]]\ncc = 1\nsmoothing = 1\ntarget = "preset"', "preset takes no smoothing"),
        ('[[knob]]\ncc = 1\nsmoothing = 1\ntarget = "snapshot_morph"', "snapshot_morph takes no smoothing"),
        (
            '[[knob]]\nvelocity = true\nfeedback = true\ntarget = "mix"',
            "velocity can show nothing, so it takes no feedback",
        ),
        ("knob = 3", "knob = 3"),
        ("a = " + "[" * 5000, "is not TOML"),
        ("[[knob]\n", "is not TOML"),
    ],
)
def test_a_mistake_in_a_map_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(KnobMapError) as caught:
        custom(tmp_path, text, desk_of())
    message = str(caught.value)
    assert expected in message
    assert "map.toml" in message
    assert "\n" not in message


def test_a_map_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(KnobMapError, match="No such file"):
        load_map(tmp_path / "none.toml", desk_of())
    with pytest.raises(KnobMapError, match="Is a directory"):
        load_map(tmp_path, desk_of())
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KnobMapError, match="is not TOML"):
        load_map(tmp_path / "bytes.toml", desk_of())


def test_the_sources_of_a_target_are_named() -> None:
    desk = desk_of()
    sources = load_map(None, desk).sources(desk)
    assert sources["timbre[0]"] == "CC 20"
    assert sources["preset"] == "program change"


def test_the_map_needs_no_sound_library() -> None:
    script = (
        "import sys, realtime.controls.map.knob_map; sys.exit(any(name in sys.modules for name in ('sounddevice', "
        "'onnxruntime', 'rtmidi')))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=BUILT_IN.parents[1]).returncode == 0
