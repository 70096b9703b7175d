"""Sound devices: list them, find one by number or name, choose the sample rate. The only file that imports PortAudio, and only when asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

Direction = Literal["input", "output"]
COMMON_RATES = (48000.0, 44100.0, 96000.0)


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

    def channels(self, direction: Direction) -> int:
        return self.inputs if direction == "input" else self.outputs


@dataclass(frozen=True)
class Route:
    """What a stream is opened with. `outputs` is `channels`, except that one channel is played on two outputs."""

    input: Device
    output: Device
    channels: int
    outputs: int
    sample_rate: float


def portaudio() -> ModuleType:
    """The sounddevice module.

    Raises
    ------
    DeviceError
        When it or the PortAudio library is missing.
    """
    try:
        import sounddevice
    except ImportError:
        raise DeviceError("live sound needs the Python package sounddevice; run: make setup") from None
    except OSError:
        raise DeviceError("live sound needs the PortAudio library; run: make setup (or: sudo apt-get install libportaudio2)") from None
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


def choose_pair(devices: Sequence[Device], device: str | None, input_device: str | None, output_device: str | None) -> tuple[Device, Device]:
    """Find the input and the output. A direction that is not named, or that the named device lacks, is its host API's default.

    Raises
    ------
    DeviceError
        Not there, ambiguous, or no default to fall back on.
    """
    if not devices:
        raise DeviceError("there are no sound devices here; connect one, or start the audio server, and try again")
    source = _find(devices, input_device or device, "input", strict=input_device is not None)
    sink = _find(devices, output_device or device, "output", strict=output_device is not None)
    known = source or sink
    if known is None:
        raise DeviceError(f"device {device} has neither inputs nor outputs; there are: {_listing(devices)}")
    return source or _default(devices, known, "input"), sink or _default(devices, known, "output")


def plan_route(source: Device, sink: Device, channels: int, model_rate: float) -> Route:
    """Check the channels and choose the rate: the model's where both devices can, else their own.

    Raises
    ------
    DeviceError
        Too few channels, or no common rate.
    """
    if channels > source.inputs:
        raise DeviceError(f"--channels {channels}: {source.full_name} has {_count(source.inputs, 'input')}; use --channels {source.inputs}")
    outputs = min(2, sink.outputs) if channels == 1 else channels
    if outputs > sink.outputs:
        raise DeviceError(f"--channels {channels}: {sink.full_name} has {_count(sink.outputs, 'output')}; use --channels {sink.outputs}")
    if source.host_api != sink.host_api:
        raise DeviceError(f"{source.full_name} and {sink.full_name} belong to different sound systems; choose two devices of the same one")
    for rate in dict.fromkeys((float(model_rate), sink.default_rate, source.default_rate, *COMMON_RATES)):
        if _opens(source, sink, channels, outputs, rate):
            return Route(source, sink, channels, outputs, rate)
    raise DeviceError(
        f"{source.full_name} and {sink.full_name} share no sample rate, or another program holds them; close it or choose other devices"
    )


def _opens(source: Device, sink: Device, channels: int, outputs: int, rate: float) -> bool:
    sd = portaudio()
    try:
        sd.check_input_settings(source.number, channels, "float32", samplerate=rate)
        sd.check_output_settings(sink.number, outputs, "float32", samplerate=rate)
    except (sd.PortAudioError, ValueError):
        return False
    return True


def _find(devices: Sequence[Device], wanted: str | None, direction: Direction, *, strict: bool) -> Device | None:
    """The device meant by a number, a full name or a unique part of one; None if it is there but lacks the direction (and not `strict`)."""
    if wanted is None:
        return None
    named = _matches(devices, wanted)
    if not named:
        raise DeviceError(f"no sound device {wanted!r}; there are: {_listing(devices)}")
    able = [device for device in named if device.channels(direction)]
    if len(able) > 1:
        raise DeviceError(f"{wanted!r} could be several {direction} devices; use the number of one of: {_listing(able)}")
    if not able and strict:
        raise DeviceError(f"{wanted!r} has no {direction}s; there are: {_listing([d for d in devices if d.channels(direction)])}")
    return able[0] if able else None


def _matches(devices: Sequence[Device], wanted: str) -> list[Device]:
    if wanted.isdecimal():
        return [device for device in devices if device.number == int(wanted)]
    text = wanted.casefold()
    full = [device for device in devices if text == device.full_name.casefold()][:1]
    exact = [device for device in devices if text == device.name.casefold()]
    return full or exact or [device for device in devices if text in device.full_name.casefold()]


def _default(devices: Sequence[Device], other: Device, direction: Direction) -> Device:
    for device in devices:
        chosen = device.is_default_input if direction == "input" else device.is_default_output
        if device.host_api == other.host_api and chosen and device.channels(direction):
            return device
    raise DeviceError(f"{other.full_name} has no {direction}s and {other.host_api} no default; name one with --{direction}-device")


def _listing(devices: Sequence[Device]) -> str:
    return "; ".join(f"{device.number} {device.full_name}" for device in devices) or "none"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
