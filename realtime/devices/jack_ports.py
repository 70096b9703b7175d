"""Whether a JACK device is still there.

PortAudio plays on in silence when the other end of its connections is gone; the JACK server knows better. Needs the
Python package JACK-Client (the extra `jack`). Without it nothing is watched.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from realtime.devices.devices import Device, Direction

CLIENT_NAME = "neiro-watch"
ATTEMPTS = 3  # a port may vanish while the list of ports is read


class JackPorts:
    """A JACK client without ports of its own. It takes no part in the graph and costs it nothing.

    Its calls read the server's shared memory. They do not wait for the server, whether it lives or not.
    """

    def __init__(self, jack: ModuleType, client: Any) -> None:
        self._jack, self._client = jack, client

    @classmethod
    def connect(cls) -> JackPorts | None:
        """Join the server. None where there is no JACK-Client, no JACK library or no server."""
        try:
            import jack
        except (ImportError, OSError):  # OSError: the package is there, the library is not
            return None
        try:
            return cls(jack, jack.Client(CLIENT_NAME, no_start_server=True))
        except jack.JackError:
            return None

    def present(self, device: Device, direction: Direction) -> bool:
        """Whether a client of the device's name has audio ports of this direction.

        An input device is a client whose ports are JACK outputs.
        """
        for _ in range(ATTEMPTS):
            try:
                ports = self._client.get_ports(
                    is_audio=True, is_input=direction == "output", is_output=direction == "input"
                )
                return any(port.name.startswith(f"{device.name}:") for port in ports)
            except self._jack.JackError:
                continue
        return True  # ports come and go too fast to tell; the next look decides

    def close(self) -> None:
        """Leave the server. May hang where the server is dying."""
        self._client.close()
