"""Timbres of one's own, captured or loaded, in the bank's slots beside the bundle's presets; and presets by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection

import numpy as np

from realtime.bundle import Manifest
from realtime.controls.desk import Desk
from realtime.knobs.targets import SLOTS, KnobError

PRESET_TARGETS = ("preset", "preset_b", "preset_c", "preset_d")
SOURCE = "timbres"


class Timbres:
    """Presets of the bundle and of one's own. Used from the control thread only.

    heard : gives z^t as heard now, (D,), or None while nothing was heard
    say : called with one line when the desk's target `capture` is turned
    """

    def __init__(
        self, desk: Desk, manifest: Manifest, heard: Callable[[], np.ndarray | None], say: Callable[[str], None]
    ) -> None:
        self._desk, self._heard, self._say = desk, heard, say
        self._slots = desk.bank.slots
        self._presets = [preset.name for preset in manifest.presets]
        self._names = [""] * SLOTS
        self._safe: set[int] = set()  # slots whose timbre lies in a snapshot or file, and so may give way
        desk.act("capture", self._capture)

    @property
    def dimensions(self) -> int:
        return int(self._slots.shape[1])

    def capture(self, slot: int) -> str:
        """Keep the timbre heard now in slot 1 … and play with it. Returns what to tell.

        Raises
        ------
        KnobError
            No such slot, or nothing was heard yet.
        """
        self._desk.target("capture")
        if not 1 <= slot <= SLOTS:
            raise KnobError(f"capture {slot}: there are slots 1 … {SLOTS}")
        heard = self._heard()
        if heard is None or not np.isfinite(heard).all():
            raise KnobError("nothing was heard yet; play a note, then capture its timbre")
        self._put(slot, heard, f"captured {slot}", safe=False)
        self.select(slot)
        return f"captured the timbre heard now as own {slot} (preset {len(self._presets) + slot}), and playing with it"

    def load(self, vector: np.ndarray, name: str) -> int:
        """Put a timbre, (D,), into the next free slot. Returns the slot, 1 ….

        Raises
        ------
        KnobError
            All slots are taken.
        """
        free = [slot for slot in range(1, SLOTS + 1) if self.timbre(slot) is None]
        if not free:
            raise KnobError(f"{name}: all {SLOTS} slots for timbres of your own are taken")
        self._put(free[0], vector, name, safe=False)
        return free[0]

    def select(self, slot: int) -> None:
        for name, value in (("preset", len(self._presets) + slot), ("preset_amount", 1.0)):
            if name not in self._desk.fixed:
                self._desk.turn(self._desk.index[name], value, SOURCE)

    def timbre(self, slot: int) -> np.ndarray | None:
        """What slot 1 … holds, (D,), a view; None if it is empty."""
        row = self._slots[slot - 1]
        return row if np.isfinite(row).all() else None

    def empty(self, number: int) -> bool:
        """Whether a preset number means a slot without a timbre."""
        slot = self.slot_of(number)
        return slot is not None and self.timbre(slot) is None

    def name(self, slot: int) -> str:
        return self._names[slot - 1] or f"own {slot}"

    def place(self, vector: np.ndarray, name: str, wanted: int, taken: Collection[int]) -> int:
        """A slot that holds this timbre of a snapshot: one that has it already, else the wanted one or another whose
        timbre can spare its place.

        taken : slots that must stay as they are
        """
        order = [wanted, *(slot for slot in range(1, SLOTS + 1) if slot != wanted)]
        held = {slot: self.timbre(slot) for slot in order}
        for slot, present in held.items():
            if present is not None and np.array_equal(present, vector):
                return slot
        free = [slot for slot in order if slot not in taken] or [wanted]
        empty = [slot for slot in free if held[slot] is None]
        spare = [slot for slot in free if slot in self._safe]
        best = [slot for slot in (*empty, *spare) if slot == wanted] + empty + spare
        slot = best[0] if best else free[0]
        if not best:
            self._say(
                f"own {slot} ({self.name(slot)}) gave way to {name or 'a timbre'} of the snapshot: all {SLOTS} slots "
                "were taken"
            )
        self._put(slot, vector, name, safe=True)
        return slot

    def keep_safe(self, slot: int) -> None:
        """This slot's timbre now lies in a snapshot too."""
        self._safe.add(slot)

    def number(self, wanted: str) -> int:
        """The preset meant by a number, a name or a unique part of one, or "own 1".

        Raises
        ------
        KnobError
            Not there, or ambiguous.
        """
        text = wanted.strip().casefold()
        if text.isdecimal() and int(text) <= len(self._presets) + SLOTS:
            return int(text)
        if (own := own_slot(text)) is not None:
            return len(self._presets) + own
        names = {
            len(self._presets) + slot: self.name(slot) for slot in range(1, SLOTS + 1) if self.timbre(slot) is not None
        }
        names = {**dict(enumerate(self._presets, 1)), **names}
        exact = [number for number, name in names.items() if name.casefold() == text]
        found = exact or [number for number, name in names.items() if text and text in name.casefold()]
        if len(found) == 1:
            return found[0]
        if found:
            raise KnobError(
                f"preset {wanted!r} could be {', '.join(names[number] for number in found)}; write more of the name"
            )
        close = difflib.get_close_matches(wanted, list(names.values()), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are 0 … {len(self._presets)}; --list-knobs names them"
        raise KnobError(f"no preset {wanted!r}; {hint}")

    def title(self, number: int) -> str:
        """What to call a preset number to the user."""
        if number == 0:
            return "your own timbre"
        slot = number - len(self._presets)
        if slot < 1:
            return self._presets[number - 1]
        return self.name(slot) if self.timbre(slot) is not None else f"own {slot}, empty"

    def key(self, number: int) -> str | float:
        """How a preset number is written down: as "own k", by name, or by number where the name is not unique."""
        slot = number - len(self._presets)
        if slot >= 1:
            return f"own {slot}"
        unique = (
            number >= 1
            and self._presets.count(self._presets[number - 1]) == 1
            and own_slot(self._presets[number - 1]) is None
        )
        return self._presets[number - 1] if unique else float(number)

    def number_of_key(self, key: str | float) -> int | None:
        """The other way round; None for a preset that this bundle does not have."""
        if isinstance(key, str):
            return self._presets.index(key) + 1 if self._presets.count(key) == 1 else None
        return int(key) if key == int(key) and 0 <= key <= len(self._presets) else None

    def number_of_slot(self, slot: int) -> int:
        return len(self._presets) + slot

    def slot_of(self, number: int) -> int | None:
        slot = number - len(self._presets)
        return slot if slot >= 1 else None

    def _put(self, slot: int, vector: np.ndarray, name: str, *, safe: bool) -> None:
        self._slots[slot - 1] = vector
        self._names[slot - 1] = name
        (self._safe.add if safe else self._safe.discard)(slot)

    def _capture(self, value: float) -> None:
        if value < 1:
            return
        try:
            self._say(self.capture(round(value)))
        except KnobError as error:
            self._say(str(error))


def own_slot(text: str) -> int | None:
    """'own 3' → 3."""
    match = re.fullmatch(rf"own ([1-{SLOTS}])", text)
    return int(match[1]) if match else None
