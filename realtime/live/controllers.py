"""Everything that turns the desk while playing (MIDI, OSC, typed lines, learning) or shows it (MIDI, OSC)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from realtime.bundle import Bundle
from realtime.cli.option_checks import HOST, address
from realtime.cli.options import Options, UsageError
from realtime.cli.screen import Screen
from realtime.cli.setup import PlayerSetup
from realtime.controls.map.feedback import MidiFeedback
from realtime.controls.map.learn import LEARNED_MAP, Learner
from realtime.controls.midi.input import MidiInput
from realtime.controls.osc.server import OscError, OscServer
from realtime.controls.typed_commands import TypedCommands
from realtime.live.keyboard import Keyboard
from realtime.live.loop import CallbackService, Live, Service
from realtime.live.monitor import meters_now


class Controllers:
    """Opens what the command line asks for.

    services : for `Live.play`
    keyboard : what is typed

    Raises
    ------
    MidiError, UsageError
        A wanted port is not there or not free.
    """

    def __init__(self, options: Options, bundle: Bundle, setup: PlayerSetup, live: Live, screen: Screen) -> None:
        self._desk, self._knob_map, self._record = setup.desk, setup.knob_map, live.record
        self._learner = Learner(setup.desk, setup.knob_map, setup.map_path or Path(LEARNED_MAP), screen.say)
        self._midi = MidiInput(options.midi_port, self._receive, screen.say, virtual=options.midi_virtual)
        self._midi.require()
        self._feedback = MidiFeedback(
            setup.desk, setup.knob_map, options.midi_feedback, screen.say, inputs=lambda: self._midi.names
        )
        self._feedback.require()
        self._osc = self._listen(options, bundle, screen)
        self._commands = TypedCommands(
            setup.desk, setup.timbres, setup.snapshots, self._learner.start, live.stop, screen.say
        )
        self.keyboard = Keyboard(quiet=screen.in_place, pipe=options.learn)
        self.services: list[Service] = [
            setup.snapshots,
            self._midi,
            self._feedback,
            self._keyboard_service(),
            CallbackService(poll=self._learner.poll),
        ]
        if self._osc is not None:
            self.services.append(CallbackService(self._serve, self._osc.close))
        if options.learn:
            self._learner.start()

    def reopen(self) -> None:
        """The server that died may have been the MIDI server too."""
        self._midi.reopen()
        self._feedback.reopen()

    def counted(self) -> dict[str, object]:
        """For the report."""
        counts = self._midi.counts
        found: dict[str, object] = {
            "midi_messages": self._knob_map.applied,
            "midi_ignored": self._knob_map.ignored,
            "midi_dropped": counts.dropped,
            "midi_overflows": counts.overflows,
        }
        return (
            found
            if self._osc is None
            else {**found, "osc_messages": self._osc.counts.applied, "osc_refused": self._osc.counts.refused}
        )

    def _keyboard_service(self) -> Service:
        return CallbackService(self._read, self.keyboard.close)

    def _receive(self, message: Sequence[int]) -> None:
        self._learner.hear(message)
        self._knob_map.apply(message, self._desk)

    def _read(self) -> None:
        """Typed lines go to whoever listens: the learner while it learns, else the commands."""
        for line in self.keyboard.poll():
            if self._learner.active:
                self._learner.answer(line)
            else:
                self._commands.run(line)

    def _learn(self, words: str) -> None:
        if not self._learner.active:
            self._learner.start()
        if words:
            self._learner.answer(words)

    def _listen(self, options: Options, bundle: Bundle, screen: Screen) -> OscServer | None:
        if options.osc is None:
            return None
        names = [preset.name for preset in bundle.manifest.presets]
        try:
            server = OscServer(self._desk, *address(options.osc, "osc"), screen.say, presets=names, midi=self._receive)
        except OscError as error:
            raise UsageError(str(error)) from None
        server.command("learn", self._learn)
        try:
            if options.osc_out is not None:
                server.feedback.subscribers.append(_listener(options.osc_out, address(options.osc, "osc")[0]))
        except UsageError:
            server.close()
            raise
        return server

    def _serve(self) -> None:
        assert self._osc is not None
        self._osc.poll()
        if self._osc.meters_due:
            self._osc.send_meters(meters_now(self._record))


def _listener(wanted: str, own_host: str) -> tuple[str, int]:
    """Where --osc-out sends to, as numbers."""
    host, port = address(wanted, "osc_out")
    try:
        found = socket.gethostbyname(host)
    except OSError:
        raise UsageError(f"--osc-out {wanted}: there is no machine named {host}") from None
    if own_host == HOST and not found.startswith("127."):
        raise UsageError(
            f"--osc-out {wanted} is another machine, and --osc reaches only this one; use --osc 0.0.0.0:PORT"
        )
    return found, port
