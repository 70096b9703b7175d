"""MIDI learn: a touch and a name change one knob of the map, and nothing else that its owner wrote."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.desk import Desk
from realtime.controls.map.edit import same_control, with_knob, without_knobs
from realtime.controls.map.file import Knob, KnobMapError, parse_knobs
from realtime.controls.map.knob_map import KnobMap, load_map
from realtime.controls.map.learn import LEARNED_MAP, MOMENT_SECONDS, Learner, find_map
from tests.support.desks import desk_of, value

OWN = """# my controller, bought in spring

[[knob]]   # big knob
cc = 20    # left
target = "timbre[0]"  # darker
low = -1.5
curve = "s"
takeover = "pickup"

# the pedal
[[knob]]
cc = 64
target = "timbre_hold"
"""


@dataclass
class Lesson:
    """A learner with time under control, and what it said."""

    path: Path
    desk: Desk = field(default_factory=desk_of)
    said: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.knobs: KnobMap = load_map(self.path if self.path.exists() else None, self.desk)
        self.learner = Learner(self.desk, self.knobs, self.path, self.said.append, clock=lambda: self.now)
        self.learner.start()

    def touch(self, *messages: list[int]) -> None:
        """Within the moment that is listened to, and then let it pass."""
        for message in messages:
            self.learner.hear(message)
            self.learner.poll()
        self.now += MOMENT_SECONDS
        self.learner.poll()

    def learn(self, wanted: str, *messages: list[int]) -> str:
        """What was said last."""
        self.touch(*messages)
        self.learner.answer(wanted)
        return self.said[-1]


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    path = tmp_path / "map.toml"
    path.write_text(OWN, encoding="utf-8")
    return Lesson(path)


def test_the_first_lesson_makes_a_map_of_the_built_in_knobs(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path / LEARNED_MAP, desk_of(dimensions=2))
    assert find_map(tmp_path) is None
    said = lesson.learn("timbre[1]", [0xB2, 40, 1], [0xB2, 40, 2])
    assert said.startswith("CC 40, channel 3 → timbre[1], saved in")
    assert lesson.knobs.apply([0xB2, 40, 127], lesson.desk)
    assert value(lesson.desk, "timbre[1]") == 3
    assert find_map(tmp_path) == tmp_path / LEARNED_MAP
    again = load_map(find_map(tmp_path), desk_of(dimensions=2))
    built_in = load_map(None, desk_of(dimensions=2))
    assert [route.knob for route in again.routes[:-1]] == [route.knob for route in built_in.routes]
    assert again.routes[-1].knob == Knob(cc=40, channel=3, target="timbre[1]")


def test_a_control_that_moved_something_moves_the_new_target_and_comments_stay(lesson: Lesson) -> None:
    lesson.learn("mix", [0xB0, 20, 1], [0xB0, 20, 2])
    expected = OWN.replace('target = "timbre[0]"  # darker', 'target = "mix"  # darker').replace("low = -1.5\n", "")
    assert lesson.path.read_text(encoding="utf-8") == expected
    lesson.desk.set("mix", 0.5)
    assert not lesson.knobs.apply([0xB0, 20, 0], lesson.desk)  # it is still picked up softly
    lesson.learn("snapshot", [0xC0, 3])
    text = lesson.path.read_text(encoding="utf-8")
    assert text == expected + '\n[[knob]]\ntarget = "snapshot"\nprogram_change = true\nchannel = 1\nfirst = 0\n'


def test_every_kind_of_control_can_be_learned(lesson: Lesson) -> None:
    parameter = [[0xB0, 99, 1], [0xB0, 98, 2], [0xB0, 6, 3], [0xB0, 6, 4]]
    for wanted, messages, expected in (
        ("timbre[2]", parameter, Knob(nrpn=130, channel=1, target="timbre[2]")),
        ("y", [[0xB0, 2, 1], [0xB0, 34, 9], [0xB0, 2, 2], [0xB0, 34, 8]], Knob(cc14=2, channel=1, target="y")),
        ("gain", [[0xE4, 0, 70]], Knob(pitch_bend=True, channel=5, target="gain_db")),
        ("x", [[0xD0, 70]], Knob(channel_pressure=True, channel=1, target="x")),
        ("preset_b", [[0xC1, 7]], Knob(program_change=True, channel=2, target="preset_b")),
        (
            "variation_freeze",
            [[0x99, 36, 90], [0x89, 36, 0]],
            Knob(note=36, channel=10, toggle=True, target="variation_freeze"),
        ),
        ("capture", [[0x99, 37, 90], [0x89, 37, 0]], Knob(note=37, channel=10, value=1, target="capture")),
        ("snapshot=3", [[0x99, 38, 90], [0x89, 38, 0]], Knob(note=38, channel=10, value=3, target="snapshot")),
        ("resynth", [[0x99, 39, 90], [0x89, 39, 0]], Knob(note=39, channel=10, target="resynth")),
        ("note", [[0x90, 60, 90], [0x80, 60, 0]], Knob(keys=True, channel=1, target="note")),
    ):
        lesson.learn(wanted, *messages)
        assert lesson.knobs.routes[-1].knob == expected
    assert [route.knob for route in load_map(lesson.path, desk_of()).routes] == [
        route.knob for route in lesson.knobs.routes
    ]


def test_targets_by_number_and_by_beginning_and_mistakes_leave_the_question_open(lesson: Lesson) -> None:
    lesson.learner.answer("list")
    listed = {line.split()[1]: line.split()[0] for line in lesson.said if line.strip()[:1].isdigit()}
    assert len(listed) == len(lesson.desk.targets)
    before = lesson.path.read_bytes()
    assert lesson.learn("timbre[99]", [0xB0, 40, 1]).startswith("no knob named 'timbre[99]'")
    for wrong, expected in (
        ("timbre", "could be"),
        ("9999", "there is no target 9999"),
        ("mix=x", "cannot read the value"),
        ("mix=7", "value = 7 is outside"),
    ):
        lesson.learner.answer(wrong)
        assert expected in lesson.said[-1]
    assert lesson.path.read_bytes() == before
    lesson.learner.answer(listed["gain_db"])
    assert lesson.knobs.routes[-1].knob == Knob(cc=40, channel=1, target="gain_db")
    assert lesson.learn("presett", [0xC0, 1]) == "no knob named 'presett'; did you mean preset?"
    lesson.learner.answer("")
    lesson.learner.answer("mix")
    assert lesson.said[-1].startswith("no control touched yet")
    lesson.learner.answer("done")
    lesson.touch([0xB0, 41, 1])
    assert (lesson.learner.active, lesson.learner.control) == (False, None)


def test_unlearning_by_touch_and_by_target(lesson: Lesson) -> None:
    assert "1 knob unlearned" in lesson.learn("unlearn", [0xB5, 20, 1])  # the map's knob listens to all channels
    assert lesson.path.read_text(encoding="utf-8").startswith(
        "# my controller, bought in spring\n\n# big knob\n# left\n# darker\n"
    )
    assert not lesson.knobs.apply([0xB0, 20, 1], lesson.desk)
    lesson.learner.answer("unlearn timbre_hold")
    assert "1 knob unlearned" in lesson.said[-1]
    assert "# the pedal" in lesson.path.read_text(encoding="utf-8")
    assert lesson.knobs.routes == ()
    assert "knob" not in lesson.path.read_text(encoding="utf-8").replace("# big knob", "")
    lesson.learner.answer("unlearn mix")
    assert lesson.said[-1] == "mix: nothing to unlearn"
    lesson.learner.answer("unlearn")
    assert lesson.said[-1].startswith("unlearn what?")


def test_a_key_held_while_its_knob_is_learned_away_does_not_hang(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path / "map.toml")
    lesson.knobs.apply([0x90, 60, 100], lesson.desk)
    assert value(lesson.desk, "note") == 60
    lesson.learner.answer("unlearn note")
    assert value(lesson.desk, "note") == -1


def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    lesson = Lesson(folder / "map.toml")
    before, smoothing = lesson.knobs.routes, lesson.desk.bank.smoothing.copy()
    assert lesson.learn("mix", [0xB0, 40, 1]).startswith(f"cannot write the knob map {folder / 'map.toml'}")
    assert lesson.knobs.routes == before
    assert (lesson.desk.bank.smoothing == smoothing).all()
    folder.mkdir()
    lesson.learner.answer("mix")  # the question stood
    assert lesson.knobs.routes[-1].knob == Knob(cc=40, channel=1, target="mix")
    assert [path.name for path in folder.iterdir()] == ["map.toml"]


def test_a_map_spoilt_or_inline_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    for text, expected in (
        ('knob = [{cc = 20, target = "mix"}]', "does not write its knobs as [[knob]] tables"),
        ('[[knob]]\ncc = 20\ntarget = """\nmix"""\n', "written in a way that cannot be changed here"),
    ):
        path.write_text(text, encoding="utf-8")
        assert expected in Lesson(path).learn("gain_db", [0xB0, 20, 1])
        assert path.read_text(encoding="utf-8") == text
    path.write_text('[[knob]]\ncc = 20\ntarget = "mix"', encoding="utf-8")
    lesson = Lesson(path)
    path.write_text("[[knob", encoding="utf-8")  # its owner is editing it
    assert "is not TOML" in lesson.learn("gain_db", [0xB0, 20, 1])


def test_links_modes_and_line_ends_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "map.toml"
    real.write_bytes(OWN.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    link.symlink_to(real)
    Lesson(link).learn("mix", [0xB0, 20, 1])
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    data = real.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n")
    assert b'target = "mix"' in data


NAMES = ("mix", "gain_db", "x", "y", "timbre[0]")
PIECES = st.sampled_from(["# a comment\n", "\n", "   \n", "#[[knob]]\n"])
CHANNELS = st.none() | st.integers(1, 3)


@given(
    knobs=st.lists(st.tuples(st.integers(0, 3), CHANNELS, st.sampled_from(NAMES), PIECES, st.booleans()), max_size=6),
    control=st.integers(0, 3),
    channel=st.integers(1, 3),
)
def test_an_edit_changes_the_knobs_of_one_control_and_keeps_all_comments(
    knobs: list[tuple[int, int | None, str, str, bool]], control: int, channel: int
) -> None:
    path = Path("map.toml")
    text = ""
    for cc, listens, name, piece, commented in knobs:
        line = "" if listens is None else f"channel = {listens}\n"
        comment = " # number" if commented else ""
        text += f'{piece}[[knob]]\n{line}cc={cc}{comment}\n"target" = "{name}"\nlow = 0.25\n{piece}'
    before = parse_knobs(text, path)
    wanted = Knob(cc=control, channel=channel, target="mix")
    edited = with_knob(text, path, {"target": "mix", "cc": control, "channel": channel})
    after = parse_knobs(edited, path)
    others = [knob for knob in before if not same_control(knob, wanted)]
    assert [knob for knob in after if not same_control(knob, wanted)] == others
    (learned,) = [knob for knob in after if same_control(knob, wanted)]
    assert (learned.target, learned.low, learned.cc) == ("mix", None, control)
    assert edited.count("#") == text.count("#")
    assert parse_knobs(without_knobs(edited, path, lambda knob: same_control(knob, wanted)), path) == tuple(others)


def test_an_impossible_knob_is_refused_before_anything_is_changed() -> None:
    with pytest.raises(KnobMapError, match="toggle and value"):
        with_knob(OWN, Path("map.toml"), {"target": "mix", "pitch_bend": True, "value": 1})
