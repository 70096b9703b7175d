"""What can be typed while playing: one letter, and what it is about."""

from __future__ import annotations

from collections.abc import Callable

from realtime.controls.desk import Desk
from realtime.controls.snapshot_file import SnapshotError
from realtime.controls.snapshots import Snapshots
from realtime.controls.timbres import PRESET_TARGETS, Timbres
from realtime.knobs.targets import KnobError

HELP = (
    "r N|NAME  recall a snapshot      s N [NAME]  store one\n"
    "c K       capture the timbre     p NAME      choose a preset\n"
    "k KNOB=VALUE  turn a knob        l          learn: touch a controller, name its knob\n"
    "q         end                    ?           this list"
)
SOURCE = "typed"


class TypedCommands:
    """Carries out typed lines. Mistakes are told, never raised.

    learn : begins learning, and tells so itself;  end : ends the performance
    """

    def __init__(
        self,
        desk: Desk,
        timbres: Timbres,
        snapshots: Snapshots,
        learn: Callable[[], object],
        end: Callable[[], object],
        say: Callable[[str], None],
    ) -> None:
        self._desk, self._timbres, self._snapshots, self._say = desk, timbres, snapshots, say
        self._known: dict[str, Callable[[str], str]] = {
            "r": self._recall,
            "s": self._store,
            "c": self._capture,
            "p": self._preset,
            "k": self._knob,
            "l": lambda _: _silent(learn),
            "q": lambda _: _silent(end),
            "?": lambda _: HELP,
        }

    def run(self, line: str) -> None:
        letter, _, rest = line.strip().partition(" ")
        if not letter:
            return
        if letter not in self._known:
            self._say(f"nothing is called {letter!r}; ? shows what can be typed")
            return
        try:
            told = self._known[letter](rest.strip())
        except (KnobError, SnapshotError) as error:
            told = str(error)
        if told:
            self._say(told)

    def _recall(self, rest: str) -> str:
        return self._snapshots.recall(self._snapshots.number(rest))

    def _store(self, rest: str) -> str:
        number, _, name = rest.partition(" ")
        return self._snapshots.store(_whole(number, "s"), name.strip() or None)

    def _capture(self, rest: str) -> str:
        return self._timbres.capture(_whole(rest, "c"))

    def _preset(self, rest: str) -> str:
        number = self._timbres.number(rest)
        self._desk.set("preset", number, SOURCE)
        return f"preset {number}: {self._timbres.title(number)}"

    def _knob(self, rest: str) -> str:
        name, value = parse_knob(rest, self._timbres)
        self._desk.set(name, value, SOURCE)
        return f"{name} = {value:g}" if name in self._desk.bank.index else ""


def _silent(action: Callable[[], object]) -> str:
    """What tells nothing, or tells it itself."""
    action()
    return ""


def parse_knob(text: str, timbres: Timbres) -> tuple[str, float]:
    """'timbre[3]=1.5' → ('timbre[3]', 1.5), 'preset_b=Violin' → ('preset_b', 41.0).

    Raises
    ------
    KnobError
        Not of that form, or no such preset. Whether the knob is there and the value in range is for the desk to say.
    """
    name, separator, wanted = (part.strip() for part in text.partition("="))
    if separator and name in PRESET_TARGETS and not _is_number(wanted):
        return name, float(timbres.number(wanted))
    if not separator or not _is_number(wanted):
        raise KnobError(f"cannot read the knob {text!r}; write NAME=NUMBER, for example timbre[3]=1.5")
    return name, float(wanted)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(text: str, letter: str) -> int:
    if not text.isdecimal():
        raise KnobError(f"{letter} needs a number, for example: {letter} 1")
    return int(text)
