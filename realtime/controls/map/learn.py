"""MIDI learn: touch a control, name what it shall move, and the knob map's file says so from then on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from realtime.controls.desk import Desk
from realtime.controls.map.edit import current_text, same_control, save, with_knob, without_knobs
from realtime.controls.map.file import CHOOSERS, Knob, KnobMapError, parse_knobs
from realtime.controls.map.knob_map import KnobMap, routes_of
from realtime.controls.midi.detect import Control, ControlDetector
from realtime.knobs.targets import KnobError, Target

LEARNED_MAP = "neiro-map.toml"  # in the working directory, unless another map was asked for
MOMENT_SECONDS = 0.6  # how long a touch is listened to, from its first message
HELP = "touch a control; or type: list, unlearn TARGET, done"


def find_map(working_directory: Path) -> Path | None:
    """The map that was learned here before, if any."""
    path = working_directory / LEARNED_MAP
    return path if path.is_file() else None


class Learner:
    """Takes MIDI messages and typed lines, gives prompts; never waits. Control thread only.

    Hand every MIDI message to `hear`, every typed line to `answer`, and call `poll` in the loop. Learning changes
    `knob_map` at once.

    path : the map's file; where there is none, one is made from the built-in map.
    say : called with one line at a time.
    active : whether it still listens; `answer("done")` ends it, `start` begins again.
    """

    def __init__(
        self,
        desk: Desk,
        knob_map: KnobMap,
        path: Path,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.active = False
        self.control: Control | None = None  # touched, and waiting for its target
        self._desk, self._map, self._path, self._say, self._clock = desk, knob_map, path, say, clock
        self._watch, self._moment_ends = ControlDetector(), 0.0

    def start(self) -> None:
        self.active = True
        self._listen()
        self._say(HELP)

    def hear(self, message: Sequence[int]) -> None:
        """One MIDI message, as `KnobMap.apply` gets it."""
        if not self.active or self.control is not None:
            return
        first = not self._watch.anything
        self._watch.hear(message)
        if first and self._watch.anything:
            self._moment_ends = self._clock() + MOMENT_SECONDS

    def poll(self) -> None:
        """When the moment is over, say which control it was and ask for a target."""
        if not self.active or self.control is not None or not self._watch.anything or self._clock() < self._moment_ends:
            return
        self.control = self._watch.winner()
        self._watch = ControlDetector()
        if self.control is not None:
            self._say(
                f"{self._name(self.control)}: type what it shall move (a name, a number from the list, or Enter to "
                "leave it; unlearn)"
            )

    def answer(self, line: str) -> None:
        """What was typed, or came by OSC."""
        words = line.split()
        command = words[0].casefold() if words else ""
        if command in ("done", "quit", "exit"):
            self.active, self.control = False, None
            self._say("learning is over")
        elif command in ("list", "l"):
            self._list()
        elif command == "unlearn":
            self._guarded(lambda: self._unlearn(" ".join(words[1:])))
        elif not words:
            self._say(HELP if self.active else "learning is over")
            self._listen()
        elif self.control is None:
            self._say(f"no control touched yet; {HELP}")
        else:
            control, wanted = self.control, " ".join(words)
            self._guarded(lambda: self._learn(control, wanted))

    def _listen(self) -> None:
        self.control, self._watch = None, ControlDetector()

    def _guarded(self, action: Callable[[], None]) -> None:
        """A mistake is told; nothing has then changed, and the question stands."""
        try:
            action()
        except (KnobError, KnobMapError) as error:
            self._say(str(error))

    def _learn(self, control: Control, wanted: str) -> None:
        name, separator, number = (part.strip() for part in wanted.partition("="))
        target = self._find(name)
        try:
            value = float(number) if separator else None
        except ValueError:
            raise KnobError(f"cannot read the value in {wanted!r}; write NAME=NUMBER, for example snapshot=3") from None
        keys = knob_keys(control, target, value)
        self._keep(with_knob(current_text(self._path, self._desk), self._path, keys))
        self._say(
            f"{self._name(control)} → {_described(keys)}, saved in {self._path}; touch the next one, or type done"
        )
        self._listen()

    def _unlearn(self, name: str) -> None:
        """The control that was touched, or all controls of a target."""
        text = current_text(self._path, self._desk)
        if name:
            target = self._find(name).name
            what, doomed = target, lambda knob: knob.target == target
        elif self.control is not None:
            touched = Knob.model_validate({"target": "", **self.control.keys()})
            what, doomed = self._name(self.control), lambda knob: same_control(knob, touched)
        else:
            raise KnobError("unlearn what? touch a control first, or type: unlearn TARGET")
        gone = sum(doomed(knob) for knob in parse_knobs(text, self._path))
        if gone:
            self._keep(without_knobs(text, self._path, doomed))
        count = f"{gone} knob{'' if gone == 1 else 's'}"
        self._say(f"{what}: {count} unlearned, saved in {self._path}" if gone else f"{what}: nothing to unlearn")
        self._listen()

    def _keep(self, text: str) -> None:
        """In the file first: if that fails, nothing has changed."""
        smoothing = self._desk.bank.smoothing.copy()
        routes = routes_of(parse_knobs(text, self._path), self._desk, self._path)
        try:
            save(self._path, text)
        except KnobMapError:
            self._desk.bank.smoothing[:] = smoothing
            raise
        self._map.release_notes(self._desk)  # keys whose knob goes away would sound for ever
        self._map.adopt(routes)

    def _find(self, wanted: str) -> Target:
        """By number in the list, by name, or by the only name that begins so."""
        if wanted.isdecimal():
            if int(wanted) < len(self._desk.targets):
                return self._desk.targets[int(wanted)]
            raise KnobError(f"there is no target {wanted}; the last one is {len(self._desk.targets) - 1}")
        text = wanted.casefold()
        found = [target for target in self._desk.targets if target.name == text] or [
            target for target in self._desk.targets if target.name.startswith(text)
        ]
        if len(found) > 1:
            names = ", ".join(target.name for target in found[:6])
            raise KnobError(f"{wanted!r} could be {names}{' …' if len(found) > 6 else ''}; type more of the name")
        return found[0] if found else self._desk.target(wanted)

    def _list(self) -> None:
        sources = self._map.sources(self._desk)
        for number, target in enumerate(self._desk.targets):
            moved_by = f"   ({sources[target.name]})" if target.name in sources else ""
            self._say(f"{number:4d}  {target.name}{moved_by}")

    def _name(self, control: Control) -> str:
        return Knob.model_validate({"target": "", **control.keys()}).source


def knob_keys(control: Control, target: Target, value: float | None) -> dict[str, object]:
    """The keys of a [[knob]] that suit control and target.

    A pad toggles a switch, and chooses the first of a numbered choice unless a value is given; on `note` it plays."""
    source = control.keys()
    keys: dict[str, object] = {"target": target.name, **source}
    if control.kind == "note" and target.name == "note" and value is None:
        return {"target": target.name, "keys": True, "channel": control.channel + 1}
    if value is not None:
        keys["value"] = value
    elif control.kind == "note" and target.whole:
        keys |= {"toggle": True} if (target.low, target.high) == (0, 1) else {"value": max(target.low, 1)}
    elif control.kind in CHOOSERS and target.name.startswith("snapshot"):
        keys["first"] = 0  # the first program is the first snapshot
    return keys


def _described(keys: dict[str, object]) -> str:
    value = keys.get("value")
    return f"{keys['target']} = {value:g}" if isinstance(value, int | float) else f"{keys['target']}"
