"""MIDI files become events on the right samples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.midi.input import MidiError, file_events

RATE = 44100


def save(path: Path, *tracks: list[mido.Message | mido.MetaMessage], kind: int = 1, ticks_per_beat: int = 480) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    file.tracks.extend(mido.MidiTrack(track) for track in tracks)
    file.save(path)
    return path


def test_events_follow_the_tempo_map_across_tracks(tmp_path: Path) -> None:
    """120 to the minute for two beats, then 60: beats 0, 1, 2, 3 fall on 0, 0.5, 1 and 2 s."""
    tempo = [mido.MetaMessage("set_tempo", tempo=500_000), mido.MetaMessage("set_tempo", tempo=1_000_000, time=960)]
    knobs = [mido.Message("control_change", control=20, value=i, time=0 if i == 0 else 480) for i in range(4)]
    others = [mido.Message("program_change", program=5, channel=2, time=1440), mido.Message("sysex", data=[1, 2])]
    events = file_events(save(tmp_path / "x.mid", tempo, knobs, others), RATE)
    assert events == [
        (0, [0xB0, 20, 0]),
        (22050, [0xB0, 20, 1]),
        (44100, [0xB0, 20, 2]),
        (88200, [0xB0, 20, 3]),
        (88200, [0xC2, 5]),
    ]


def test_times_do_not_drift_over_many_events(tmp_path: Path) -> None:
    tempo = [mido.MetaMessage("set_tempo", tempo=333_333)]
    knobs = [mido.Message("control_change", control=20, value=0, time=i and 7) for i in range(20_001)]
    sample, _ = file_events(save(tmp_path / "x.mid", tempo, knobs, ticks_per_beat=96), RATE)[-1]
    assert sample == round(140_000 * 0.333333 / 96 * RATE)


@given(
    tempos=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2**24 - 1)), max_size=8),
    knobs=st.lists(st.integers(0, 2000), max_size=30),
    ticks_per_beat=st.integers(1, 32767),
    rate=st.sampled_from([44100, 48000.0, 11025]),
)
def test_every_event_falls_on_the_sample_that_exact_arithmetic_gives(
    tmp_path_factory: pytest.TempPathFactory,
    tempos: list[tuple[int, int]],
    knobs: list[int],
    ticks_per_beat: int,
    rate: float,
) -> None:
    """Tempo changes anywhere, also between events and on them, in a track of their own."""
    path = tmp_path_factory.mktemp("midi") / "x.mid"
    changes = [mido.MetaMessage("set_tempo", tempo=tempo, time=time) for time, tempo in tempos]
    save(
        path,
        changes,
        [mido.Message("control_change", control=20, value=i % 128, time=time) for i, time in enumerate(knobs)],
        ticks_per_beat=ticks_per_beat,
    )
    steps, place = [], 0
    for time, tempo in tempos:
        place += time
        steps.append((place, tempo))
    expected, now = [], 0
    for time in knobs:
        now += time
        seconds, before, tempo = Fraction(0), 0, 500_000
        for at, following in steps:
            if at > now:
                break
            seconds = seconds + Fraction((at - before) * tempo, 1_000_000 * ticks_per_beat)
            before = at
            tempo = following
        seconds += Fraction((now - before) * tempo, 1_000_000 * ticks_per_beat)
        expected.append(seconds * Fraction(rate))
    samples = [sample for sample, _ in file_events(path, rate)]
    assert len(samples) == len(expected)
    assert all(
        abs(sample - exact) <= Fraction(1, 2) + Fraction(1, 10**6)
        for sample, exact in zip(samples, expected, strict=True)
    )


def test_running_status_in_a_file_and_system_messages_beside_it(tmp_path: Path) -> None:
    """Written byte by byte: three controllers under one status, and a system exclusive between others."""
    track = bytes([0, 0xB0, 20, 1, 96, 20, 2, 96, 21, 3, 0, 0xF0, 2, 1, 0xF7, 96, 0xC0, 5, 0, 0xFF, 0x2F, 0])
    path = tmp_path / "x.mid"
    path.write_bytes(b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 96]) + b"MTrk" + len(track).to_bytes(4, "big") + track)
    assert file_events(path, RATE) == [
        (0, [0xB0, 20, 1]),
        (22050, [0xB0, 20, 2]),
        (44100, [0xB0, 21, 3]),
        (66150, [0xC0, 5]),
    ]


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    track = [mido.Message("control_change", control=20, value=i % 128, time=10) for i in range(200)]
    return save(tmp_path_factory.mktemp("midi") / "good.mid", track).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[: len(data) // 2], "ends too early"),
        (lambda data: data[:6], "ends too early"),
        (lambda data: b"RIFF" + data[4:], "is not a MIDI file"),
        (lambda data: data[:9] + b"\x02" + data[10:], "independent tracks"),
        (lambda data: data[:12] + b"\xe8\x28" + data[14:], "SMPTE time"),
        (lambda data: data[:12] + b"\x00\x00" + data[14:], "SMPTE time"),
    ],
)
def test_a_spoilt_file_is_one_sentence(
    tmp_path: Path, good_file: bytes, spoil: Callable[[bytes], bytes], expected: str
) -> None:
    path = tmp_path / "spoilt.mid"
    path.write_bytes(spoil(good_file))
    with pytest.raises(MidiError, match=expected) as caught:
        file_events(path, RATE)
    assert "\n" not in str(caught.value)


@given(data=st.binary(max_size=200), header=st.booleans())
def test_random_bytes_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, header: bool) -> None:
    path = tmp_path_factory.mktemp("midi") / "random.mid"
    path.write_bytes((b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0" + bytes([len(data)]) if header else b"") + data)
    with contextlib.suppress(MidiError):
        assert all(sample >= 0 for sample, _ in file_events(path, RATE))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mid", tmp_path):
        with pytest.raises(MidiError, match="no MIDI file at"):
            file_events(path, RATE)
