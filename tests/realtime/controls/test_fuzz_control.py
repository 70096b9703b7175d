"""Garbage by MIDI and OSC: a hundred thousand inputs and more; nothing raises, and every target stays a number inside
its range.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.controls.desk import Desk
from realtime.controls.map.file import SOURCES, Knob
from realtime.controls.map.knob_map import KnobMap, load_map, routes_of
from realtime.controls.map.learn import Learner
from realtime.controls.midi.coalesce import coalesced
from realtime.controls.midi.events import PortMessage
from realtime.controls.midi.parser import MidiParser
from realtime.controls.osc.packets import write_message
from realtime.controls.osc.server import LOOPBACK, OscServer
from tests.support.desks import desk_of

MESSAGES, MIDI_EXAMPLES = 250, 400
DATAGRAMS, OSC_EXAMPLES = 80, 150
ENOUGH = 100_000
BARE = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
STATUS = (0x80, 0x90, 0xA0, 0xB0, 0xB0, 0xB0, 0xC0, 0xD0, 0xE0)
# Controllers and values with a meaning of their own.
NASTY = (0, 1, 6, 20, 32, 38, 64, 96, 97, 98, 99, 100, 101, 120, 123, 127)
counted = {"midi": 0, "osc": 0}


def everything_mapped(desk: Desk) -> KnobMap:
    """The built-in map, and every source on many targets with every takeover."""
    numbers = {"cc": 20, "cc14": 1, "nrpn": 129, "rpn": 1, "note": 60}
    extra = []
    for i, (source, name) in enumerate(
        (source, name) for source in SOURCES for name in ("timbre[0]", "gain_db", "preset", "note", "snapshot")
    ):
        takeover = (
            ("jump", "pickup", "scale")[i % 3]
            if source in ("cc", "cc14", "nrpn", "rpn", "pitch_bend", "channel_pressure")
            else "jump"
        )
        chooser, playing = source in ("program_change", "notes"), source == "keys"
        if (chooser and not desk.target(name).whole) or (playing and name != "note"):
            continue
        extra.append(Knob.model_validate({"target": name, source: numbers.get(source, True), "takeover": takeover}))
    built_in = load_map(None, desk)
    built_in.adopt((*built_in.routes, *routes_of(extra, desk, Path("extra.toml"))))
    return built_in


def messages_of(data: bytes) -> list[list[int]]:
    """Four bytes each: mostly whole messages that mean something, some cut short or overlong, some of any bytes."""
    found = []
    for i in range(0, len(data) - 3, 4):
        how, status, number, value = data[i : i + 4]
        status = STATUS[status % len(STATUS)] | (status >> 4 & 1)
        if how < 160:
            found.append(
                [status, NASTY[number % 16] if number & 128 else number & 127, value & 127][
                    : 2 if status & 0xE0 == 0xC0 else 3
                ]
            )
        elif how < 200:
            found.append([status, number, value][: 1 + how % 3])
        elif how < 230:
            found.append([number, value])
        else:
            found.append([how, status, number, value, how])
    return found


def assert_all_in_range(desk: Desk) -> None:
    for i, target in enumerate(desk.targets):
        assert math.isfinite(desk.value(i))
        assert target.low <= desk.value(i) <= target.high
        assert not target.whole or desk.value(i) == round(desk.value(i))


@settings(BARE, max_examples=MIDI_EXAMPLES)
@given(data=st.binary(min_size=4 * MESSAGES, max_size=4 * MESSAGES), way=st.sampled_from(["stream", "flood", "raw"]))
def feed_midi(desk: Desk, knobs: KnobMap, learner: Learner, data: bytes, way: str) -> None:
    """As the control loop does, calm or flooded, behind the parser; or unparsed, which no driver should do."""
    messages: Sequence[Sequence[int]] = messages_of(data)
    counted["midi"] += len(messages)
    if way != "raw":
        parser = MidiParser()
        whole = [message for piece in messages for message in parser.feed(piece)]
        messages = whole if way == "stream" else coalesced(whole)
    for message in messages:
        learner.hear(message)
        knobs.apply(PortMessage(message, "port"), desk)
    learner.poll()
    assert_all_in_range(desk)


def test_garbage_midi_leaves_every_target_in_its_range(tmp_path: Path) -> None:
    desk = desk_of()
    knobs = everything_mapped(desk)
    learner = Learner(desk, knobs, tmp_path / "map.toml", lambda line: None, clock=lambda: 0.0)
    learner.start()
    feed_midi(desk, knobs, learner)
    assert counted["midi"] >= ENOUGH
    assert knobs.applied > ENOUGH / 10  # it was not all noise


def datagrams_of(data: bytes, desk: Desk) -> list[bytes]:
    """Twelve bytes each: targets' addresses with numbers of any size, broken ones, bundles of those, random bytes."""
    found = []
    for i in range(0, len(data) - 11, 12):
        how, which, where, *rest = data[i : i + 12]
        target = desk.targets[which % len(desk.targets)].name
        good = write_message(f"/neiro/{target}", [struct.unpack(">f", bytes(rest[:4]))[0]])
        if how < 120:
            found.append(good)
        elif how < 180:
            place = where % len(good)
            found.append(good[:place] + bytes(rest[: how % 9]) + good[place + how % 3 :])
        elif how < 220:
            size = len(good) if how % 2 else int.from_bytes(bytes(rest[:4]), "big")
            found.append(b"#bundle\0" + bytes(8) + struct.pack(">I", size) + good + bytes(rest[: how % 8]))
        elif how < 230:
            found.append(
                write_message(f"/neiro/{('midi', 'query', 'subscribe', 'learn')[where % 4]}", [*rest[: where % 5]])
            )
        else:
            found.append(b"/" * (how % 2) + bytes([how, which, where, *rest]))
    return found


@settings(BARE, max_examples=OSC_EXAMPLES)
@given(data=st.binary(min_size=12 * DATAGRAMS, max_size=12 * DATAGRAMS))
def feed_osc(desk: Desk, server: OscServer, surface: socket.socket, data: bytes) -> None:
    datagrams = datagrams_of(data, desk)
    for datagram in datagrams:
        surface.sendto(datagram, (LOOPBACK, server.port))
    server.poll()
    counted["osc"] += len(datagrams)
    assert_all_in_range(desk)


def test_garbage_osc_leaves_every_target_in_its_range_and_every_datagram_is_accounted_for() -> None:
    desk = desk_of()
    knobs = everything_mapped(desk)
    server = OscServer(
        desk, LOOPBACK, 0, lambda line: None, presets=["a", "b"], midi=lambda message: knobs.apply(message, desk)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as surface:
        feed_osc(desk, server, surface)
    counts = server.counts
    server.close()
    assert counted["osc"] >= DATAGRAMS * OSC_EXAMPLES
    assert counts.applied + counts.refused + counts.malformed >= counted["osc"] - 0.01 * counted["osc"]
    assert min(counts.applied, counts.malformed) > 100


@pytest.fixture(autouse=True)
def _fresh_counts() -> None:
    counted.update(midi=0, osc=0)
