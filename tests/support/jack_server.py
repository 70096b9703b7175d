"""A real audio and MIDI server without hardware, for tests: JACK's dummy driver, with a microphone, a loudspeaker and a
keyboard.

The three clients live in a process of their own (this file run as a script), so that killing the server harms no test.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jack.rig import forget_dead_servers

SERVER = os.environ.get("NEIRO_TEST_JACK", "neiro-test")  # one name, reused: the server registry holds only eight
RATE = 44100
PERIOD = 256
PATIENCE = 60.0  # seconds; the machine may be busy
PLUGGED = ("mic", "spk")  # from the start


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`; AssertionError after that many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


def environment() -> dict[str, str]:
    """For every process that shall find the test server and no other."""
    return {**os.environ, "JACK_NO_START_SERVER": "1", "JACK_DEFAULT_SERVER": SERVER, "OMP_NUM_THREADS": "1"}


class JackRig:
    """The server and its three clients, `mic`, `spk` and `keys`.

    folder : for logs and recordings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._clients: subprocess.Popen[str] | None = None
        self._takes = 0
        self._plugged = set(PLUGGED)

    def start_server(self) -> None:
        if shutil.which("jackd") is None:
            raise RuntimeError("jackd is missing; run: make setup")
        forget_dead_servers()
        log = (self._folder / "jackd.log").open("ab")
        command = ["jackd", "-n", SERVER, "-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), start_new_session=True
        )
        log.close()
        wait_until(self._server_answers, "the JACK server")

    def start_clients(self, sound: np.ndarray) -> None:
        """Connect microphone, loudspeaker and keyboard. The microphone loops `sound`, shape (samples,), float32, once
        `play` is called.
        """
        path = self._folder / "sound.npy"
        np.save(path, sound.astype(np.float32))
        log = (self._folder / "clients.log").open("ab")
        self._clients = subprocess.Popen(
            [sys.executable, __file__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
        log.close()
        assert self._answer() == "ready\n", (self._folder / "clients.log").read_text()
        self._plugged = set(PLUGGED)

    def play(self) -> None:
        """Start the sound from its beginning and forget what was recorded."""
        self._ask("play")

    def midi(self, *message: int) -> None:
        self._ask("midi", message)

    def freewheel(self, on: bool) -> None:
        """Let the server run as fast as its clients can, without losing a sample."""
        self._ask("freewheel", on)

    def heard(self) -> tuple[np.ndarray, np.ndarray]:
        """What the loudspeaker got since `play`: sample times counted from the first sample of the sound, (n,);
        samples, (2, n).
        """
        self._takes += 1
        path = self._folder / f"take{self._takes}.npz"
        self._ask("save", str(path))
        with np.load(path) as take:
            return take["times"], take["samples"]

    def elapsed(self) -> int:
        """Samples the loudspeaker got since `play`."""
        return int(self._ask("elapsed"))

    def level(self) -> float:
        """RMS of the last tenth of a second at the loudspeaker."""
        return float(self._ask("level"))

    def unplug(self, name: str) -> None:
        """Take `mic`, `spk` or `duo` away, as a device that is pulled out."""
        self._ask("unplug", name)
        self._plugged.discard(name)

    def plug(self, name: str) -> None:
        """Back again. `duo`, which is not there from the start, has two channels: silence, and what the microphone
        sings.
        """
        self._ask("plug", name)
        self._plugged.add(name)

    def period(self, samples: int) -> None:
        """Change the server's block size while it runs."""
        subprocess.run(
            ["jack_bufsize", str(samples)], env=environment(), capture_output=True, timeout=PATIENCE, check=True
        )

    @property
    def server_pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def ensure(self, sound: np.ndarray) -> None:
        """Server and clients up again, whatever a test did to them."""
        if self._server is None or self._server.poll() is not None:
            self.kill_clients()
            self.start_server()
        if self._clients is None or self._clients.poll() is not None:
            self.start_clients(sound)
        for name in self._plugged.difference(PLUGGED):
            self.unplug(name)
        for name in set(PLUGGED).difference(self._plugged):
            self.plug(name)

    def kill_server(self) -> None:
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def kill_clients(self) -> None:
        if self._clients is not None:
            self._clients.kill()
            self._clients.wait()

    def close(self) -> None:
        self.kill_clients()
        if self._server is not None and self._server.poll() is None:
            self.kill_server()  # asked politely it sometimes hangs
        forget_dead_servers()

    def _server_answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "jackd.log").read_text()
        return subprocess.run(["jack_lsp"], env=environment(), capture_output=True, timeout=PATIENCE).returncode == 0

    def _ask(self, name: str, argument: Any = None) -> Any:
        assert self._clients is not None
        assert self._clients.stdin is not None
        self._clients.stdin.write(json.dumps([name, argument]) + "\n")
        self._clients.stdin.flush()
        answer = self._answer()
        assert answer, f"the JACK clients died at {name!r}: {(self._folder / 'clients.log').read_text()[-500:]}"
        return json.loads(answer)

    def _answer(self) -> str:
        """The clients' next line, "" at their end. Who does not answer is killed, so that the next test gets others."""
        assert self._clients is not None
        assert self._clients.stdout is not None
        if not select.select([self._clients.stdout], [], [], PATIENCE)[0]:
            self.kill_clients()
        return self._clients.stdout.readline()


@contextlib.contextmanager
def jack_rig(folder: Path, sound: np.ndarray) -> Iterator[JackRig]:
    """Server and clients up, and all of it gone afterwards."""
    rig = JackRig(folder)
    try:
        rig.start_server()
        rig.start_clients(sound)
        yield rig
    finally:
        rig.close()


class _Clients:
    """Inside the process of its own: three JACK clients and what they play and record."""

    def __init__(self, sound: np.ndarray) -> None:
        import jack

        self._sound = sound
        self._start: int | None = None  # server time of the sound's first sample; writer: the mic's callback
        self._wanted = False  # writer: the main thread
        self._blocks: list[tuple[int, np.ndarray]] = []
        self._messages: list[tuple[int, ...]] = []
        self._jack = jack
        self._plugged: dict[str, Any] = {}
        self._do_plug("mic")
        self._do_plug("spk")
        self._keys = self._client("keys")
        self._key_out = self._keys.midi_outports.register("out")
        self._keys.set_process_callback(self._press)
        self._keys.activate()

    def _client(self, name: str) -> Any:
        return self._jack.Client(name, no_start_server=True, use_exact_name=True)

    def serve(self) -> None:
        print("ready", flush=True)
        for line in sys.stdin:
            name, argument = json.loads(line)
            print(json.dumps(getattr(self, f"_do_{name}")(argument)), flush=True)

    def _sing(self, client: Any, outs: list[Any], frames: int) -> None:
        now, block = client.last_frame_time, outs[-1].get_array()
        for silent in outs[:-1]:
            silent.get_array().fill(0)
        if self._wanted:
            self._start, self._wanted = now, False
        if self._start is None:
            block.fill(0)
        else:
            np.take(self._sound, np.arange(now - self._start, now - self._start + frames), mode="wrap", out=block)

    def _listen(self, frames: int) -> None:
        self._blocks.append((self._spk.last_frame_time, np.stack([port.get_array() for port in self._ins])))

    def _press(self, _frames: int) -> None:
        self._key_out.clear_buffer()
        while self._messages:
            self._key_out.write_midi_event(0, bytes(self._messages.pop(0)))

    def _do_plug(self, name: str) -> None:
        client = self._plugged[name] = self._client(name)
        if name == "spk":
            self._spk, self._ins = client, [client.inports.register(f"in{i}") for i in (1, 2)]
            client.set_process_callback(self._listen)
        else:
            outs = [client.outports.register(f"out{i}") for i in range(2 if name == "duo" else 1)]
            client.set_process_callback(lambda frames: self._sing(client, outs, frames))
        client.activate()

    def _do_unplug(self, name: str) -> None:
        client = self._plugged.pop(name)
        client.deactivate()
        client.close()

    def _do_play(self, _argument: None) -> None:
        self._blocks = []
        self._wanted = True
        end = time.monotonic() + PATIENCE / 2
        while self._wanted:
            assert time.monotonic() < end, "the server does not call the microphone"
            time.sleep(0.005)

    def _do_midi(self, message: list[int]) -> None:
        self._messages.append(tuple(message))

    def _do_freewheel(self, on: bool) -> None:
        self._spk.set_freewheel(on)

    def _do_save(self, path: str) -> None:
        blocks = self._blocks[:]
        start = self._start or 0
        times = [np.arange(time - start, time - start + block.shape[1]) for time, block in blocks]
        np.savez(path, times=np.concatenate(times), samples=np.concatenate([block for _, block in blocks], axis=1))

    def _do_elapsed(self, _argument: None) -> int:
        return self._blocks[-1][0] - (self._start or 0) if self._blocks else 0

    def _do_level(self, _argument: None) -> float:
        recent = self._blocks[-(RATE // 10 // PERIOD + 1) :]
        return float(np.sqrt(np.mean(np.concatenate([block for _, block in recent], axis=1) ** 2))) if recent else 0.0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Clients(np.load(sys.argv[1])).serve()
