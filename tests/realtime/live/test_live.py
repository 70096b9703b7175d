"""Playing live on a real audio server: what arrives, what a knob does, and who is left after which death."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.jack.rig import RATE, JackRig, jack_rig
from benchmarks.jack.server import PATIENCE, environment, wait_until
from tests.support.bundles import make_bundle

pytestmark = pytest.mark.jack

ROOT = Path(__file__).resolve().parents[3]
AUDIBLE = 0.003  # RMS; the quietest tenth of a second of the phrase is louder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("live") / "small.bundle")


@pytest.fixture(scope="module")
def jack(tmp_path_factory: pytest.TempPathFactory, phrase: np.ndarray) -> Iterator[JackRig]:
    with jack_rig(tmp_path_factory.mktemp("rig"), phrase) as rig:
        yield rig


@pytest.fixture
def rig(jack: JackRig, phrase: np.ndarray) -> JackRig:
    jack.ensure()
    return jack


class Performance:
    """`python -m realtime.run` between the microphone and the loudspeaker, as a user would start it."""

    def __init__(self, rig: JackRig, folder: Path, bundle: Path, *options: str) -> None:
        self._rig = rig
        self._log = folder / "performance.log"
        self.json = folder / "performance.json"
        command = [
            sys.executable,
            "-m",
            "realtime.run",
            "--input-device",
            "mic",
            "--output-device",
            "spk",
            "--json",
            str(self.json),
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--bundle", str(bundle), *options],
                cwd=ROOT,
                env=environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.audio_process = 0

    def wait_for_sound(self) -> None:
        self._rig.clients.play()
        wait_until(lambda: self._alive() and self._rig.clients.level() > AUDIBLE, "sound at the loudspeaker")
        self.audio_process = children(self.process.pid)[0]

    def wait_for_line(self, pattern: str, times: int = 1) -> None:
        wait_until(lambda: len(re.findall(pattern, self.said())) >= times, f"{pattern!r} in:\n{self.said()}")

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> dict:
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.said()
        return json.loads(self.json.read_text(encoding="utf-8"))

    def clean_up(self) -> None:
        for pid in (self.process.pid, self.audio_process):
            with contextlib.suppress(ProcessLookupError):
                if pid and exists(pid):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.said()
        return True


@pytest.fixture
def perform(rig: JackRig, bundle: Path, tmp_path: Path) -> Iterator[Performance]:
    performance = Performance(rig, tmp_path, bundle)
    try:
        performance.wait_for_sound()
        performance.wait_for_line("MIDI input: keys")
        yield performance
    finally:
        performance.clean_up()


def children(pid: int) -> list[int]:
    """The oldest first: the audio process, then perhaps its spare."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def exists(pid: int) -> bool:
    """Also false for a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def heard_at_full_speed(rig: JackRig, phrase: np.ndarray, seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Loudspeaker samples (2, n), and what the microphone sang at the very same sample times (n,). The server waits for
    every client.
    """
    rig.clients.freewheel(True)
    try:
        rig.clients.play()
        wait_until(lambda: rig.clients.elapsed() > seconds * RATE, f"{seconds} s of sound")
    finally:
        rig.clients.freewheel(False)
    times, samples = rig.clients.recorded()
    chosen = (times >= RATE // 2) & (times < seconds * RATE)  # changing speed may cost a block at the start
    return samples[:, chosen], phrase[times[chosen] % len(phrase)]


def recently(rig: JackRig, phrase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for the coming half second in real time, where a busy machine may lose a block."""
    rig.clients.play()
    wait_until(lambda: rig.clients.elapsed() > RATE // 2, "half a second of sound")
    times, samples = rig.clients.recorded()
    return samples[:, times >= 0], phrase[times[times >= 0] % len(phrase)]


def share_unchanged(rig: JackRig, phrase: np.ndarray) -> float:
    heard, sung = recently(rig, phrase)
    return float(np.mean((heard[0] == sung)[sung != 0]))


def test_at_rest_the_sound_arrives_unchanged_without_a_sample_of_delay(
    perform: Performance, rig: JackRig, phrase: np.ndarray
) -> None:
    heard, sung = heard_at_full_speed(rig, phrase, 10)
    assert heard.shape[1] > 9 * RATE
    assert np.array_equal(heard[0], sung)
    assert np.array_equal(heard[1], sung)  # one channel is played on both outputs
    account = perform.end()
    assert account["latency_samples"] == 0
    assert account["hops"] > 0
    assert account["failed_hops"] == account["callback_errors"] == account["restarts"] == 0


def test_controllers_change_the_sound_and_the_middle_brings_it_back(
    perform: Performance, rig: JackRig, phrase: np.ndarray
) -> None:
    rig.clients.midi(0xB0, 29, 0)
    wait_until(lambda: rig.clients.level() < AUDIBLE / 3, "gain −60 dB")
    rig.clients.midi(0xB0, 29, 64)
    wait_until(lambda: rig.clients.level() > AUDIBLE, "gain 0 dB")
    rig.clients.midi(0xB0, 20, 127)
    rig.clients.midi(0xC0, 1)

    wait_until(lambda: share_unchanged(rig, phrase) == 0, "a different timbre")
    heard, sung = recently(rig, phrase)
    assert np.std(heard[0] - sung) > 0.05 * np.std(sung)
    rig.clients.midi(0xB0, 20, 64)
    rig.clients.midi(0xC0, 0)
    wait_until(lambda: share_unchanged(rig, phrase) > 0.9, "the original, bit by bit")
    account = perform.end()
    assert account["midi_messages"] == 6
    assert account["knobs"]["timbre[0]"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_the_summary_and_nobody_left(perform: Performance, number: int) -> None:
    account = perform.end(number)
    assert account["audio_seconds"] > 0
    assert account["real_time_factor"] > 0
    assert "real-time factor" in perform.said()
    assert not exists(perform.audio_process)


def test_after_the_death_of_the_audio_process_the_sound_is_back_with_its_knobs(
    perform: Performance, rig: JackRig, phrase: np.ndarray
) -> None:
    rig.clients.midi(0xB0, 29, 32)  # half way down to −60 dB
    wait_until(lambda: rig.clients.level() < 0.1 * float(np.std(phrase)), "gain −30 dB")
    os.kill(perform.audio_process, signal.SIGKILL)
    perform.wait_for_line("the sound stopped: .*signal 9")
    perform.wait_for_line("the sound is back")
    new = children(perform.process.pid)[0]
    assert new != perform.audio_process
    perform.audio_process = new

    def attenuated() -> bool:
        heard, sung = recently(rig, phrase)
        return float(np.mean(np.abs(heard[0] - sung * 10 ** (-30 / 20)) < 1e-6)) > 0.9

    wait_until(attenuated, "the sound with the old gain")
    account = perform.end()
    assert account["restarts"] == 1
    assert account["knobs"]["gain_db"] == -30


def test_after_the_death_of_the_server_the_sound_and_the_controllers_are_back(
    perform: Performance, rig: JackRig, phrase: np.ndarray
) -> None:
    rig.server.kill()
    rig.clients.close()
    perform.wait_for_line("the sound stopped: .*went away")
    wait_until(lambda: not exists(perform.audio_process), "the deaf audio process to leave")
    rig.server.start()
    rig.start_clients()
    rig.clients.play()
    perform.wait_for_line("the sound is back")
    wait_until(lambda: rig.clients.level() > AUDIBLE, "sound through the new server")
    perform.wait_for_line("MIDI input: keys", times=2)
    rig.clients.midi(0xB0, 29, 0)
    wait_until(lambda: rig.clients.level() < AUDIBLE / 3, "the controller to work again")
    perform.audio_process = children(perform.process.pid)[0]
    assert perform.end()["restarts"] >= 1


def test_devices_by_number_part_of_a_name_and_blocks_of_a_fixed_size(
    rig: JackRig, bundle: Path, tmp_path: Path
) -> None:
    listing = run("--list-devices").stdout
    number = {name: re.search(rf"(\d+)\s+{name}\s+JACK", listing)[1] for name in ("mic", "spk")}  # type: ignore[index]
    assert "keys:out" in run("--list-midi").stdout
    rig.clients.play()
    done = run(
        "--input-device",
        number["mic"],
        "--output-device",
        "SP",
        "--block-size",
        "333",
        "--seconds",
        "1",
        "--bundle",
        str(bundle),
    )
    assert done.returncode == 0, done.stderr
    assert "playing mic, JACK Audio Connection Kit → spk" in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--device", "77"], "no sound device '77'; there are: .*mic"),
        (
            ["--input-device", "mic", "--output-device", "spk", "--channels", "3"],
            "--channels 3: mic.* has 1 input; use --channels 1",
        ),
        (
            ["--input-device", "mic", "--output-device", "spk", "--midi-port", "nano"],
            "no MIDI input named 'nano'; there are: keys",
        ),
        (["--input-device", "mic", "--output-device", "spk", "--provider", "cuda"], "CUDA|cuda"),
    ],
)
def test_what_is_not_there_is_one_sentence(rig: JackRig, bundle: Path, options: list[str], expected: str) -> None:
    done = run(*options, "--bundle", str(bundle))
    assert done.returncode == 2
    assert re.fullmatch(rf".*(?:{expected}).*\n", done.stderr), done.stderr


def test_without_a_server_there_is_no_device_and_one_sentence(rig: JackRig, bundle: Path) -> None:
    rig.close()
    done = run("--device", "0", "--bundle", str(bundle))
    assert done.returncode == 2
    assert re.fullmatch(r"(there are no sound devices here|no sound device).*\n", done.stderr), done.stderr


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "realtime.run", *options],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
