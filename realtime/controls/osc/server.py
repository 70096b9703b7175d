"""OSC in and out over UDP: the same targets as MIDI, polled from the control loop, without a thread.

/neiro/<target> number      turn it: /neiro/timbre/3 0.5 (or /neiro/timbre[3]), /neiro/snapshot 2,
                            /neiro/snapshot/store 2, /neiro/capture 1
/neiro/timbre/* 0           turn all of them; targets take ? * [0-3] {x,y} as in the OSC specification
/neiro/<target>             ask for its value (capture and snapshot/store: do it, as number 1)
/neiro/preset name          choose a preset by its name, also preset_b, preset_c and preset_d
/neiro/query [port]         get all values, and /neiro/presets with their names
/neiro/subscribe [port]     get all values now, then every change and /neiro/meters/…;
                            /neiro/unsubscribe [port] ends it
/neiro/midi bytes           MIDI messages, as one MIDI argument, a blob or numbers
/neiro/<command> words      what the program adds, such as learn

Answers go to the sender's address, and to its port unless another is given. What cannot be done comes back as
/neiro/error sentence.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from realtime.controls.desk import Desk
from realtime.controls.midi.parser import MidiParser
from realtime.controls.osc.feedback import ROOT, Address, Meter, OscFeedback, paths_of, value_message
from realtime.controls.osc.packets import OscPacketError, Received, read_packet, write_message
from realtime.controls.osc.patterns import is_pattern, matching

LOOPBACK = "127.0.0.1"
DATAGRAMS_PER_POLL = 200  # the rest waits in the system's buffer, and what does not fit there is lost by the system
LARGEST_DATAGRAM = 65_535
SUBSCRIBERS = 16
LONGEST_SENTENCE = 300  # characters of an answer, whatever the question was
DOING = ("capture", "snapshot_store")  # asked for without a number, they are done
SOURCE = "osc"  # who turned it, for the desk's watchers


class OscError(Exception):
    """A port that cannot be used; the message says what to do."""


@dataclass
class OscCounts:
    """What became of the datagrams.

    applied : messages that did something
    malformed : datagrams that are no OSC
    refused : messages that mean nothing here
    """

    applied: int = 0
    malformed: int = 0
    refused: int = 0


class OscServer:
    """One UDP socket.

    host : address to listen on; 127.0.0.1 = this machine only.
    port : UDP port, 0 = any free one; `port` then tells which.
    say : called with one line per event worth telling.
    presets : names of the bundle's presets, in order, so that they can be chosen by name.
    midi : called with each MIDI message that comes by OSC.
    feedback : what is sent to subscribers, with their list.
    """

    def __init__(
        self,
        desk: Desk,
        host: str,
        port: int,
        say: Callable[[str], None],
        *,
        presets: Sequence[str] = (),
        midi: Callable[[Sequence[int]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = OscCounts()
        self._desk, self._say, self._presets, self._midi = desk, say, tuple(presets), midi
        self._parser = MidiParser()
        self._index = {path: i for i, target in enumerate(desk.targets) for path in paths_of(target.name)}
        self._commands: dict[str, Callable[[str], object]] = {}
        self._sender: Address | None = None  # of the message at hand
        self._socket = _listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.feedback = OscFeedback(desk, self._socket, clock)
        desk.watch(lambda index, _value, source: self.feedback.note(index, self._sender if source == SOURCE else None))
        where = "this machine only" if host == LOOPBACK else f"every machine that reaches {host}"
        say(f"OSC: listening on {host}:{self.port} ({where})")

    def command(self, name: str, action: Callable[[str], object]) -> None:
        """Call `action` with the arguments, as one text, of /neiro/<name>."""
        self._commands[name] = action

    def poll(self) -> None:
        """Take what has arrived, and tell subscribers what has changed. Call it every few milliseconds."""
        for _ in range(DATAGRAMS_PER_POLL):
            try:
                data, sender = self._socket.recvfrom(LARGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # Windows tells here that an earlier answer reached nobody
                continue
            self._take(data, (str(sender[0]), int(sender[1])))
        self.feedback.poll()

    @property
    def subscribers(self) -> list[Address]:
        """Where changes and meters go; append one for a listener that cannot ask."""
        return self.feedback.subscribers

    @property
    def meters_due(self) -> bool:
        """Whether anybody waits for meters now; ten times a second."""
        return self.feedback.meters_due

    def send_meters(self, meters: Mapping[str, Meter]) -> None:
        """Send /neiro/meters/<name> for each, if they are due. None and NaN = not measured, not sent."""
        self.feedback.send_meters(meters)

    def close(self) -> None:
        self._socket.close()
        self.feedback.subscribers = []

    def _take(self, data: bytes, sender: Address) -> None:
        try:
            messages = read_packet(data)
        except OscPacketError:
            self.counts.malformed += 1
            return
        problems = []
        self._sender = sender
        for message in messages:
            problem = self._obey(message, sender)
            if problem is None:
                self.counts.applied += 1
            else:
                self.counts.refused += 1
                problems.append(problem)
        self._sender = None
        if problems:  # one answer, however many there are
            self.feedback.send([write_message(f"{ROOT}error", [problems[0][:LONGEST_SENTENCE]])], sender)

    def _obey(self, message: Received, sender: Address) -> str | None:
        """Do what is asked; or the sentence that says why not."""
        if not message.address.startswith(ROOT):
            return f"addresses begin with {ROOT}, not {message.address}"
        path, arguments = message.address.removeprefix(ROOT), message.arguments
        if path in ("query", "subscribe", "unsubscribe"):
            return self._serve(path, arguments, sender)
        if path == "midi" and self._midi is not None:
            return self._play(arguments, self._midi)
        if path in self._commands:
            self._commands[path](" ".join(map(str, arguments)))
            return None
        meant = self._meant(path)
        if not meant:
            return f"no target {path!r}; /neiro/query lists them"
        problems = [self._turn(index, arguments, sender) for index in meant]
        return next((problem for problem in problems if problem is not None), None)

    def _meant(self, path: str) -> list[int]:
        """The targets of an address, each once.

        A pattern never means a target that does something, such as a capture.
        """
        if path in self._index:
            return [self._index[path]]
        found = (self._index[other] for other in matching(path, self._index)) if is_pattern(path) else ()
        return [index for index in dict.fromkeys(found) if self._desk.targets[index].name not in (*DOING, "snapshot")]

    def _turn(self, index: int, arguments: Sequence[object], sender: Address) -> str | None:
        target = self._desk.targets[index]
        if not arguments and target.name not in DOING:
            self.feedback.send([value_message(self._desk, index)], sender)
            return None
        value = self._number(target.name, arguments[0]) if arguments else 1.0
        if len(arguments) > 1 or value is None:
            return f"{ROOT}{target.name} takes one number, or the name of a preset where there are presets"
        if target.name in self._desk.fixed:
            return f"{target.name} is fixed by --knob"
        self._desk.turn(index, value, SOURCE)
        return None

    def _number(self, target: str, argument: object) -> float | None:
        if isinstance(argument, int | float) and math.isfinite(argument):
            return float(argument)
        if isinstance(argument, str) and target.startswith("preset") and target != "preset_amount":
            names = [name.casefold() for name in self._presets]
            return names.index(argument.casefold()) + 1.0 if argument.casefold() in names else None
        return None

    def _serve(self, path: str, arguments: Sequence[object], sender: Address) -> str | None:
        port = arguments[0] if arguments else sender[1]
        if len(arguments) > 1 or not isinstance(port, int | float) or not 0 < port < 65536 or port != int(port):
            return f"{ROOT}{path} takes a port number from 1 to 65535, or nothing"
        client = (sender[0], int(port))
        if path == "unsubscribe":
            self.feedback.subscribers = [other for other in self.feedback.subscribers if other != client]
            return None
        if path == "subscribe" and client not in self.feedback.subscribers:
            self.feedback.subscribers = [*self.feedback.subscribers, client][-SUBSCRIBERS:]
            self._say(f"OSC: {client[0]}:{client[1]} subscribed")
        state = [value_message(self._desk, i) for i in range(len(self._desk.targets))]
        self.feedback.send([*state, write_message(f"{ROOT}presets", self._presets)], client)
        return None

    def _play(self, arguments: Sequence[object], midi: Callable[[Sequence[int]], object]) -> str | None:
        data: list[int] = []
        for argument in arguments:
            if isinstance(argument, tuple):  # OSC's own MIDI type: port, status, two data bytes, padded
                data += argument[1 : 3 if argument[1] & 0xE0 == 0xC0 else 4]
            elif isinstance(argument, bytes):
                data += argument
            elif isinstance(argument, int) and 0 <= argument <= 255:
                data.append(argument)
            else:
                return f"{ROOT}midi takes bytes from 0 to 255, a blob, or MIDI"
        for message in self._parser.feed(data):
            midi(message)
        return None


def _listen(host: str, port: int) -> socket.socket:
    """A UDP socket that never waits. Raises OscError."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise OscError(
                f"OSC port {port} of {host} is in use by another program; choose another with --osc-port"
            ) from None
        raise OscError(
            f"cannot listen for OSC on {host}:{port} ({getattr(error, 'strerror', None) or error}); {LOOPBACK} is this "
            "machine"
        ) from None
    return opened
