"""OSC over real UDP: every target under both spellings, subscribers that hear all changes but their own, and
questions that are answered.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from realtime.controls.osc.feedback import FEEDBACK_SECONDS, METER_SECONDS
from realtime.controls.osc.packets import Argument
from realtime.controls.osc.server import LOOPBACK, SUBSCRIBERS, OscError, OscServer
from tests.support.desks import value
from tests.support.osc_rig import OscRig

EIGHT = {f"timbre[{i}]" for i in range(8)}


def test_one_poll_and_the_knob_is_in_the_bank_under_every_spelling(rig: OscRig) -> None:
    for address, number in (
        ("/neiro/timbre[3]", 0.5),
        ("/neiro/timbre/3", -1.25),
        ("/neiro/mix", 0.25),
        ("/neiro/gain_db", -6),
    ):
        rig.send(address, number)
        name = "timbre[3]" if "timbre" in address else address.removeprefix("/neiro/")
        assert rig.desk.bank.values[rig.desk.index[name]] == number
    rig.send("/neiro/mix", 7.0)  # brought into its range, as from a controller
    assert value(rig.desk, "mix") == 1.0
    done: list[tuple[str, float]] = []
    for name in ("snapshot", "snapshot_store", "capture"):
        rig.desk.act(name, lambda number, name=name: done.append((name, number)))  # type: ignore[misc]
    rig.send("/neiro/snapshot", 2)
    rig.send("/neiro/snapshot/store", 3)
    rig.send("/neiro/snapshot_store", 4)
    rig.send("/neiro/capture")
    assert done == [("snapshot", 2), ("snapshot_store", 3), ("snapshot_store", 4), ("capture", 1)]
    assert (rig.server.counts.applied, rig.server.counts.refused) == (9, 0)


def test_presets_by_name_and_by_number(rig: OscRig) -> None:
    for argument, expected in (("gong", 2), ("ALTO SAX", 1), (2, 2), (0.0, 0)):
        rig.send("/neiro/preset", argument)
        assert value(rig.desk, "preset") == expected
    rig.send("/neiro/preset_c", "gong")
    assert value(rig.desk, "preset_c") == 2
    rig.send("/neiro/preset", "tuba")
    assert value(rig.desk, "preset") == 0


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
    rig: OscRig, pattern: str, expected: set[str]
) -> None:
    before = rig.desk.bank.values.copy()
    rig.send(f"/neiro/{pattern}", 0.75)
    turned = {
        target.name for target, a, b in zip(rig.desk.targets, before, rig.desk.bank.values, strict=False) if a != b
    }
    assert turned == expected
    assert rig.server.counts.refused == (not expected)


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
    rig: OscRig, address: str, arguments: tuple[Argument, ...], expected: str
) -> None:
    rig.desk.fixed.add("gain_db")
    before = rig.desk.bank.values.copy()
    rig.send(address, *arguments)
    (answer,) = rig.heard()
    assert answer.address == "/neiro/error"
    assert expected in str(answer.arguments[0])
    assert len(str(answer.arguments[0])) <= 300
    assert (rig.desk.bank.values == before).all()


def test_a_question_is_answered_with_everything(rig: OscRig) -> None:
    rig.desk.set("timbre[2]", 1.5)
    rig.send("/neiro/query")
    answers = rig.heard()
    heard = {message.address: message.arguments for message in answers}
    assert heard.pop("/neiro/presets") == ("Alto sax", "gong")
    assert len(heard) == len(rig.desk.targets)
    assert heard["/neiro/timbre/2"] == (1.5,)
    assert heard["/neiro/preset"] == (0,)
    assert "/neiro/snapshot/store" in heard
    for answer in answers[:-1]:  # what we say can be said to us
        (number,) = answer.arguments
        assert isinstance(number, int | float)
        rig.send(answer.address, number)
    assert rig.server.counts.refused == 0
    rig.send("/neiro/timbre/2")
    assert [message.arguments for message in rig.heard()] == [(1.5,)]


def test_subscribers_hear_all_changes_but_their_own_and_the_last_value_always(rig: OscRig) -> None:
    other = rig.new_socket()
    rig.sockets.append(other)
    rig.send("/neiro/subscribe")
    rig.send("/neiro/subscribe", other.getsockname()[1])
    assert len(rig.heard()) == len(rig.heard(1)) == len(rig.desk.targets) + 1
    for number in range(11):
        rig.desk.set("mix", number / 10, "midi")
    rig.send("/neiro/gain_db", -3)
    rig.pass_time(FEEDBACK_SECONDS)
    rig.desk.set("mix", 0.5, "midi")
    rig.pass_time(FEEDBACK_SECONDS)
    told = [(message.address, message.arguments[0]) for message in rig.heard()]
    others = [(message.address, message.arguments[0]) for message in rig.heard(1)]
    assert told == [("/neiro/mix", 1.0), ("/neiro/mix", 0.5)]
    assert others == [("/neiro/mix", 1.0), ("/neiro/gain_db", -3.0), ("/neiro/mix", 0.5)]
    rig.send("/neiro/unsubscribe")
    rig.desk.set("mix", 0.1)
    rig.pass_time(FEEDBACK_SECONDS)
    assert rig.heard() == []
    assert len(rig.heard(1)) == 1


def test_meters_come_ten_times_a_second_and_what_is_not_measured_does_not(rig: OscRig) -> None:
    assert not rig.server.meters_due
    rig.send("/neiro/subscribe")
    rig.heard()
    sent = 0
    for _ in range(100):
        sent += rig.server.meters_due
        rig.server.send_meters(
            {
                "rms_in": np.float32(0.25),
                "xruns": np.int64(3),
                "provider": "cpu",
                "device_latency_ms": None,
                "hop_ms": math.nan,
            }
        )
        rig.pass_time(METER_SECONDS / 10)
    heard = rig.heard()
    assert sent in (10, 11)
    assert [message.address for message in heard] == [
        "/neiro/meters/rms_in",
        "/neiro/meters/xruns",
        "/neiro/meters/provider",
    ] * sent
    assert heard[0].arguments == (0.25,)


def test_midi_in_osc_and_commands(rig: OscRig) -> None:
    asked: list[str] = []
    rig.server.command("learn", asked.append)
    rig.send("/neiro/learn", "timbre[3]")
    rig.send("/neiro/learn")
    assert asked == ["timbre[3]", ""]
    rig.send("/neiro/midi", 0xB0, 20, 5, 21)  # the second by running status, cut in two
    rig.send("/neiro/midi", 6)
    rig.send_bytes(b"/neiro/midi\0,m\0\0" + bytes([0, 0xC1, 7, 0]))
    rig.send_bytes(b"/neiro/midi\0,b\0\0" + struct.pack(">i", 3) + bytes([0x90, 60, 100, 0]))
    assert rig.midi == [(0xB0, 20, 5), (0xB0, 21, 6), (0xC1, 7), (0x90, 60, 100)]


def test_the_number_of_subscribers_is_bounded_and_dead_ones_do_no_harm(rig: OscRig) -> None:
    for port in range(20_000, 20_000 + SUBSCRIBERS + 5):
        rig.send("/neiro/subscribe", port)
    assert len(rig.server.feedback.subscribers) == SUBSCRIBERS
    rig.desk.set("mix", 0.5)
    rig.pass_time(FEEDBACK_SECONDS)
    rig.send("/neiro/gain_db", -1)
    assert value(rig.desk, "gain_db") == -1


def test_a_port_that_is_taken_or_an_address_that_is_not_ours_is_one_sentence(rig: OscRig) -> None:
    for host, port, expected in (
        (
            LOOPBACK,
            rig.server.port,
            f"OSC port {rig.server.port} of 127.0.0.1 is in use by another program; choose another",
        ),
        ("203.0.113.1", 0, "cannot listen for OSC on 203.0.113.1:0"),
        (LOOPBACK, 70_000, "cannot listen for OSC on 127.0.0.1:70000"),
        ("no.such.host.invalid", 0, "cannot listen for OSC on no.such.host.invalid"),
    ):
        with pytest.raises(OscError) as caught:
            OscServer(rig.desk, host, port, rig.said.append)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
    assert rig.said == [f"OSC: listening on 127.0.0.1:{rig.server.port} (this machine only)"]
