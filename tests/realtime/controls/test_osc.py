"""OSC over real UDP: every target under both spellings, subscribers that hear all changes but their own, and datagrams
of strangers.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.osc.echo import ECHO_SECONDS, METER_SECONDS
from realtime.controls.osc.packets import Argument, OscPacketError, Received, read_packet, write_bundles, write_message
from realtime.controls.osc.server import LOOPBACK, SUBSCRIBERS, OscError, OscServer
from tests.support.desks import desk_of, value

EIGHT = {f"timbre[{i}]" for i in range(8)}


class Stage:
    """A desk, its server with time under control, and a control surface: a UDP socket of its own."""

    def __init__(self) -> None:
        self.desk, self.now = desk_of(), 0.0
        self.said: list[str] = []
        self.midi: list[tuple[int, ...]] = []
        self.server = OscServer(
            self.desk,
            LOOPBACK,
            0,
            self.said.append,
            presets=["Alto sax", "gong"],
            midi=lambda message: self.midi.append(tuple(message)),
            clock=lambda: self.now,
        )
        self.sockets = [self.new_socket()]

    def new_socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((LOOPBACK, 0))
        made.settimeout(0.05)
        return made

    def send(self, address: str, *arguments: Argument) -> None:
        self.send_bytes(write_message(address, arguments))

    def send_bytes(self, data: bytes) -> None:
        """The loopback delivers before `sendto` returns, so that one poll finds it."""
        self.sockets[0].sendto(data, (LOOPBACK, self.server.port))
        self.server.poll()

    def heard(self, which: int = 0) -> list[Received]:
        """All that has come."""
        messages: list[Received] = []
        while True:
            try:
                messages += read_packet(self.sockets[which].recv(65_535))
            except TimeoutError:
                return messages

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.server.poll()

    def close(self) -> None:
        self.server.close()
        for opened in self.sockets:
            opened.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_one_poll_and_the_knob_is_in_the_bank_under_every_spelling(stage: Stage) -> None:
    for address, number in (
        ("/neiro/timbre[3]", 0.5),
        ("/neiro/timbre/3", -1.25),
        ("/neiro/mix", 0.25),
        ("/neiro/gain_db", -6),
    ):
        stage.send(address, number)
        name = "timbre[3]" if "timbre" in address else address.removeprefix("/neiro/")
        assert stage.desk.bank.values[stage.desk.index[name]] == number
    stage.send("/neiro/mix", 7.0)  # brought into its range, as from a controller
    assert value(stage.desk, "mix") == 1.0
    done: list[tuple[str, float]] = []
    for name in ("snapshot", "snapshot_store", "capture"):
        stage.desk.act(name, lambda number, name=name: done.append((name, number)))  # type: ignore[misc]
    stage.send("/neiro/snapshot", 2)
    stage.send("/neiro/snapshot/store", 3)
    stage.send("/neiro/snapshot_store", 4)
    stage.send("/neiro/capture")
    assert done == [("snapshot", 2), ("snapshot_store", 3), ("snapshot_store", 4), ("capture", 1)]
    assert (stage.server.counts.applied, stage.server.counts.refused) == (9, 0)


def test_presets_by_name_and_by_number(stage: Stage) -> None:
    for argument, expected in (("gong", 2), ("ALTO SAX", 1), (2, 2), (0.0, 0)):
        stage.send("/neiro/preset", argument)
        assert value(stage.desk, "preset") == expected
    stage.send("/neiro/preset_c", "gong")
    assert value(stage.desk, "preset_c") == 2
    stage.send("/neiro/preset", "tuba")
    assert value(stage.desk, "preset") == 0


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("timbre/*", EIGHT),
        ("timbre/[1-2]", {"timbre[1]", "timbre[2]"}),
        ("timbre/[!1-7]", {"timbre[0]"}),
        ("timbre[[]?]", EIGHT),
        ("{x,m?x}", {"x", "mix"}),
        ("sna*/store", set()),
        ("cap*", set()),
        ("tim*0", set()),
        ("*" * 150 + "!", set()),
        ("{a,b}" * 40, set()),
        ("*a" * 99, set()),
    ],
)
def test_an_address_pattern_turns_all_that_match_and_nothing_else(
    stage: Stage, pattern: str, expected: set[str]
) -> None:
    before = stage.desk.bank.values.copy()
    stage.send(f"/neiro/{pattern}", 0.75)
    turned = {
        target.name for target, a, b in zip(stage.desk.targets, before, stage.desk.bank.values, strict=False) if a != b
    }
    assert turned == expected
    assert stage.server.counts.refused == (not expected)


@pytest.mark.parametrize(
    ("address", "arguments", "expected"),
    [
        ("/neiro/nothing", (1,), "no target 'nothing'"),
        ("/other/mix", (1,), "addresses begin with /neiro/"),
        ("/neiro/mix", ("loud",), "takes one number"),
        ("/neiro/mix", (math.nan,), "takes one number"),
        ("/neiro/mix", (1, 2), "takes one number"),
        ("/neiro/subscribe", (0,), "a port number from 1 to 65535"),
        ("/neiro/query", ("x",), "a port number from 1 to 65535"),
        ("/neiro/midi", (300,), "bytes from 0 to 255"),
        ("/neiro/gain_db", (0,), "gain_db is fixed"),
        (f"/neiro/{'x' * 5000}", (1,), "no target"),
    ],
)
def test_what_cannot_be_done_is_answered_in_one_sentence(
    stage: Stage, address: str, arguments: tuple[Argument, ...], expected: str
) -> None:
    stage.desk.fixed.add("gain_db")
    before = stage.desk.bank.values.copy()
    stage.send(address, *arguments)
    (answer,) = stage.heard()
    assert answer.address == "/neiro/error"
    assert expected in str(answer.arguments[0])
    assert len(str(answer.arguments[0])) <= 300
    assert (stage.desk.bank.values == before).all()


def test_a_question_is_answered_with_everything(stage: Stage) -> None:
    stage.desk.set("timbre[2]", 1.5)
    stage.send("/neiro/query")
    answers = stage.heard()
    heard = {message.address: message.arguments for message in answers}
    assert heard.pop("/neiro/presets") == ("Alto sax", "gong")
    assert len(heard) == len(stage.desk.targets)
    assert heard["/neiro/timbre/2"] == (1.5,)
    assert heard["/neiro/preset"] == (0,)
    assert "/neiro/snapshot/store" in heard
    for answer in answers[:-1]:  # what we say can be said to us
        (number,) = answer.arguments
        assert isinstance(number, int | float)
        stage.send(answer.address, number)
    assert stage.server.counts.refused == 0
    stage.send("/neiro/timbre/2")
    assert [message.arguments for message in stage.heard()] == [(1.5,)]


def test_subscribers_hear_all_changes_but_their_own_and_the_last_value_always(stage: Stage) -> None:
    other = stage.new_socket()
    stage.sockets.append(other)
    stage.send("/neiro/subscribe")
    stage.send("/neiro/subscribe", other.getsockname()[1])
    assert len(stage.heard()) == len(stage.heard(1)) == len(stage.desk.targets) + 1
    for number in range(11):
        stage.desk.set("mix", number / 10, "midi")
    stage.send("/neiro/gain_db", -3)
    stage.pass_time(ECHO_SECONDS)
    stage.desk.set("mix", 0.5, "midi")
    stage.pass_time(ECHO_SECONDS)
    told = [(message.address, message.arguments[0]) for message in stage.heard()]
    others = [(message.address, message.arguments[0]) for message in stage.heard(1)]
    assert told == [("/neiro/mix", 1.0), ("/neiro/mix", 0.5)]
    assert others == [("/neiro/mix", 1.0), ("/neiro/gain_db", -3.0), ("/neiro/mix", 0.5)]
    stage.send("/neiro/unsubscribe")
    stage.desk.set("mix", 0.1)
    stage.pass_time(ECHO_SECONDS)
    assert stage.heard() == []
    assert len(stage.heard(1)) == 1


def test_meters_come_ten_times_a_second_and_what_is_not_measured_does_not(stage: Stage) -> None:
    assert not stage.server.meters_due
    stage.send("/neiro/subscribe")
    stage.heard()
    sent = 0
    for _ in range(100):
        sent += stage.server.meters_due
        stage.server.send_meters(
            {
                "rms_in": np.float32(0.25),
                "xruns": np.int64(3),
                "provider": "cpu",
                "device_latency_ms": None,
                "hop_ms": math.nan,
            }
        )
        stage.pass_time(METER_SECONDS / 10)
    heard = stage.heard()
    assert sent in (10, 11)
    assert [message.address for message in heard] == [
        "/neiro/meters/rms_in",
        "/neiro/meters/xruns",
        "/neiro/meters/provider",
    ] * sent
    assert heard[0].arguments == (0.25,)


def test_midi_in_osc_and_commands(stage: Stage) -> None:
    asked: list[str] = []
    stage.server.command("learn", asked.append)
    stage.send("/neiro/learn", "timbre[3]")
    stage.send("/neiro/learn")
    assert asked == ["timbre[3]", ""]
    stage.send("/neiro/midi", 0xB0, 20, 5, 21)  # the second by running status, cut in two
    stage.send("/neiro/midi", 6)
    stage.send_bytes(b"/neiro/midi\0,m\0\0" + bytes([0, 0xC1, 7, 0]))
    stage.send_bytes(b"/neiro/midi\0,b\0\0" + struct.pack(">i", 3) + bytes([0x90, 60, 100, 0]))
    assert stage.midi == [(0xB0, 20, 5), (0xB0, 21, 6), (0xC1, 7), (0x90, 60, 100)]


def test_the_number_of_subscribers_is_bounded_and_dead_ones_do_no_harm(stage: Stage) -> None:
    for port in range(20_000, 20_000 + SUBSCRIBERS + 5):
        stage.send("/neiro/subscribe", port)
    assert len(stage.server.echo.subscribers) == SUBSCRIBERS
    stage.desk.set("mix", 0.5)
    stage.pass_time(ECHO_SECONDS)
    stage.send("/neiro/gain_db", -1)
    assert value(stage.desk, "gain_db") == -1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"/neiro/mix",
        b"/neiro/mix\0\0,f\0\0",
        b"/neiro/mix\0\0,d\0\0" + bytes(4),
        b"/neiro/midi\0,b\0\0" + struct.pack(">i", 9) + bytes(4),
        b"/neiro/preset\0\0\0,s\0\0gong",
        b"/neiro/mix\0\0,q\0\0\0\0\0\0",
        b"#bundle\0"
        + bytes(8)
        + struct.pack(">i", -4)
        + b"/neiro/mix\0\0,i\0\0\0\0\0\1",  # python-osc alone would read it for ever
        b"#bundle\0" + bytes(8) + struct.pack(">i", 0),
        b"#bundle\0" + bytes(8) + struct.pack(">i", 1000) + b"/a\0\0",
        b"#bundle\0" + bytes(8) + (struct.pack(">i", 4) + b"/a\0\0") * 5000,
        b"\xff" * 60_000,
        b"/\xff\xfe\0,\0\0\0",
        b"/a\0\0," + b"[" * 2000 + b"\0\0\0",
    ],
)
def test_a_malformed_datagram_is_counted_and_changes_nothing(stage: Stage, data: bytes) -> None:
    before = stage.desk.bank.values.copy()
    stage.send_bytes(data)
    assert stage.server.counts.malformed == 1
    assert (stage.desk.bank.values == before).all()
    assert stage.heard() == []
    stage.send("/neiro/mix", 0.5)
    assert value(stage.desk, "mix") == 0.5


def test_bundles_in_bundles_are_opened_down_to_a_depth(stage: Stage) -> None:
    for depth in (1, 8, 9, 3000):
        data = write_message("/neiro/mix", [depth / 1024])
        for _ in range(depth):
            data = b"#bundle\0" + bytes(8) + struct.pack(">i", len(data)) + data
        stage.send_bytes(data[:65_000])
        assert value(stage.desk, "mix") == (depth if depth <= 8 else 8) / 1024


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/neiro/timbre/12", "/x" * 300]), st.floats(width=32, allow_nan=False)),
        max_size=40,
    )
)
def test_what_is_written_is_read_again_and_fits_a_frame(messages: list[tuple[str, float]]) -> None:
    datagrams = write_bundles([write_message(address, [number]) for address, number in messages])
    assert [received for data in datagrams for received in read_packet(data)] == [
        Received(address, (number,)) for address, number in messages
    ]
    assert all(len(data) <= 1400 for data in datagrams)


@given(st.binary(max_size=300))
def test_bytes_raise_only_our_error(data: bytes) -> None:
    try:
        assert all(isinstance(message, Received) for message in read_packet(b"#bundle\0" + data))
    except OscPacketError:
        return


def test_a_port_that_is_taken_or_an_address_that_is_not_ours_is_one_sentence(stage: Stage) -> None:
    for host, port, expected in (
        (
            LOOPBACK,
            stage.server.port,
            f"OSC port {stage.server.port} of 127.0.0.1 is in use by another program; choose another",
        ),
        ("203.0.113.1", 0, "cannot listen for OSC on 203.0.113.1:0"),
        (LOOPBACK, 70_000, "cannot listen for OSC on 127.0.0.1:70000"),
        ("no.such.host.invalid", 0, "cannot listen for OSC on no.such.host.invalid"),
    ):
        with pytest.raises(OscError) as caught:
            OscServer(stage.desk, host, port, stage.said.append)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
    assert stage.said == [f"OSC: listening on 127.0.0.1:{stage.server.port} (this machine only)"]
