"""MIDI: files become events on the right samples; ports come and go while playing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.midi import MidiError, MidiInput, file_events, list_ports
from tests.jack_server import SERVER, JackRig, wait_until

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
    assert abs(sample - 140_000 * 0.333333 / 96 * RATE) <= 1


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
def test_a_spoilt_file_is_one_sentence(tmp_path: Path, good_file: bytes, spoil: Callable[[bytes], bytes], expected: str) -> None:
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


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JackRig]:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", SERVER)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    rig = JackRig(tmp_path)
    try:
        rig.start_server()
        rig.start_clients(np.zeros(RATE, np.float32))
        yield rig
    finally:
        rig.close()


def test_ports_open_deliver_in_order_vanish_and_come_back(rig: JackRig) -> None:
    received: list[list[int]] = []
    said: list[str] = []
    midi = MidiInput(["keys"], lambda message: received.append(list(message)), said.append)

    def polled(condition: Callable[[], bool]) -> Callable[[], bool]:
        def poll() -> bool:
            midi.poll()
            return condition()

        return poll

    try:
        assert any("keys" in name for name in list_ports())
        midi.require()
        wait_until(polled(lambda: any("MIDI input: keys" in line for line in said)), "the port to open")
        for i in range(128):
            rig.midi(0xB0, 20, i)
        wait_until(polled(lambda: len(received) == 128), "128 messages")
        assert received == [[0xB0, 20, i] for i in range(128)]

        rig.kill_clients()
        wait_until(polled(lambda: any("MIDI input gone: keys" in line for line in said)), "the port to vanish")
        time.sleep(1)  # the server forgets a dead client a little later
        rig.start_clients(np.zeros(RATE, np.float32))
        wait_until(polled(lambda: sum("MIDI input: keys" in line for line in said) == 2), "the port to come back")
        rig.midi(0xB0, 21, 7)
        wait_until(polled(lambda: received[-1] == [0xB0, 21, 7]), "a message after coming back")

        rig.kill_server()
        rig.kill_clients()
        rig.start_server()
        rig.start_clients(np.zeros(RATE, np.float32))
        midi.reopen()
        wait_until(polled(lambda: sum("MIDI input: keys" in line for line in said) == 3), "the port to come back with the server")
        rig.midi(0xB0, 22, 9)
        wait_until(polled(lambda: received[-1] == [0xB0, 22, 9]), "a message through the new server")
    finally:
        midi.close()


def test_a_wanted_port_that_is_not_there_is_named_with_what_is(rig: JackRig) -> None:
    midi = MidiInput(["nanoKONTROL"], lambda message: None, lambda line: None)
    with pytest.raises(MidiError, match=r"no MIDI input named 'nanoKONTROL'; there are: .*keys"):
        midi.require()


def test_without_a_midi_system_there_are_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "neiro-nobody")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    assert not any("keys" in name for name in list_ports())
