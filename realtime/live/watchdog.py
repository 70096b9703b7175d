"""The audio process's watch on its own sound: it leaves when the driver, the server or a device dies silently."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, NoReturn

from realtime.devices.devices import Device, Direction
from realtime.devices.jack_ports import JackPorts
from realtime.devices.stream_config import StreamConfig
from realtime.hop.scheduling import Follower
from realtime.live.callback import Callback
from realtime.live.shared import SharedBlock, State

WATCH_SECONDS = 0.05
# A living server may stall for a second or two (a busy disk, a stopped process) and go on; a dead one mostly shows at
# once by `active`.
SILENT_CALLBACK_SECONDS = 2.5
STOPPED_SECONDS = 0.5  # a gap in our own watch: we were stopped ourselves, or the machine slept
CLOSE_SECONDS = 1.0
PORTS_SECONDS = 0.1  # between looks at the ports of a JACK server


class JackDeviceWatch:
    """Notices when one of a stream's two devices goes away on JACK, where PortAudio would play on in silence.

    It does nothing with other host APIs. Make it before the stream is opened, so that it also notices a device that is
    pulled out meanwhile.
    """

    def __init__(self, config: StreamConfig) -> None:
        ends: list[tuple[Device, Direction]] = [(config.input, "input"), (config.output, "output")]
        self._ports = JackPorts.connect() if config.input.host_api_is("JACK") else None
        self._expected = [end for end in ends if self._ports is not None and self._ports.present(*end)]
        self._next_look = 0.0

    def gone(self, now: float) -> str:
        """What went away, "" if all is there.  now : seconds, of any clock that goes on"""
        if self._ports is None or now < self._next_look:
            return ""
        self._next_look = now + PORTS_SECONDS
        for device, direction in self._expected:
            if not self._ports.present(device, direction):
                return f"the {direction} device {device.name} went away"
        return ""

    def close(self) -> None:
        if self._ports is not None:
            self._ports.close()
            self._ports = None


class StreamWatchdog:
    """Looks after an open stream from the main thread of the audio process."""

    def __init__(self, block: SharedBlock, stream: Any, callback: Callback, device_watch: JackDeviceWatch) -> None:
        self._block, self._stream, self._callback, self._device_watch = block, stream, callback, device_watch
        self._looked = self._since = time.perf_counter()  # silence before `_since` is not counted

    def until(self, leave: threading.Event) -> NoReturn:
        """Until the parent says to leave, or the sound is gone."""
        follower = Follower()
        while not leave.wait(WATCH_SECONDS):
            follower.follow(self._callback.thread)
            self._block.record["heartbeat"] += 1
            trouble = self._trouble(time.perf_counter())
            if trouble:
                report(self._block, State.FAILED, trouble)
                os._exit(1)  # PortAudio hangs now, at exit too
        closing = threading.Thread(target=self._stream.close, daemon=True)  # hangs if the server is dying
        closing.start()
        closing.join(CLOSE_SECONDS)
        os._exit(0)

    def _trouble(self, now: float) -> str:
        """Why there is no sound any more, "" if there is."""
        if now - self._looked > STOPPED_SECONDS:
            self._since = now
        self._looked = now
        if not self._stream.active:
            return "the sound device or its server went away"
        block_seconds = float(self._block.record["block_samples"]) / float(self._block.record["sample_rate"])
        silent = now - max(self._callback.last, self._since)
        if silent > max(SILENT_CALLBACK_SECONDS, 4 * block_seconds):
            return f"the sound device or its server has not answered for {silent:.1f} s"
        return self._device_watch.gone(now)


def report(block: SharedBlock, state: State, message: str = "") -> None:
    block.write_text("message", message)
    block.record["state"] = state
