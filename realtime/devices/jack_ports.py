"""Whether a JACK device is still there. PortAudio plays on in silence when the other end of its connections is gone;
the server knows better.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

from realtime.devices.devices import Device, Direction

LIBRARIES = {
    "win32": ("libjack64.dll",),
    "darwin": ("libjack.0.dylib", "/opt/homebrew/lib/libjack.0.dylib", "/usr/local/lib/libjack.0.dylib"),
}
AUDIO = b"32 bit float mono audio"
NO_START_SERVER, PORT_IS_INPUT, PORT_IS_OUTPUT = 1, 1, 2
CLIENT_NAME = b"neiro-watch"


class JackPorts:
    """A JACK client without ports of its own, which only looks. It takes no part in the graph and costs it nothing.

    Its calls read the server's shared memory: they do not wait for it, whether it lives or not.
    """

    def __init__(self, library: ctypes.CDLL, client: int) -> None:
        self._library, self._client = library, ctypes.c_void_p(client)

    @classmethod
    def connect(cls) -> JackPorts | None:
        """None where there is no JACK library or no server."""
        for name in LIBRARIES.get(sys.platform, ("libjack.so.0",)):
            try:
                library = ctypes.CDLL(name)
            except OSError:
                continue
            library.jack_client_open.restype = ctypes.c_void_p
            library.jack_get_ports.restype = ctypes.POINTER(ctypes.c_char_p)
            client = library.jack_client_open(CLIENT_NAME, ctypes.c_int(NO_START_SERVER), None)
            if client:
                return cls(library, client)
        return None

    def present(self, device: Device, direction: Direction) -> bool:
        """Whether a client of this name has ports of the direction: an input device is one whose ports give sound
        out.
        """
        start = f"{device.name}:".encode()
        return any(
            name.startswith(start) for name in self._names(PORT_IS_OUTPUT if direction == "input" else PORT_IS_INPUT)
        )

    def close(self) -> None:
        """Leave the server. May hang where that is dying."""
        self._library.jack_client_close(self._client)

    def _names(self, flags: int) -> Iterator[bytes]:
        found = self._library.jack_get_ports(self._client, None, AUDIO, ctypes.c_ulong(flags))
        if found:
            try:
                at = 0
                while (name := found[at]) is not None:
                    yield name
                    at += 1
            finally:
                self._library.jack_free(found)
