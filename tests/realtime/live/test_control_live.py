"""The control process as a user meets it, on a real audio server: MIDI, OSC and typed lines store, recall, capture; the
live line; recording.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from benchmarks.jack.rig import RATE, JackRig, jack_rig
from benchmarks.jack.server import PATIENCE, environment, wait_until
from realtime.controls.snapshot_file import read_snapshots
from tests.support.bundles import TIMBRE, make_bundle

pytestmark = pytest.mark.jack
MAP = """
[[knob]]
program_change = true
target = "snapshot"
[[knob]]
cc = 30
target = "snapshot_store"
[[knob]]
note = 60
target = "capture"
value = 2
[[knob]]
cc = 31
target = "mix"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("control") / "small.bundle")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, phrase: np.ndarray) -> Iterator[JackRig]:
    with jack_rig(tmp_path_factory.mktemp("rig"), phrase) as rig:
        rig.clients.play()
        yield rig


class Program:
    """`python -m realtime.run` at a terminal of its own, in a folder of its own."""

    def __init__(self, folder: Path, bundle: Path, *options: str) -> None:
        self._log, self._json = folder / "said.log", folder / "account.json"
        (folder / "map.toml").write_text(MAP)
        self._terminal, terminal = pty.openpty()
        command = [
            sys.executable,
            "-m",
            "realtime.run",
            "--input-device",
            "mic",
            "--output-device",
            "spk",
            "--bundle",
            str(bundle),
        ]
        command += ["--map", "map.toml", "--json", str(self._json), *options]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(),
                stdin=terminal,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(terminal)
        self.wait_for("playing mic")

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said()
            return re.search(pattern, self.said())

        return wait_until(found, f"{pattern!r} in:\n{self.said()}")

    def type(self, line: str) -> None:
        os.write(self._terminal, line.encode() + b"\n")

    def end(self, stop: Callable[[], object]) -> dict:
        stop()
        assert self.process.wait(PATIENCE) == 0, self.said()
        return json.loads(self._json.read_text(encoding="utf-8"))

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._terminal)


@pytest.fixture
def start(bundle: Path, rig: JackRig, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def start(*options: str) -> Program:
        started.append(Program(tmp_path, bundle, *options))
        return started[-1]

    yield start
    for program in started:
        program.close()


def test_midi_stores_captures_learns_and_recalls_and_it_outlives_the_program(
    start: Callable[..., Program], rig: JackRig, tmp_path: Path
) -> None:
    program = start()
    program.wait_for("MIDI input: keys")
    rig.clients.midi(0x90, 60, 100)
    program.wait_for(r"captured the timbre heard now as own 2 \(preset 4\)")
    rig.clients.midi(0xB0, 31, 0)
    rig.clients.midi(0xB0, 30, 7)
    wait_until((tmp_path / "neiro-snapshots.toml").exists, "the file of the snapshots")
    kept = read_snapshots(tmp_path / "neiro-snapshots.toml")[7]
    assert kept.knobs == {"preset": "own 2", "mix": 0.0}
    assert len(kept.own[0].values) == TIMBRE
    program.type("l")
    program.wait_for("touch a control; or type")
    for value in (10, 20, 30):
        rig.clients.midi(0xB0, 77, value)
    program.wait_for("CC 77, channel 1: type what it shall move")
    program.type("variation_scale")
    program.wait_for("variation_scale, saved in map.toml")
    program.type("done")
    program.wait_for("learning is over")
    rig.clients.midi(0xB0, 77, 0)
    rig.clients.midi(0xB0, 31, 127)
    rig.clients.midi(0xC0, 7)
    program.wait_for(r"(?m)^snapshot 7")  # not the line that told of storing it
    account = program.end(lambda: program.process.send_signal(signal.SIGINT))
    assert (account["knobs"]["mix"], account["knobs"]["preset"], account["knobs"]["preset_amount"]) == (0, 4, 1)
    assert account["knobs"]["variation_scale"] == 1  # turned to 0, and recalled
    other = start("--snapshot", "7", "--knob", "gain_db=-6")
    account = other.end(lambda: other.process.send_signal(signal.SIGTERM))
    assert (account["knobs"]["mix"], account["knobs"]["preset"], account["knobs"]["gain_db"]) == (0, 4, -6)


def test_typed_lines_osc_the_live_line_and_a_recording(
    start: Callable[..., Program], rig: JackRig, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = start("--osc", str(port), "--monitor", "--record", "take.wav", "--resynth", "--latency-ms", "10")
    line = program.wait_for(
        r"in -\d+/-\d+ dB  out -\d+/-?\d+ dB  hop [\d.]+/[\d.]+ ms  late \d+  xruns \d+  latency "
        r"([\d.]+)\+.*  resynth  your own timbre  playing"
    )
    assert 0 < float(line[1]) <= 10.5
    program.type("p alto")
    program.wait_for("preset 1: alto")
    program.type("k preset_b=gong")
    program.type("s 3 night")
    program.wait_for(r"stored snapshot 3 \(night\)")
    program.type("k mix=2")
    program.wait_for(r"mix=2 is outside 0 … 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        for address, value in (("/neiro/preset", 0), ("/neiro/snapshot", 3), ("/neiro/preset_b", None)):
            message = OscMessageBuilder(address)
            if value is not None:
                message.add_arg(value)
            sender.sendto(message.build().dgram, ("127.0.0.1", port))
        answer = sender.recv(4096)
    found = OscMessage(answer[answer.index(b"/neiro") :])
    assert (found.address, found.params) == ("/neiro/preset_b", [2])
    program.wait_for(r"playing\n(?:.*\n)*.*  alto  playing")
    program.type("nonsense")
    program.wait_for(r"nothing is called 'nonsense'; \? shows what can be typed")
    account = program.end(lambda: program.type("q"))
    assert account["knobs"]["preset"] == 1
    assert account["latency_samples"] > 0
    take, rate = soundfile.read(tmp_path / "take.wav")
    assert (len(take), rate, account["lost_frames"]) == (account["recorded_frames"], RATE, 0)
    assert len(take) > RATE // 2
    assert np.std(take) > 0.001
    assert re.search(r"recorded +\d+ frames, 0 lost", program.said())
