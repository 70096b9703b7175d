"""Choosing devices, on lists as different systems give them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from realtime.devices import Device, DeviceError, choose_pair, list_devices, plan_route


def device(number: int, name: str, api: str = "WASAPI", inputs: int = 0, outputs: int = 0, default: bool = False) -> Device:
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
def test_a_device_is_meant_by_number_name_or_part(wanted: tuple[str | None, str | None, str | None], expected: tuple[int, int]) -> None:
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
def test_what_cannot_be_meant_is_a_sentence_with_what_there_is(wanted: tuple[str | None, str | None, str | None], expected: str) -> None:
    with pytest.raises(DeviceError, match=expected):
        numbers(*wanted)


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


def test_two_sound_systems_do_not_mix() -> None:
    with pytest.raises(DeviceError, match="belong to different sound systems"):
        plan_route(WINDOWS[0], WINDOWS[3], 1, 44100)


def test_a_missing_portaudio_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DeviceError, match="needs the Python package sounddevice; run: make setup"):
        list_devices()
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"needs the PortAudio library; run: make setup .*libportaudio2"):
        list_devices()
