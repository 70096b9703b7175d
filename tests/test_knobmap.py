"""The knob map: exact at its marks, monotone between, deaf to garbage, clear about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bundle import Anchor, Axis, Features, Graph, Manifest, Preset
from realtime.controls import KnobBank
from realtime.knobmap import KnobMap, KnobMapError, load_map

FEATURES = Features(
    sample_rate=44100, window_samples=2048, hop_samples=256, log_floor=1e-3, cutoff_quefrency=64, level_seconds=1.0, silence_dbfs=-60.0
)
BUILT_IN = Path(__file__).resolve().parents[1] / "realtime" / "default_map.toml"


def bank_of(dimensions: int = 8, presets: int = 3) -> KnobBank:
    names = [f"timbre[{i}]" for i in range(dimensions)]
    axes = [Axis(name=name, label=name, direction=(0.0,) * dimensions, effect_db=1.0) for name in names]
    graph = Graph(file="x.onnx", sha256="", inputs=(), outputs=())
    return KnobBank(
        Manifest(
            format_version=1,
            producer="test",
            model_kind="test",
            precision="fp32",
            features=FEATURES,
            latents={"timbre": dimensions, "variation": 1, "pitch": 1},
            graphs={"streaming/encoder": graph, "streaming/decoder": graph},
            axes=tuple(axes),
            presets=tuple(Preset(name=f"p{i}", family="f", anchors=(Anchor(midi_note=None, timbre=(0.0,) * dimensions),)) for i in range(presets)),
            fidelity={},
        )
    )


def value(bank: KnobBank, name: str) -> float:
    return float(bank.values[bank.index[name]])


def custom(tmp_path: Path, text: str, bank: KnobBank) -> KnobMap:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    return load_map(path, bank)


def test_the_built_in_map_does_what_the_manual_says() -> None:
    bank = bank_of()
    knobs = load_map(None, bank)
    for i in range(8):
        for number, expected in ((0, -3.0), (64, 0.0), (127, 3.0)):
            assert knobs.apply([0xB0, 20 + i, number], bank)
            assert value(bank, f"timbre[{i}]") == expected
    for number, expected in ((0, 0.0), (127, 1.0)):
        assert knobs.apply([0xB5, 28, number], bank)
        assert value(bank, "mix") == expected
    for number, expected in ((0, -60.0), (64, 0.0), (127, 12.0)):
        assert knobs.apply([0xBF, 29, number], bank)
        assert value(bank, "gain_db") == expected
    for number in (3, 0):
        assert knobs.apply([0xC0, number], bank)
        assert value(bank, "preset") == number


def test_a_program_without_a_preset_is_ignored_and_counted() -> None:
    bank = bank_of(presets=3)
    knobs = load_map(None, bank)
    knobs.apply([0xC0, 2], bank)
    assert not knobs.apply([0xC0, 4], bank)
    assert (value(bank, "preset"), knobs.ignored, knobs.applied) == (2, 1, 1)


def test_the_built_in_map_fits_a_model_with_fewer_dimensions_and_a_users_map_must_fit(tmp_path: Path) -> None:
    bank = bank_of(dimensions=2)
    knobs = load_map(None, bank)
    assert not knobs.apply([0xB0, 22, 100], bank)
    assert knobs.apply([0xB0, 21, 100], bank)
    with pytest.raises(KnobMapError, match=r"knob 3: no knob named 'timbre\[2\]'"):
        custom(tmp_path, BUILT_IN.read_text(encoding="utf-8"), bank)


def test_a_fixed_knob_is_not_moved() -> None:
    bank = bank_of()
    knobs = load_map(None, bank, fixed=["timbre[0]"])
    bank.set("timbre[0]", 1.5)
    assert not knobs.apply([0xB0, 20, 0], bank)
    assert value(bank, "timbre[0]") == 1.5


def test_a_channel_listens_to_itself_only(tmp_path: Path) -> None:
    bank = bank_of()
    knobs = custom(tmp_path, '[[knob]]\ncc = 1\nchannel = 3\ntarget = "mix"', bank)
    assert not knobs.apply([0xB0, 1, 0], bank)
    assert knobs.apply([0xB2, 1, 0], bank)


def test_fourteen_bits_and_the_pitch_wheel_are_exact_at_their_marks(tmp_path: Path) -> None:
    bank = bank_of()
    knobs = custom(tmp_path, '[[knob]]\ncc14 = 1\ntarget = "timbre[0]"\n[[knob]]\npitch_bend = true\ntarget = "timbre[1]"\nlow = 3\nhigh = -3', bank)
    seen = []
    for coarse, fine in ((0, 0), (0, 1), (64, 0), (64, 1), (127, 127)):
        knobs.apply([0xB0, 1, coarse], bank)
        knobs.apply([0xB0, 33, fine], bank)
        seen.append(value(bank, "timbre[0]"))
    assert seen == sorted(set(seen))
    assert (seen[0], seen[2], seen[4]) == (-3, 0, 3)
    for fine, coarse, expected in ((0, 0, 3.0), (0, 64, 0.0), (127, 127, -3.0)):
        knobs.apply([0xE0, fine, coarse], bank)
        assert value(bank, "timbre[1]") == expected


@given(
    low=st.floats(-3, 3),
    high=st.floats(-3, 3),
    center=st.none() | st.floats(-3, 3),
    curve=st.sampled_from(["linear", "exponential", "s"]),
)
def test_every_curve_stays_in_its_range_and_hits_its_marks(
    tmp_path_factory: pytest.TempPathFactory, low: float, high: float, center: float | None, curve: str
) -> None:
    bank = bank_of()
    middle = "" if center is None else f"center = {center!r}"
    text = f'[[knob]]\ncc = 1\ntarget = "timbre[0]"\nlow = {low!r}\nhigh = {high!r}\ncurve = "{curve}"\n{middle}'
    knobs = custom(tmp_path_factory.mktemp("map"), text, bank)
    values = []
    for number in range(128):
        knobs.apply([0xB0, 1, number], bank)
        values.append(value(bank, "timbre[0]"))
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
    bank = bank_of()
    before = bank.values.copy()
    done = load_map(None, bank).apply(message, bank)
    for target, number in zip(bank.targets, bank.values, strict=True):
        assert target.low <= number <= target.high
    assert done or (bank.values == before).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[knob]]\ncc = 20", "knob 1: target is missing"),
        ('[[knob]]\ntarget = "mix"', "exactly one of cc, cc14, pitch_bend, program_change, not none"),
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
        ("knob = 3", "knob = 3"),
        ("[[knob]\n", "is not TOML"),
    ],
)
def test_a_mistake_in_a_map_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(KnobMapError) as caught:
        custom(tmp_path, text, bank_of())
    message = str(caught.value)
    assert expected in message
    assert "map.toml" in message
    assert "\n" not in message


def test_a_map_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(KnobMapError, match="No such file"):
        load_map(tmp_path / "none.toml", bank_of())
    with pytest.raises(KnobMapError, match="Is a directory"):
        load_map(tmp_path, bank_of())
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KnobMapError, match="is not TOML"):
        load_map(tmp_path / "bytes.toml", bank_of())


def test_the_sources_of_a_target_are_named() -> None:
    bank = bank_of()
    sources = load_map(None, bank).sources(bank)
    assert sources["timbre[0]"] == "CC 20"
    assert sources["preset"] == "program change"


def test_the_map_needs_no_sound_library() -> None:
    script = "import sys, realtime.knobmap; sys.exit(any(name in sys.modules for name in ('sounddevice', 'onnxruntime', 'rtmidi')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=BUILT_IN.parents[1]).returncode == 0
