"""A JACK server with clients that play, record and send MIDI, exact to the sample.

Everything started here ends with the `with` block it was started in, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.jack.lines import LineProcess
from benchmarks.jack.server import PATIENCE, JackServer, wait_until

NAMES = ("mic", "spk", "keys")
RATE = 44100  # Hz
PERIOD = 256  # samples


class Clients:
    """Microphone `mic`, loudspeaker `spk` and keyboard `keys` in a process of their own (`benchmarks.jack.clients`).

    folder : for sounds and recordings
    """

    def __init__(self, folder: Path, names: Sequence[str] = NAMES) -> None:
        self._folder, self._takes = folder, 0
        self._names = self._plugged = frozenset(names)
        self._process = LineProcess("the process of the JACK clients", ["-m", "benchmarks.jack.clients", *names])

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process.running

    def load(self, sound: np.ndarray) -> None:
        """What the microphone will loop, (samples,), full scale 1."""
        path = self._folder / "sound.npy"
        np.save(path, sound.astype(np.float32))
        self._process.ask("load", str(path))

    def play(self) -> None:
        """Start the sound from its beginning and forget what was recorded."""
        self._process.ask("play")

    def midi(self, *message: int) -> None:
        """Send a message now."""
        self._process.ask("midi", message)

    def midi_at(self, events: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Send messages at samples counted from the first of the sound, ascending; before `play`."""
        self._process.ask("midi_at", events)

    def freewheel(self, on: bool) -> None:
        """Let the server run as fast as its clients can, without losing a sample."""
        self._process.ask("freewheel", on)

    def period(self, samples: int) -> None:
        """Change the server's."""
        self._process.ask("period", samples)

    def elapsed(self) -> int:
        """Samples the loudspeaker got since `play`."""
        return int(self._process.ask("elapsed"))

    def level(self) -> float:
        """RMS of the last tenth of a second at the loudspeaker."""
        return float(self._process.ask("level"))

    def unplug(self, name: str) -> None:
        """Take a client away, as a device that is pulled out."""
        self._process.ask("unplug", name)
        self._plugged -= {name}

    def plug(self, name: str) -> None:
        """Back again. `duo` has two channels: silence, and what the microphone sings."""
        self._process.ask("plug", name)
        self._plugged |= {name}

    def plug_as_at_start(self) -> None:
        for name in self._plugged - self._names:
            self.unplug(name)
        for name in self._names - self._plugged:
            self.plug(name)

    def recorded(self) -> tuple[np.ndarray, np.ndarray]:
        """What the loudspeaker got since `play`.

        Returns
        -------
        times : (n,), samples counted from the first of the sound
        samples : (2, n)
        """
        self._takes += 1
        path = self._folder / f"take{self._takes}.npz"
        self._process.ask("save", str(path))
        with np.load(path) as take:
            times, samples = take["times"], take["samples"]
        path.unlink()
        return times, samples

    def heard(self, samples: int) -> np.ndarray:
        """Wait for that much sound. Returns its first channel, (samples,), NaN where the server lost time."""
        wait_until(lambda: self.elapsed() >= samples, f"{samples} samples of sound", PATIENCE + samples / RATE)
        times, recorded = self.recorded()
        out = np.full(samples, np.nan)
        inside = (times >= 0) & (times < samples)
        out[times[inside]] = recorded[0, inside]
        return out

    def close(self) -> None:
        self._process.close()


class JackRig:
    """A server and its clients, each of which may die and be started again.

    folder : for sounds and recordings
    sound : what the microphone loops once `clients.play` is called, (samples,)
    """

    def __init__(self, folder: Path, sound: np.ndarray) -> None:
        self._folder, self._sound = folder, sound
        self.server = JackServer(RATE, PERIOD)
        self.server.start()
        try:
            self.start_clients()
        except BaseException:
            self.server.close()
            raise

    def start_clients(self) -> None:
        self.clients = Clients(self._folder)
        self.clients.load(self._sound)

    def ensure(self) -> None:
        """Server and clients up again, whatever was done to them."""
        if not self.server.running:
            self.clients.close()
            self.server.start()
        if not self.clients.running:
            self.start_clients()
        self.clients.plug_as_at_start()

    def close(self) -> None:
        self.clients.close()
        self.server.close()


@contextlib.contextmanager
def jack_rig(folder: Path, sound: np.ndarray) -> Iterator[JackRig]:
    """Server and clients up, and all of it gone afterwards."""
    rig = JackRig(folder, sound)
    try:
        yield rig
    finally:
        rig.close()
