"""Sound devices: list them, find one by number or name.

Nothing else imports PortAudio, and it is imported only when it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

MODEL_DIGITS = 3  # from here on, a number that no device has may be part of a name: "828" of "MOTU 828"
Direction = Literal["input", "output"]


class DeviceError(Exception):
    """A device that is not there or cannot do what is asked; the message says what there is."""


@dataclass(frozen=True)
class Device:
    """One sound device of one host API (ALSA, JACK, CoreAudio, WASAPI …)."""

    number: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    default_rate: float
    is_default_input: bool  # of its host API
    is_default_output: bool

    @property
    def full_name(self) -> str:
        return f"{self.name}, {self.host_api}"

    def host_api_is(self, *names: str) -> bool:
        """Whether it is one of these, whatever the spelling.

        "CoreAudio" means "Core Audio", and "wasapi" means "Windows WASAPI".
        """
        return any(_plain(name) in _plain(self.host_api) for name in names)

    def channels(self, direction: Direction) -> int:
        return self.inputs if direction == "input" else self.outputs


def portaudio() -> ModuleType:
    """The sounddevice module.

    Raises
    ------
    DeviceError
        When it or the PortAudio library is missing.
    """
    if sys.platform == "win32":
        # sounddevice carries two libraries; its default is the one without ASIO.
        os.environ.setdefault("SD_ENABLE_ASIO", "1")
    try:
        import sounddevice
    except ImportError:
        raise DeviceError("live sound needs the Python package sounddevice; run: make setup") from None
    except OSError:
        raise DeviceError(
            "live sound needs the PortAudio library; run: make setup (or: sudo apt-get install libportaudio2)"
        ) from None
    return sounddevice


def list_devices(*, rescan: bool = False) -> list[Device]:
    """All devices. PortAudio looks only once; `rescan` makes it look again (no stream may be open)."""
    sd = portaudio()
    if rescan:
        sd._terminate()  # the only way PortAudio offers
        sd._initialize()
    apis = sd.query_hostapis()
    return [
        Device(
            number=number,
            name=found["name"],
            host_api=apis[found["hostapi"]]["name"],
            inputs=found["max_input_channels"],
            outputs=found["max_output_channels"],
            default_rate=found["default_samplerate"],
            is_default_input=number == apis[found["hostapi"]]["default_input_device"],
            is_default_output=number == apis[found["hostapi"]]["default_output_device"],
        )
        for number, found in enumerate(sd.query_devices())
    ]


def choose_pair(
    devices: Sequence[Device],
    device: str | None,
    input_device: str | None,
    output_device: str | None,
    host_api: str | None = None,
) -> tuple[Device, Device]:
    """Find the input and the output.

    A direction that is not named, or that the named device lacks, is its host API's default.

    host_api : part of a name; others' devices are then not looked at. Without any device named, its defaults are meant.

    Raises
    ------
    DeviceError
        Not there, ambiguous, or no default to fall back on.
    """
    if not devices:
        raise DeviceError("there are no sound devices here; connect one, or start the audio server, and try again")
    if host_api is not None:
        present = dict.fromkeys(found.host_api for found in devices)
        devices = [found for found in devices if found.host_api_is(host_api)]
        if not devices:
            raise DeviceError(f"no sound device belongs to {host_api}; there are devices of: {', '.join(present)}")
        if not (device or input_device or output_device):
            return _default(devices, devices[0], "input"), _default(devices, devices[0], "output")
    source = _find(devices, input_device or device, "input", strict=input_device is not None)
    sink = _find(devices, output_device or device, "output", strict=output_device is not None)
    known = source or sink
    if known is None:
        raise DeviceError(f"device {device} has neither inputs nor outputs; there are: {_listing(devices)}")
    return source or _default(devices, known, "input"), sink or _default(devices, known, "output")


def _find(devices: Sequence[Device], wanted: str | None, direction: Direction, *, strict: bool) -> Device | None:
    """The device meant by a number, a full name or a unique part of one.

    None if it is there but lacks the direction (and not `strict`).
    """
    if wanted is None:
        return None
    named = _matches(devices, wanted)
    if not named:
        raise DeviceError(f"no sound device {wanted!r}; there are: {_listing(devices)}")
    able = [device for device in named if device.channels(direction)]
    if len(able) > 1:
        raise DeviceError(
            f"{wanted!r} could be several {direction} devices; use the number of one of: {_listing(able)}"
        )
    if not able and strict:
        raise DeviceError(
            f"{wanted!r} has no {direction}s; there are: {_listing([d for d in devices if d.channels(direction)])}"
        )
    return able[0] if able else None


def _matches(devices: Sequence[Device], wanted: str) -> list[Device]:
    if wanted.isdecimal():
        numbered = [device for device in devices if device.number == int(wanted)]
        if numbered or len(wanted) < MODEL_DIGITS:
            return numbered
    text = wanted.casefold()
    full = [device for device in devices if text == device.full_name.casefold()][:1]
    exact = [device for device in devices if text == device.name.casefold()]
    return full or exact or [device for device in devices if text in device.full_name.casefold()]


def _default(devices: Sequence[Device], other: Device, direction: Direction) -> Device:
    for device in devices:
        chosen = device.is_default_input if direction == "input" else device.is_default_output
        if device.host_api == other.host_api and chosen and device.channels(direction):
            return device
    raise DeviceError(
        f"{other.full_name} has no {direction}s and {other.host_api} no default; name one with --{direction}-device"
    )


def _plain(name: str) -> str:
    return name.replace(" ", "").casefold()


def _listing(devices: Sequence[Device]) -> str:
    return "; ".join(f"{device.number} {device.full_name}" for device in devices) or "none"
