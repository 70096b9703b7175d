"""Which voice plays which key: the one that has been free for longest, else the one that was struck first."""

from __future__ import annotations

from realtime.controls.desk import Desk
from realtime.kinds import VOICES

Key = tuple[int, int]  # channel, note


class KeyVoices:
    """Writes the desk's targets key[i] and key_velocity[i]; does nothing where the bundle has none."""

    def __init__(self) -> None:
        self._playing: dict[Key, int] = {}  # in the order in which they were struck
        self._free = list(range(VOICES))  # the one that has been free for longest first
        self._tied: list[Key] = []  # keys down while tied notes are played, on voice 0

    def press(self, key: Key, velocity: float, desk: Desk, source: str) -> None:
        """velocity : 0 … 1"""
        if "key[0]" not in desk.index:
            return
        if desk.value(desk.index["legato"]) >= 0.5:
            self._tied.append(key)
            self._write(0, key[1], velocity, desk, source)
            return
        self.release(key, desk, source)
        if not self._free:
            stolen = next(iter(self._playing))
            self._free.append(self._playing.pop(stolen))
        voice = self._free.pop(0)
        self._playing[key] = voice
        self._write(voice, key[1], velocity, desk, source)

    def release(self, key: Key, desk: Desk, source: str) -> None:
        if key in self._tied:
            self._tied.remove(key)
            note = self._tied[-1][1] if self._tied else -1
            self._write(0, note, None, desk, source)
        if key in self._playing:
            voice = self._playing.pop(key)
            self._free.append(voice)
            self._write(voice, -1, None, desk, source)

    def release_all(self, channel: int | None, desk: Desk, source: str) -> None:
        """channel : 0 … 15, None for all"""
        for key in (*self._tied, *self._playing):
            if channel is None or key[0] == channel:
                self.release(key, desk, source)

    def _write(self, voice: int, note: float, velocity: float | None, desk: Desk, source: str) -> None:
        if velocity is not None:
            desk.turn(desk.index[f"key_velocity[{voice}]"], velocity, source)
        desk.turn(desk.index[f"key[{voice}]"], note, source)
