"""Choosing devices, on lists as different systems give them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from realtime.devices.devices import Device, DeviceError, choose_pair, list_devices
from realtime.devices.jack_ports import JackPorts
from realtime.devices.stream_config import StreamConfig, host_settings, rates_to_try, stream_configs


def device(
    number: int, name: str, api: str = "WASAPI", inputs: int = 0, outputs: int = 0, default: bool = False
) -> Device:
    return Device(number, name, api, inputs, outputs, 48000.0, default and inputs > 0, default and outputs > 0)


WINDOWS = [
    device(0, "Microphone (Scarlett)", "MME", inputs=2, default=True),
    device(1, "Speakers (Realtek)", "MME", outputs=2, default=True),
    device(2, "Microphone (Scarlett)", "WASAPI", inputs=2, default=True),
    device(3, "Speakers (Scarlett)", "WASAPI", outputs=2),
    device(4, "Speakers (Realtek)", "WASAPI", outputs=2, default=True),
    device(5, "Scarlett", "ASIO", inputs=2, outputs=2, default=True),
]


def numbers(device: str | None = None, source: str | None = None, sink: str | None = None) -> tuple[int, int]:
    pair = choose_pair(WINDOWS, device, source, sink)
    return pair[0].number, pair[1].number


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("5", None, None), (5, 5)),
        (("scarlett", None, None), (5, 5)),  # the whole name of one wins over a part of others
        (("2", None, None), (2, 4)),  # it has no outputs: its system's default output
        (("3", None, None), (2, 3)),
        (("Microphone (Scarlett), MME", None, None), (0, 1)),
        ((None, "2", "speakers (scarl"), (2, 3)),
        (("5", None, "3"), (5, 3)),
        ((None, None, "3"), (2, 3)),
    ],
)
def test_a_device_is_meant_by_number_name_or_part(
    wanted: tuple[str | None, str | None, str | None], expected: tuple[int, int]
) -> None:
    assert numbers(*wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("9", None, None), r"no sound device '9'; there are: 0 Microphone \(Scarlett\), MME; 1 Speakers"),
        (("theremin", None, None), "no sound device 'theremin'; there are: 0 "),
        (("microphone", None, None), "'microphone' could be several input devices; use the number of one of: 0 .*; 2 "),
        ((None, "3", None), "'3' has no inputs; there are: 0 .*; 2 .*; 5 "),
        ((None, None, "2"), "'2' has no outputs; there are: 1 .*; 3 .*; 4 .*; 5 "),
    ],
)
def test_what_cannot_be_meant_is_a_sentence_with_what_there_is(
    wanted: tuple[str | None, str | None, str | None], expected: str
) -> None:
    with pytest.raises(DeviceError, match=expected):
        numbers(*wanted)


def test_a_device_whose_name_is_a_number_is_chosen_by_it() -> None:
    interfaces = [
        device(0, "828", inputs=2, outputs=2),
        device(1, "MOTU 1248", inputs=2, outputs=2),
        device(2, "9 fingers", inputs=2, outputs=2),
    ]
    assert choose_pair(interfaces, "828", None, None)[0].number == 0
    assert choose_pair(interfaces, "1248", None, None)[0].number == 1
    many = [*interfaces, *(device(number, "other", inputs=2) for number in range(3, 829))]
    assert choose_pair(many, None, "828", "0")[0].name == "other"  # numbers first
    with pytest.raises(DeviceError, match="no sound device '9'"):  # a device that went away, not another one's name
        choose_pair(interfaces, "9", None, None)


def test_twins_are_told_apart_by_number_and_a_full_name_takes_the_first() -> None:
    twins = [device(i, "USB mic", "ALSA", inputs=1, outputs=1) for i in range(2)]
    with pytest.raises(DeviceError, match="could be several"):
        choose_pair(twins, "USB mic", None, None)
    assert choose_pair(twins, "USB mic, ALSA", None, None)[0].number == 0
    assert choose_pair(twins, "1", None, None)[1].number == 1


def test_no_devices_and_no_default() -> None:
    with pytest.raises(DeviceError, match="there are no sound devices here"):
        choose_pair([], "0", None, None)
    with pytest.raises(DeviceError, match="has no outputs and ALSA no default; name one with --output-device"):
        choose_pair([device(0, "mic", "ALSA", inputs=1)], "0", None, None)


@pytest.mark.parametrize(
    ("host_api", "wanted", "expected"),
    [
        ("WASAPI", ("microphone", None, None), (2, 4)),
        ("mme", ("microphone", None, None), (0, 1)),
        ("wasapi", ("scarlett", None, "realtek"), (2, 4)),
        ("ASIO", (None, None, None), (5, 5)),
    ],
)
def test_a_sound_system_chooses_among_devices_of_one_name(
    host_api: str, wanted: tuple[str | None, str | None, str | None], expected: tuple[int, int]
) -> None:
    pair = choose_pair(WINDOWS, *wanted, host_api)
    assert (pair[0].number, pair[1].number) == expected


def test_the_name_of_a_sound_system_may_be_written_otherwise_but_must_be_there() -> None:
    mac = [device(0, "Built-in", "Core Audio", inputs=1, outputs=2, default=True)]
    assert choose_pair(mac, None, None, None, "coreaudio")[0].number == 0
    with pytest.raises(DeviceError, match="no sound device belongs to JACK; there are devices of: Core Audio"):
        choose_pair(mac, None, None, None, "JACK")


@pytest.mark.parametrize(
    ("source", "sink", "more", "sentence"),
    [
        (WINDOWS[0], WINDOWS[3], {}, "belong to different sound systems"),
        (
            WINDOWS[5],
            device(6, "Babyface", "ASIO", 4, 4),
            {},
            "ASIO plays one device at a time, not Scarlett with Babyface",
        ),
        (WINDOWS[5], WINDOWS[5], {"channels": 3}, "--channels 3: Scarlett, ASIO has 2 inputs; use --channels 2"),
        (
            device(6, "mic", inputs=4),
            WINDOWS[4],
            {"channels": 4},
            r"--channels 4: Speakers \(Realtek\), WASAPI has 2 outputs; use --channels 2",
        ),
        (
            WINDOWS[5],
            WINDOWS[5],
            {"input_channel": 3},
            "--input-channel 3: Scarlett, ASIO has 2 inputs; use --input-channel 2",
        ),
        (
            WINDOWS[5],
            WINDOWS[5],
            {"input_channel": 1, "channels": 2},
            "takes one channel, --channels 2 several; give one of them",
        ),
    ],
)
def test_what_two_devices_cannot_do_together_is_a_sentence(
    source: Device, sink: Device, more: dict[str, int], sentence: str
) -> None:
    with pytest.raises(DeviceError, match=sentence):
        stream_configs(source, sink, more.get("channels", 1), 44100, input_channel=more.get("input_channel"))


def test_core_audio_would_convert_rates_unseen_so_its_own_comes_first() -> None:
    mac, card = device(0, "Built-in", "Core Audio", 1, 2), device(0, "card", "ALSA", 1, 2)
    assert rates_to_try(mac, mac, 44100)[:2] == (48000.0, 44100.0)
    assert rates_to_try(card, card, 44100)[:2] == (44100.0, 48000.0)


def test_hints_are_what_each_sound_system_understands() -> None:
    """Made by the real library; what the drivers make of them can only be seen on their systems."""

    def hints(api: str, picked: int | None = None, exclusive: bool = False) -> tuple[Any, Any]:
        there = device(0, "box", api, 2, 2)
        return host_settings(StreamConfig(there, there, 1, 1, 2, 44100.0, picked=picked, exclusive=exclusive))

    assert hints("ALSA") == hints("JACK Audio Connection Kit") == hints("ASIO") == (None, None)
    chosen, nothing = hints("ASIO", picked=1)
    assert chosen._selectors[0] == 1
    assert nothing is None
    alone, shared = hints("Windows WASAPI", exclusive=True)[0], hints("Windows WASAPI")[0]
    assert alone._streaminfo.flags & 1
    assert not shared._streaminfo.flags & 1


def test_a_missing_portaudio_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DeviceError, match="needs the Python package sounddevice; run: make setup"):
        list_devices()
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"needs the PortAudio library; run: make setup .*libportaudio2"):
        list_devices()


def test_without_the_jack_package_or_its_library_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jack", None)  # import raises ImportError
    assert JackPorts.connect() is None
