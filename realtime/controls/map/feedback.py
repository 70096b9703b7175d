"""MIDI back to the controllers: motor faders, LED rings and lit pads follow what moved elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence

import rtmidi

from realtime.controls.desk import Desk
from realtime.controls.map.encode import Message, messages_for
from realtime.controls.map.knob_map import KnobMap
from realtime.controls.map.takeover import ControlState
from realtime.controls.midi.input import RESCAN_SECONDS, MidiError, list_outputs
from realtime.controls.midi.ports import OpenPorts, fits

PER_SECOND = 50.0  # messages of one knob; the last value is always sent


class MidiFeedback:
    """Sends the values of all knobs with `feedback = true` to the outputs; polled from the control thread.

    A controller is never told what it did itself: `KnobMap` remembers the value at which a controller left its target,
    and only another value is sent. What is sent is remembered the same way, because the fader then stands there.

    knob_map : its knobs may change while playing.
    wanted : parts of names of MIDI outputs; empty = those of the devices whose inputs are open.
    inputs : names of the open inputs.
    say : called with one line whenever a port opens or is gone.
    """

    def __init__(
        self,
        desk: Desk,
        knob_map: KnobMap,
        wanted: Sequence[str],
        say: Callable[[str], None],
        *,
        inputs: Callable[[], Iterable[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        self._desk, self._map, self._wanted, self._say = desk, knob_map, tuple(wanted), say
        self._inputs, self._clock = inputs, clock
        self._ports = OpenPorts(rtmidi.MidiOut, "feedback", self._is_wanted)
        self._next_scan = 0.0

    def require(self) -> None:
        """Check that every wanted output is there.

        Raises
        ------
        MidiError
            Names the output and what there is.
        """
        present = list_outputs()
        for name in self._wanted:
            if not any(fits(name, port) for port in present):
                raise MidiError(f"no MIDI output named {name!r}; there are: {'; '.join(present) or 'none'}")

    def poll(self) -> None:
        """Send what changed; now and then look for ports that came or went. Call it every few milliseconds."""
        now = self._clock()
        if now >= self._next_scan:
            self._next_scan = now + RESCAN_SECONDS
            self._scan()
        if self._ports.clients:
            for state in self._showing():
                self._follow(state, now)

    def reopen(self) -> None:
        """Start anew, after the MIDI server died."""
        self.close()
        self._next_scan = 0.0

    def close(self) -> None:
        self._ports.close()

    def _showing(self) -> list[ControlState]:
        return [state for state in self._map.states if state.route.knob.feedback]

    def _scan(self) -> None:
        if not self._showing():  # no knob has anything to show: nobody's outputs are touched
            self._ports.close()
            return
        changes = self._ports.scan()
        for name in changes.gone:
            self._say(f"MIDI output gone: {name}")
        for name in changes.opened:
            self._say(f"MIDI output: {name}")
            for state in self._showing():  # all of it: nobody knows where its faders stand
                self._send(state, [self._ports.clients[name]])

    def _follow(self, state: ControlState, now: float) -> None:
        if self._desk.value(state.route.index) != state.value and now >= state.quiet_until:
            state.quiet_until = now + 1 / PER_SECOND
            self._send(state, self._ports.clients.values())

    def _send(self, state: ControlState, clients: Iterable[rtmidi.MidiOut]) -> None:
        value, channel = self._desk.value(state.route.index), state.route.knob.channel
        messages: list[Message] = messages_for(state.route, value, state.channel if channel is None else channel - 1)
        for client in clients:
            with contextlib.suppress(rtmidi.RtMidiError):  # unplugged a moment ago; the next look finds it gone
                for message in messages:
                    client.send_message(message)
        self.sent += len(messages)
        state.left_at(value, state.route.position(value))

    def _is_wanted(self, name: str) -> bool:
        if self._wanted:
            return any(fits(part, name) for part in self._wanted)
        return any(_device(name) == _device(other) for other in self._inputs())


def _device(port: str) -> str:
    """The device of a port: 'nanoKONTROL2:nanoKONTROL2 MIDI 1 20:0' → 'nanokontrol2'.

    The rest of the name differs between a device's inputs and outputs.
    """
    return port.partition(":")[0].strip().casefold()
