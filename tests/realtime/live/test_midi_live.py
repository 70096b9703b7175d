"""Real MIDI ports of a real server: two controllers at once, parameters through the wire, a port of our own, and lamps
that follow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.jack.midi import Controller
from benchmarks.jack.rig import PERIOD, RATE
from benchmarks.jack.server import SERVER, JackServer, jack_server, wait_until
from realtime.controls.map.feedback import PER_SECOND, MidiFeedback
from realtime.controls.midi.input import MidiError, MidiInput, list_outputs, list_ports
from tests.support.desks import value
from tests.support.studio import Studio, follow, poll_until

pytestmark = pytest.mark.jack

ARRIVAL_SECONDS = 0.15  # for a message on its way through the server: many periods


@pytest.fixture(scope="module")
def server() -> Iterator[JackServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JACK_DEFAULT_SERVER", SERVER)
        patch.setenv("JACK_NO_START_SERVER", "1")
        with jack_server(RATE, PERIOD) as server:
            yield server


@pytest.fixture
def studio(tmp_path: Path, server: JackServer) -> Iterator[Studio]:
    text = """
    [[knob]]
    cc = 20
    target = "timbre[0]"
    feedback = true
    takeover = "pickup"
    [[knob]]
    nrpn = 300
    target = "timbre[1]"
    [[knob]]
    keys = true
    target = "note"
    [[knob]]
    note = 36
    toggle = true
    target = "timbre_hold"
    feedback = true
    """
    studio = Studio(tmp_path, text, [])
    yield studio
    studio.close()


def test_two_controllers_at_once_lose_nothing_and_keep_their_order(studio: Studio) -> None:
    one, two = studio.plug("fader"), studio.plug("pads")
    assert {"fader:out", "pads:out"} <= set(list_ports())
    turns = [[0xB0, 21 + i % 3, i % 128] for i in range(500)]
    hits = [message for i in range(100) for message in ([0x90, i, 100], [0x80, i, 0])]
    for i in range(5):  # no more at a time than a busy machine's loop hands over in one turn
        one.send(*turns[100 * i : 100 * i + 100])
        two.send(*hits[40 * i : 40 * i + 40])
        studio.until(140 * (i + 1))
    assert [list(message) for message in studio.received if message[0] == 0xB0] == turns
    assert [list(message) for message in studio.received if message[0] != 0xB0] == hits
    assert (studio.midi.counts.received, studio.midi.counts.superseded, studio.midi.counts.dropped) == (700, 0, 0)


def test_what_has_arrived_is_in_the_bank_after_one_poll(studio: Studio) -> None:
    fader = studio.plug("fader")
    fader.send([0xB0, 99, 2], [0xB0, 98, 44], [0xB0, 6, 127], [0xB0, 38, 127], [0x90, 60, 127])
    time.sleep(ARRIVAL_SECONDS)
    studio.midi.poll()
    assert value(studio.desk, "timbre[1]") == 3
    assert value(studio.desk, "note") == 60


def test_a_controller_that_is_unplugged_lets_go_of_its_keys_and_comes_back(studio: Studio) -> None:
    fader, pads = studio.plug("fader"), studio.plug("pads")
    fader.send([0x90, 60, 100])
    pads.send([0xB0, 20, 64])
    studio.until(2)
    assert value(studio.desk, "note") == 60
    fader.unplug()
    poll_until(studio.midi, lambda: "MIDI input gone: fader:out" in studio.said, "the fader to vanish")
    assert value(studio.desk, "note") == -1
    pads.send([0xB0, 20, 65])
    studio.until(4)  # with the message that let go
    time.sleep(1)  # the server forgets a dead client a little later
    studio.plug("fader").send([0x90, 62, 100])
    poll_until(studio.midi, lambda: value(studio.desk, "note") == 62, "a key after coming back")


def test_other_programs_reach_the_port_that_we_open(studio: Studio) -> None:
    """Our own port is offered to others, and never connected to ourselves."""
    studio.midi = MidiInput(["nobody"], studio.receive, studio.said.append)
    poll_until(studio.midi, lambda: studio.midi.virtual, "the virtual port")
    assert studio.midi.virtual is not None
    assert f"MIDI input: {studio.midi.virtual}, for other programs to connect to" in studio.said
    fader = studio.controllers["fader"] = Controller("fader")
    fader.connect("fader:out", studio.midi.virtual)
    fader.send([0xB0, 99, 2], [0xB0, 98, 44], [0xB0, 6, 0])
    studio.until(3)
    assert value(studio.desk, "timbre[1]") == -3
    assert not any(name.startswith("neiro") for name in (*list_ports(), *list_outputs()))


def test_lamps_follow_what_moved_elsewhere_and_are_not_told_what_they_did(studio: Studio) -> None:
    now = 0.0
    feedback = MidiFeedback(
        studio.desk, studio.knobs, [], studio.said.append, inputs=lambda: studio.midi.names, clock=lambda: now
    )
    try:
        fader = studio.plug("fader")
        studio.desk.set("timbre[0]", 1.5)
        feedback.poll()
        assert "MIDI output: fader:in" in studio.said
        lamps: list[list[int]] = []

        def lit(count: int) -> bool:
            feedback.poll()
            lamps.extend(fader.heard())
            return len(lamps) >= count

        wait_until(lambda: lit(2), "the whole state")
        assert lamps == [[0xB0, 20, 96], [0x90, 36, 0]]  # 1.5 of −3 … 3 on a controller whose middle is 64
        fader.send([0xB0, 20, 127])  # a motor has put it at 1.5, so it holds at once
        studio.until(1)
        assert value(studio.desk, "timbre[0]") == 3
        for step in range(101):  # one second of turning elsewhere
            now = step / 100
            studio.desk.set("timbre[0]", -step / 100)
            feedback.poll()
        studio.desk.set("timbre_hold", 1)
        now += 1 / PER_SECOND
        wait_until(lambda: lit(3) and [0x90, 36, 127] in lamps, "the lamp of a pad")
        faders = [message[2] for message in lamps[2:] if message[:2] == [0xB0, 20]]
        assert 127 not in faders  # no echo
        assert 10 < len(faders) <= PER_SECOND + 2
        assert faders[-1] == 43  # −1, the last value
        assert faders == sorted(faders, reverse=True)
    finally:
        feedback.close()


def test_feedback_goes_to_a_chosen_output_and_finds_it_when_it_comes_back(studio: Studio) -> None:
    feedback = MidiFeedback(studio.desk, studio.knobs, ["lamps"], studio.said.append)
    try:
        with pytest.raises(MidiError, match="no MIDI output named 'lamps'; there are: "):
            feedback.require()
        for _ in range(2):
            lamps = studio.controllers["lamps"] = Controller("lamps")
            feedback.require()

            def lit(lamps: Controller = lamps) -> bool:
                feedback.poll()
                return [0xB0, 20, 64] in lamps.heard()

            wait_until(lit, "the lamps")
            lamps.unplug()
            follow(feedback, lambda: studio.said[-1] == "MIDI output gone: lamps:in", "the lamps to vanish")
            time.sleep(1)
    finally:
        feedback.close()


def test_ten_thousand_messages_a_second_of_garbage_do_not_lose_the_control(studio: Studio) -> None:
    """Random bytes from one port, a player on another; in the end the last message decides where both knobs are."""
    noise, fader = studio.plug("noise"), studio.plug("fader")
    dice = random.Random(1)
    garbage = [
        [dice.randrange(0, 0xF0), *(dice.randrange(256) for _ in range(dice.randrange(4)))] for _ in range(20_000)
    ]
    noise.send(*garbage)
    fader.send([0xB5, 99, 2], [0xB5, 98, 44], *[[0xB5, 6, i] for i in range(127)])
    noise.send([0xBF, 20, 0], [0xBF, 20, 127])
    poll_until(studio.midi, lambda: (0xBF, 20, 127) in studio.received[-5000:], "the end of the flood")
    fader.send([0xB5, 6, 127])
    poll_until(studio.midi, lambda: value(studio.desk, "timbre[1]") == 3, "the player's knob")
    counts = studio.midi.counts
    assert counts.skipped_bytes > 1000
    assert counts.dropped == counts.overflows == 0
    assert all(target.low <= studio.desk.value(i) <= target.high for i, target in enumerate(studio.desk.targets))


def test_a_stall_of_the_loop_loses_nothing_that_matters(studio: Studio) -> None:
    """A second without a poll at 10,000 messages a second: superseded values are left out and counted, the last ones
    and the notes are there.
    """
    fader = studio.plug("fader")
    fader.send(*[[0xB0, 70, i % 128] for i in range(5000)], [0x90, 61, 100], [0xB0, 20, 0], [0xB0, 20, 127])
    time.sleep(1.2)
    polls = 0
    while (0xB0, 20, 127) not in studio.received:
        studio.midi.poll()
        polls += 1
        assert polls < 1000
        time.sleep(0.003)
    assert value(studio.desk, "note") == 61
    counts = studio.midi.counts
    assert counts.superseded > 3000
    assert 0 <= 5003 - (counts.received + counts.superseded) <= fader.may_be_lost


def test_a_wanted_port_that_is_not_there_is_named_with_what_is(studio: Studio) -> None:
    studio.controllers["fader"] = Controller("fader")
    with pytest.raises(MidiError, match=r"no MIDI input named 'nanoKONTROL'; there are: .*fader"):
        MidiInput(["nanoKONTROL"], lambda message: None, lambda line: None).require()


def test_everything_comes_back_with_a_new_server(tmp_path: Path, server: JackServer) -> None:
    """Last in this file, because it kills the server."""
    studio = Studio(tmp_path, '[[knob]]\ncc = 20\ntarget = "mix"\nfeedback = true', ["fader"])
    feedback = MidiFeedback(studio.desk, studio.knobs, ["fader"], studio.said.append)
    try:
        fader = studio.plug("fader")
        fader.send([0xB0, 20, 0])
        studio.until(1)
        follow(feedback, lambda: "MIDI output: fader:in" in studio.said, "the output")
        server.kill()
        fader.unplug()
        studio.midi.poll()
        feedback.poll()
        server.start()
        studio.midi.reopen()
        feedback.reopen()
        studio.plug("fader").send([0xB0, 20, 127])
        poll_until(studio.midi, lambda: value(studio.desk, "mix") == 1, "a message through the new server")
        follow(feedback, lambda: studio.said.count("MIDI output: fader:in") == 2, "the output again")
        assert sum("for other programs" in line for line in studio.said) == 2
        assert studio.midi.virtual is not None
    finally:
        studio.close()
        feedback.close()


def test_without_a_midi_system_there_are_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "neiro-nobody")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    assert list_ports() == list_outputs() == []
