"""Snapshots: everything turnable kept under a number, recalled, and morphed between two."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from realtime.controls.desk import LAST_SNAPSHOT, Desk
from realtime.controls.snapshot_file import LONGEST_NAME, Snapshot, SnapshotError, UserTimbre
from realtime.controls.snapshot_morph import between
from realtime.controls.snapshot_store import SnapshotStore
from realtime.controls.timbres import PRESET_TARGETS, Timbres, own_slot
from realtime.knobs.targets import KEY_TARGETS, KnobError

ENDS = ("snapshot_a", "snapshot_b")
# These belong to a key that is held, not to a setting.
MOMENTARY = ("note", "note_velocity", *KEY_TARGETS)
SOURCE = "snapshots"


class Snapshots:
    """The snapshots of one file, recalled, stored and morphed by the desk's snapshot targets (snapshot, snapshot_store,
    snapshot_a, snapshot_b, snapshot_morph).

    path : the file; need not be there yet
    say : called with one line for every recall, store and difficulty
    keep : whether what is stored shall be written to the file

    Raises
    ------
    SnapshotError
        The file is there and cannot be used.
    """

    def __init__(
        self, desk: Desk, timbres: Timbres, path: Path, say: Callable[[str], None], *, keep: bool = True
    ) -> None:
        self._desk, self._timbres, self._say = desk, timbres, say
        self._told: set[str] = set()
        self._whole = {target.name for target in desk.targets if target.whole}
        self._store = SnapshotStore(path, self._check, keep=keep)
        self.all, self.number = self._store.all, self._store.number
        desk.act("snapshot", lambda value: self._attempt(lambda: self.recall(round(value))) if value else None)
        desk.act("snapshot_store", lambda value: self._attempt(lambda: self.store(round(value))) if value else None)
        desk.act("snapshot_morph", lambda value: self._attempt(lambda: self.morph(value)))

    def recall(self, number: int) -> str:
        """Turn every knob to where it was. Returns what to tell.

        Raises
        ------
        SnapshotError
            There is none of that number, or the file was changed and cannot be used.
        """
        snapshot = self._store.get(number)
        self._apply(self._values(snapshot, taken=()))
        return snapshot.title

    def store(self, number: int, name: str | None = None) -> str:
        """Keep every knob under that number; in the file with the next `poll`. Returns what to tell.

        name : None = as it was called

        Raises
        ------
        SnapshotError
            No such number, or the file was changed and cannot be used; nothing is then stored.
        """
        if not 1 <= number <= LAST_SNAPSHOT:
            raise SnapshotError(f"snapshot {number}: numbers go from 1 to {LAST_SNAPSHOT}")
        self._store.refresh()
        old = self._store.find(number)
        knobs = self._knobs()
        own = self._own(knobs)
        for timbre in own:
            self._timbres.keep_safe(timbre.slot)
        if old is not None:  # what another bundle knows and this one does not stays with it
            foreign = [
                timbre
                for timbre in old.own
                if len(timbre.values) != self._timbres.dimensions and timbre.slot not in {t.slot for t in own}
            ]
            known = {f"own {timbre.slot}" for timbre in old.own if timbre not in foreign}
            knobs |= {
                n: key
                for n, key in old.knobs.items()
                if n not in knobs and key not in known and self._number(n, key, {}) is None
            }
            own += foreign
        name = (old.name if old else "") if name is None else name
        snapshot = Snapshot(number=number, name=name[:LONGEST_NAME], knobs=knobs, own=own)
        self._store.put(snapshot)
        return f"stored {snapshot.title}"

    def morph(self, place: float) -> None:
        """Go to a place between the snapshots that snapshot_a and snapshot_b name.

        Raises
        ------
        SnapshotError
            One of them is not there.
        """
        first, second = (round(self._desk.value(self._desk.index[end])) for end in ENDS)
        if not (first and second):
            self._tell_once("snapshot_morph moves nothing until snapshot_a and snapshot_b name two snapshots")
            return
        start = self._values(self._store.get(first), taken=())
        end = self._values(self._store.get(second), taken=self._slots_of(start))
        for values in (start, end):
            for name in ENDS:
                values.pop(name, None)
        self._apply(between(start, end, place, self._whole))

    def poll(self) -> None:
        """Write the file if something was stored."""
        self._write(now=False)

    def close(self) -> None:
        """Write what is not written yet."""
        self._write(now=True)

    def _write(self, *, now: bool) -> None:
        try:
            self._store.write(now=now)
        except SnapshotError as error:  # told once; tried again, as a disk may have room again
            self._tell_once(str(error))

    def _check(self, snapshot: Snapshot, place: str) -> None:
        for name, value in snapshot.knobs.items():
            if name not in self._desk.index or name in PRESET_TARGETS:
                continue
            if isinstance(value, str):
                raise SnapshotError(f"{place}: {name} = {value!r} must be a number")
            target = self._desk.target(name)
            if name not in ENDS and name not in self._desk.bank.index:
                raise SnapshotError(f"{place}: {name} is not a knob that a snapshot keeps; take it out")
            if not target.low <= value <= target.high or (target.whole and value != round(value)):
                kind = "a whole number from " if target.whole else ""
                raise SnapshotError(f"{place}: {name} = {value:g} must be {kind}{target.low:g} … {target.high:g}")

    def _knobs(self) -> dict[str, float | str]:
        knobs: dict[str, float | str] = {}
        for name in (*self._desk.bank.index, *ENDS):
            value = self._desk.value(self._desk.index[name])
            if name in MOMENTARY or value == self._desk.target(name).default or not math.isfinite(value):
                continue
            if name not in PRESET_TARGETS:
                knobs[name] = value
            elif not self._timbres.empty(round(value)):  # an empty slot is one's own timbre, as 0 is
                knobs[name] = self._timbres.key(round(value))
        return knobs

    def _own(self, knobs: dict[str, float | str]) -> list[UserTimbre]:
        """The timbres of one's own that these knobs use."""
        slots = sorted(
            {slot for value in knobs.values() if isinstance(value, str) and (slot := own_slot(value)) is not None}
        )
        timbres = {slot: vector for slot in slots if (vector := self._timbres.timbre(slot)) is not None}
        return [
            UserTimbre(slot=slot, name=self._timbres.name(slot)[:LONGEST_NAME], values=vector.tolist())
            for slot, vector in timbres.items()
        ]

    def _values(self, snapshot: Snapshot, taken: Collection[int]) -> dict[str, float]:
        """A value for every knob; the snapshot's own timbres are put into slots other than those taken."""
        places: dict[int, int] = {}
        for own in snapshot.own:
            if len(own.values) == self._timbres.dimensions:
                places[own.slot] = self._timbres.place(
                    np.array(own.values), own.name, own.slot, {*taken, *places.values()}
                )
        values = {target.name: target.default for target in self._desk.bank.targets if target.name not in MOMENTARY}
        lacking = []
        for name, key in snapshot.knobs.items():
            value = self._number(name, key, places)
            if value is None:
                lacking.append(name)
            else:
                values[name] = value
        if lacking:
            self._tell_once(f"{snapshot.title}: left out, because this model does not know it: {', '.join(lacking)}")
        return values

    def _number(self, name: str, key: float | str, places: dict[int, int]) -> float | None:
        """A knob's value as kept; None if this bundle does not know the knob, the preset, or the timbre."""
        if name not in self._desk.index:
            return None
        if name not in PRESET_TARGETS:
            return float(key)
        slot = own_slot(key) if isinstance(key, str) else None
        number = (
            self._timbres.number_of_key(key)
            if slot is None
            else places.get(slot) and self._timbres.number_of_slot(places[slot])
        )
        return None if number is None else float(number)

    def _slots_of(self, values: dict[str, float]) -> set[int]:
        return {slot for name in PRESET_TARGETS if (slot := self._timbres.slot_of(round(values[name]))) is not None}

    def _apply(self, values: dict[str, float]) -> None:
        desk = self._desk
        for name, value in values.items():
            index = desk.index[name]
            if name not in desk.fixed and desk.value(index) != value:
                desk.turn(index, value, SOURCE)

    def _attempt(self, action: Callable[[], str | None]) -> None:
        """From a controller: nothing is raised, everything is told."""
        try:
            told = action()
        except (SnapshotError, KnobError) as error:
            self._tell_once(str(error))
        else:
            if told:
                self._say(told)

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._say(line)
