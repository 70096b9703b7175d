"""The knob map at work: MIDI messages turn targets of the desk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from realtime.controls.desk import Desk
from realtime.controls.map.file import ANY, BUTTONS, CHOOSERS, Knob, KnobMapError, read_knobs
from realtime.controls.map.route import KnobRoute, route_for
from realtime.controls.map.takeover import ControlState
from realtime.controls.map.voices import KeyVoices
from realtime.controls.midi.events import ALL_NOTES_OFF, ALL_SOUND_OFF, MidiDecoder, MidiEvent
from realtime.knobs.targets import SMOOTHING_SECONDS

__all__ = ["KnobMap", "KnobMapError", "KnobRoute", "built_in_map", "load_map", "routes_of"]

SOURCE = "midi"  # who turned it, for the desk's watchers
PRESSED = 64  # a controller used as a button is down from here


@dataclass
class KnobMap:
    """Turns MIDI messages into values on the desk.

    applied : messages that set a target
    ignored : mapped messages that could not (a program with no preset, a knob not picked up yet)
    """

    routes: tuple[KnobRoute, ...]
    fixed: frozenset[str] = frozenset()  # targets that MIDI must not move, beside the desk's own list
    applied: int = 0
    ignored: int = 0
    states: tuple[ControlState, ...] = ()
    _by_source: dict[tuple[str, int], list[ControlState]] = field(default_factory=dict, repr=False)
    _decoder: MidiDecoder = field(default_factory=MidiDecoder, repr=False)
    _voices: KeyVoices = field(default_factory=KeyVoices, repr=False)

    def __post_init__(self) -> None:
        self.adopt(self.routes)

    def adopt(self, routes: Iterable[KnobRoute]) -> None:
        """Use other routes from now on; controllers that stay keep their hold."""
        known = {state.route: state for state in self.states}
        self.routes = tuple(routes)
        self.states = tuple(known.get(route) or ControlState(route) for route in self.routes)
        self._by_source = defaultdict(list)
        for state in self.states:
            kind = "note" if state.route.knob.kind in ("notes", "keys", "velocity") else state.route.knob.kind
            self._by_source[kind, state.route.knob.number].append(state)

    def apply(self, message: Sequence[int], desk: Desk) -> bool:
        """Let one MIDI message turn its targets. True if it set one.

        A message that is not mapped changes nothing.
        """
        done = [
            self._follow(state, event, desk)
            for event in self._decoder.decode(message)
            for state in self._states_of(event)
        ]
        self.applied += any(done)
        return any(done)

    def sources(self, desk: Desk) -> dict[str, str]:
        """For every mapped target, what moves it."""
        found: dict[str, list[str]] = defaultdict(list)
        for route in self.routes:
            found[desk.targets[route.index].name].append(route.knob.source)
        return {name: "; ".join(sources) for name, sources in found.items()}

    def release_notes(self, desk: Desk, channel: int | None = None) -> bool:
        """Let go of all keys, of one channel (0 … 15) or of all."""
        released = [self._release(state, desk, channel) for state in self.states if state.held]
        return any(released)

    def _states_of(self, event: MidiEvent) -> list[ControlState]:
        states = self._by_source.get((event.kind, event.number), [])
        if event.kind in ("note", "poly_pressure"):
            states = states + self._by_source.get((event.kind, ANY), [])
        elif event.kind == "cc" and event.number in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            states = states + [state for state in self.states if state.held]
        return [state for state in states if state.route.knob.channel in (None, event.channel + 1)]

    def _follow(self, state: ControlState, event: MidiEvent, desk: Desk) -> bool:
        """Whether the event set the target."""
        knob, target = state.route.knob, desk.targets[state.route.index]
        if target.name in self.fixed or target.name in desk.fixed:
            return False
        state.channel = event.channel
        if knob.kind == "keys":
            return self._play(state, event, desk)
        value = self._wanted(state, event, desk.value(state.route.index))
        if value is None:
            self.ignored += knob.takeover != "jump" or (
                knob.kind in CHOOSERS and (event.kind != "note" or event.raw > 0)
            )
            return False
        desk.turn(state.route.index, value, SOURCE)
        state.left_at(desk.value(state.route.index))
        return True

    def _wanted(self, state: ControlState, event: MidiEvent, present: float) -> float | None:
        """The value that the event asks for; None if none."""
        knob, route = state.route.knob, state.route
        if knob.kind in CHOOSERS:
            return (
                None
                if event.kind == "note" and not event.raw
                else _chosen(route, event.raw if knob.kind == "program_change" else event.number)
            )
        if knob.kind == "velocity":
            return state.moved(event.position, present) if event.raw else None
        if event.step:
            return _stepped(route, event.step, present)
        if knob.kind in BUTTONS and (knob.kind == "note" or knob.toggle or knob.value is not None):
            return _pressed(state, event.raw > 0 if knob.kind == "note" else event.raw >= PRESSED, present)
        return state.moved(event.position, present)

    def _play(self, state: ControlState, event: MidiEvent, desk: Desk) -> bool:
        """Keys: the note pressed last sounds; when it is let go, the one held before it."""
        if event.kind != "note":
            return self._release(state, desk, event.channel)
        key, sounding = (event.channel, event.number), state.held[-1:]
        if key in state.held:
            state.held.remove(key)
        if not event.raw:
            self._voices.release(key, desk, SOURCE)
        else:
            if not state.route.low <= event.number <= state.route.high:
                return False
            state.held.append(key)
            self._voices.press(key, event.position, desk, SOURCE)
            if "note_velocity" in desk.index and not {"note_velocity"} & (self.fixed | desk.fixed):
                desk.turn(desk.index["note_velocity"], event.position, SOURCE)
        return self._sound(state, desk, again=bool(event.raw) or state.held[-1:] != sounding)

    def _release(self, state: ControlState, desk: Desk, channel: int | None) -> bool:
        sounding = state.held[-1:]
        self._voices.release_all(channel, desk, SOURCE)
        state.held = [] if channel is None else [key for key in state.held if key[0] != channel]
        return self._sound(state, desk, again=state.held[-1:] != sounding)

    def _sound(self, state: ControlState, desk: Desk, again: bool) -> bool:
        if again:
            desk.turn(state.route.index, state.held[-1][1] if state.held else -1, SOURCE)
        return again


def _chosen(route: KnobRoute, number: int) -> float | None:
    """A program or note number as a value; None where the target has no such value."""
    value = number if route.knob.first is None else number - route.knob.first + 1
    return float(value) if route.low <= value <= route.high else None


def _stepped(route: KnobRoute, step: int, present: float) -> float:
    if route.whole:
        return min(
            max(present + (step if route.high >= route.low else -step), min(route.low, route.high)),
            max(route.low, route.high),
        )
    return route.value(min(max(route.position(present) + step / 127, 0.0), 1.0))


def _pressed(state: ControlState, down: bool, present: float) -> float | None:
    """A button: what a press or a release makes of its target."""
    knob, route, before = state.route.knob, state.route, state.down
    state.down = down
    if knob.kind == "note" and not knob.toggle and knob.value is None:
        return route.high if down else route.low
    # A pedal sends many values on its way down. A note can be pressed again without being let go.
    if not down or (before and knob.kind == "cc"):
        return None
    if knob.value is not None:
        return knob.value
    return route.low if route.is_on(present) else route.high


def built_in_map() -> Path:
    """The map that is used where there is no other; it also explains all keys."""
    return Path(__file__).parents[2] / "default_map.toml"


def load_map(path: Path | None, desk: Desk, fixed: Iterable[str] = ()) -> KnobMap:
    """Read a map for the targets of `desk`; None = the built-in one, of which targets the bundle lacks are left out.

    Raises
    ------
    KnobMapError
        With one sentence: which knob of which file, and what is wrong.
    """
    knobs = read_knobs(path or built_in_map())
    if path is None:
        knobs = tuple(knob for knob in knobs if knob.target in desk.index)
    return KnobMap(routes_of(knobs, desk, path or built_in_map()), frozenset(fixed))


def routes_of(knobs: Iterable[Knob], desk: Desk, path: Path) -> tuple[KnobRoute, ...]:
    """Routes of a map's knobs; the smoothing they ask for is set on the desk, and the usual one for all others.

    Raises
    ------
    KnobMapError
        And the smoothing is then as it was.
    """
    routes = tuple(route_for(knob, desk, f"{path}: knob {number}") for number, knob in enumerate(knobs, 1))
    desk.bank.smoothing[:] = SMOOTHING_SECONDS
    for route in routes:
        if route.knob.smoothing is not None:
            desk.bank.smoothing[route.index] = route.knob.smoothing
    return routes
