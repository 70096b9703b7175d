"""Bytes, events and floods: the same music however it is cut, and garbage beside it changes nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.midi.coalesce import coalesced
from realtime.controls.midi.detect import Control, ControlDetector
from realtime.controls.midi.events import MidiDecoder, from_fraction
from realtime.controls.midi.events import fraction as as_fraction
from realtime.controls.midi.parser import MidiParser, is_channel_message

DATA = st.integers(0, 127)
CHANNEL = st.integers(0, 15)
TWO = st.tuples(st.sampled_from([0x80, 0x90, 0xA0, 0xB0, 0xE0]), CHANNEL, DATA, DATA).map(
    lambda m: (m[0] | m[1], m[2], m[3])
)
ONE = st.tuples(st.sampled_from([0xC0, 0xD0]), CHANNEL, DATA).map(lambda m: (m[0] | m[1], m[2]))
MESSAGES = st.lists(TWO | ONE, max_size=30)
NOISE = st.lists(st.sampled_from([0xF8, 0xFA, 0xFB, 0xFC, 0xFE, 0xFF]), max_size=3)


@given(messages=MESSAGES, running=st.booleans(), cuts=st.lists(st.integers(1, 5), max_size=60), noise=NOISE)
def test_whole_messages_come_out_however_the_stream_is_cut(
    messages: list[tuple[int, ...]], running: bool, cuts: list[int], noise: list[int]
) -> None:
    """Running status leaves out repeated status bytes; clock and sensing stand between any two bytes."""
    stream: list[int] = []
    status = None
    for message in messages:
        for byte in message[1:] if running and message[0] == status else message:
            stream += [*noise, byte]
        status = message[0]
    parser, found = MidiParser(), []
    for size in [*cuts, len(stream) + 1]:
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert found == messages
    assert parser.skipped == 0


@given(messages=MESSAGES, sysex=st.lists(DATA, max_size=20), ended=st.booleans())
def test_system_messages_vanish_and_end_the_running_status(
    messages: list[tuple[int, ...]], sysex: list[int], ended: bool
) -> None:
    parser = MidiParser()
    found = parser.feed([0xF0, *sysex, *([0xF7] if ended else []), *(byte for message in messages for byte in message)])
    assert found == messages
    # Song select, tune request, quarter frame; then data that belong to nothing.
    assert parser.feed([0xF3, 5, 0xF6, 0xF1, 1, 7, 7]) == []
    assert parser.skipped == 2
    assert parser.feed([0xB0, 1, 0x90, 60, 61]) == [(0x90, 60, 61)]  # cut short by the next status
    assert parser.skipped == 4


@given(st.lists(st.integers(-5, 400), max_size=100) | st.binary(max_size=100))
def test_only_whole_channel_messages_ever_come_out(data: list[int] | bytes) -> None:
    assert all(is_channel_message(message) for message in MidiParser().feed(data))


@given(st.integers(0, 16383), st.sampled_from([127, 16383]))
def test_positions_go_back_to_the_same_value(raw: int, top: int) -> None:
    assert from_fraction(as_fraction(raw % (top + 1), top), top) == raw % (top + 1)


@given(st.lists(TWO | ONE, max_size=300))
def test_a_flood_leaves_every_knob_where_it_would_be(messages: list[tuple[int, ...]]) -> None:
    """Of continuous controllers the last value counts; notes, programs and parameters all stay, in their order."""
    kept = coalesced(messages)
    assert len(kept) <= len(messages)
    assert _resting_places(kept) == _resting_places(messages)
    assert [m for m in kept if m[0] & 0xF0 in (0x80, 0x90, 0xC0)] == [
        m for m in messages if m[0] & 0xF0 in (0x80, 0x90, 0xC0)
    ]


def _resting_places(messages: list[tuple[int, ...]]) -> dict[tuple[str, int, int], float]:
    decoder, places = MidiDecoder(), {}
    for message in messages:
        for event in decoder.decode(message):
            if event.kind not in ("note", "program_change") and not event.step:
                places[event.kind, event.number, event.channel] = event.position
    return places


def touched(*messages: list[int]) -> Control | None:
    watch = ControlDetector()
    for message in messages:
        watch.hear(message)
    return watch.winner()


def test_what_was_touched_is_told_apart() -> None:
    """A fine pair, a parameter, a wheel, pressure, a pad with pressure, a program with bank; the most active."""
    turn = [[0xB2, 20, i] for i in range(40, 60)]
    parameter = [message for i in range(9) for message in ([0xB0, 99, 2], [0xB0, 98, 44], [0xB0, 6, i], [0xB0, 38, 3])]
    pair = [message for i in range(9) for message in ([0xB0, 1, i], [0xB0, 33, 5 * i])]
    assert touched(*turn) == Control("cc", 20, 2)
    # One repeats itself, one trembles.
    assert touched(*turn, [0xB2, 21, 3], [0xB2, 21, 4], *[[0xB2, 22, 7]] * 50) == Control("cc", 20, 2)
    assert touched(*parameter) == Control("nrpn", 2 * 128 + 44, 0)
    assert touched([0xB0, 101, 0], [0xB0, 100, 2], [0xB0, 96, 0], [0xB0, 96, 0]) == Control("rpn", 2, 0)
    assert touched(*pair) == Control("cc14", 1, 0)
    # Data entry of no parameter is a controller like others.
    assert touched(*[[0xB0, 6, i] for i in range(9)]) == Control("cc", 6, 0)
    assert touched(*[[0xE3, 0, i] for i in range(64, 90)]) == Control("pitch_bend", 0, 3)
    assert touched([0x90, 60, 80], *[[0xD0, i] for i in range(20)]) == Control("channel_pressure", 0, 0)
    assert touched([0x99, 36, 80], *[[0xA9, 36, i] for i in range(20)], [0x99, 36, 0]) == Control("note", 36, 9)
    assert touched([0xB0, 0, 1], [0xB0, 32, 2], [0xC0, 7]) == Control("program_change", 0, 0)
    assert touched([0x80, 60, 0]) is None  # let go of what was held before
    assert touched([0xB0, 123, 0], [0xB0, 99, 1], [0xB0, 98, 1]) is None
