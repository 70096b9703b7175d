"""An OSC server under test and a control surface that talks to it over real UDP."""

from __future__ import annotations

import socket

from realtime.controls.osc.packets import Argument, Received, read_packet, write_message
from realtime.controls.osc.server import LOOPBACK, OscServer
from tests.support.desks import desk_of


class OscRig:
    """A desk, its server with time under control, and a control surface: a UDP socket of its own."""

    def __init__(self) -> None:
        self.desk, self.now = desk_of(), 0.0
        self.said: list[str] = []
        self.midi: list[tuple[int, ...]] = []
        self.server = OscServer(
            self.desk,
            LOOPBACK,
            0,
            self.said.append,
            presets=["Alto sax", "gong"],
            midi=lambda message: self.midi.append(tuple(message)),
            clock=lambda: self.now,
        )
        self.sockets = [self.new_socket()]

    def new_socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((LOOPBACK, 0))
        made.settimeout(0.05)
        return made

    def send(self, address: str, *arguments: Argument) -> None:
        self.send_bytes(write_message(address, arguments))

    def send_bytes(self, data: bytes) -> None:
        """The loopback delivers before `sendto` returns, so that one poll finds it."""
        self.sockets[0].sendto(data, (LOOPBACK, self.server.port))
        self.server.poll()

    def heard(self, which: int = 0) -> list[Received]:
        """All that has come."""
        messages: list[Received] = []
        while True:
            try:
                messages += read_packet(self.sockets[which].recv(65_535))
            except TimeoutError:
                return messages

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.server.poll()

    def close(self) -> None:
        self.server.close()
        for opened in self.sockets:
            opened.close()
