"""How a stream between two devices can be opened: channels, sample rates and settings of each host API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realtime.devices.devices import Device, DeviceError, portaudio

LARGEST_BLOCK = 8192  # samples, of a stream
COMMON_RATES = (48000.0, 44100.0, 96000.0)
ASIO, CORE_AUDIO, WASAPI = "ASIO", "Core Audio", "WASAPI"  # parts of PortAudio's names
PICKS_CHANNELS = (ASIO, CORE_AUDIO)  # opens any channel of a device alone; elsewhere all before it are opened too


@dataclass(frozen=True)
class StreamConfig:
    """One way to open a stream.

    channels : that the session hears: columns first_input, first_input + 1 … of the `inputs` that are opened
    outputs : `channels`, except that one channel is played on two outputs
    picked : the device's channel, from 0, that alone is opened; None = its first `inputs` channels
    exclusive : whether no other program may use the device meanwhile (WASAPI)
    """

    input: Device
    output: Device
    channels: int
    inputs: int
    outputs: int
    sample_rate: float
    first_input: int = 0
    picked: int | None = None
    exclusive: bool = False

    @property
    def devices(self) -> str:
        return (
            self.input.full_name if self.input == self.output else f"{self.input.full_name} and {self.output.full_name}"
        )


def stream_configs(
    source: Device,
    sink: Device,
    channels: int,
    model_rate: float,
    *,
    input_channel: int | None = None,
    sample_rate: float | None = None,
) -> list[StreamConfig]:
    """All ways the drivers say they can go, the best first: the model's rate if possible, so that nothing is resampled.

    channels : taken from the input
    input_channel : 1 …, take this one alone
    sample_rate : Hz, this or none

    Raises
    ------
    DeviceError
        Too few channels, two sound systems, or no common rate.
    """
    outputs = _outputs(source, sink, channels, input_channel)
    inputs, first, picked = channels, 0, None
    if input_channel and source.host_api_is(*PICKS_CHANNELS):
        picked = input_channel - 1
    elif input_channel:
        inputs, first = input_channel, input_channel - 1
    rates = (float(sample_rate),) if sample_rate else rates_to_try(source, sink, model_rate)
    # Exclusive use gives less latency, and any rate the hardware has.
    alone = (True, False) if source.host_api_is(WASAPI) else (False,)
    configs = [
        StreamConfig(source, sink, channels, inputs, outputs, rate, first, picked, exclusive)
        for exclusive in alone
        for rate in rates
    ]
    possible = [config for config in configs if _can(config)]
    if possible:
        return possible
    if sample_rate:
        own = " or ".join(f"{rate:g}" for rate in dict.fromkeys((sink.default_rate, source.default_rate)))
        raise DeviceError(
            f"{configs[0].devices} cannot run at {sample_rate:g} Hz; leave --sample-rate out, or ask for {own}"
        )
    raise DeviceError(
        f"{configs[0].devices} share no sample rate, or another program holds them; close it or choose other devices"
    )


def host_settings(config: StreamConfig) -> tuple[Any, Any]:
    """What PortAudio should tell the host API about input and output; None = nothing special."""
    sd, source = portaudio(), config.input
    selected = None if config.picked is None else [config.picked]
    if source.host_api_is(ASIO):
        return (sd.AsioSettings(channel_selectors=selected) if selected else None), None
    if source.host_api_is(CORE_AUDIO):  # other programs keep the device as they set it
        return sd.CoreAudioSettings(channel_map=selected, change_device_parameters=False), sd.CoreAudioSettings(
            change_device_parameters=False
        )
    if source.host_api_is(WASAPI):  # a hidden converter would add latency that nobody counts
        hint = sd.WasapiSettings(exclusive=config.exclusive, auto_convert=False)
        return hint, hint
    return None, None


def _outputs(source: Device, sink: Device, channels: int, input_channel: int | None) -> int:
    """How many outputs are opened, if the devices can at all."""
    if source.host_api != sink.host_api:
        raise DeviceError(
            f"{source.full_name} and {sink.full_name} belong to different sound systems; choose two devices of the "
            "same one"
        )
    if source != sink and source.host_api_is(ASIO):
        raise DeviceError(
            f"ASIO plays one device at a time, not {source.name} with {sink.name}; choose one of them with --device"
        )
    if input_channel and channels > 1:
        raise DeviceError(
            f"--input-channel {input_channel} takes one channel, --channels {channels} several; give one of them"
        )
    if input_channel and input_channel > source.inputs:
        raise DeviceError(
            f"--input-channel {input_channel}: {source.full_name} has {_count(source.inputs, 'input')}; use "
            f"--input-channel {source.inputs}"
        )
    if channels > source.inputs:
        raise DeviceError(
            f"--channels {channels}: {source.full_name} has {_count(source.inputs, 'input')}; use --channels "
            f"{source.inputs}"
        )
    if channels > sink.outputs:
        raise DeviceError(
            f"--channels {channels}: {sink.full_name} has {_count(sink.outputs, 'output')}; use --channels "
            f"{sink.outputs}"
        )
    return min(2, sink.outputs) if channels == 1 else channels


def rates_to_try(source: Device, sink: Device, model_rate: float) -> tuple[float, ...]:
    """In order of preference, Hz."""
    own = (sink.default_rate, source.default_rate)
    # Core Audio opens at any rate and converts without saying so, so there the device's own comes first and we
    # resample, and count it.
    first = (*own, float(model_rate)) if source.host_api_is(CORE_AUDIO) else (float(model_rate), *own)
    return tuple(dict.fromkeys((*first, *COMMON_RATES)))


def _can(config: StreamConfig) -> bool:
    sd = portaudio()
    hint_in, hint_out = host_settings(config)
    try:
        sd.check_input_settings(config.input.number, config.inputs, "float32", hint_in, config.sample_rate)
        sd.check_output_settings(config.output.number, config.outputs, "float32", hint_out, config.sample_rate)
    except (sd.PortAudioError, ValueError):
        return False
    return True


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
