"""The command line of realtime.run: what can be asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from realtime.devices.stream_config import LARGEST_BLOCK
from realtime.knobs.targets import DEFAULT_LATENCY_MS, LATENCY_MS


class UsageError(Exception):
    """Options that make no sense, or not together."""


class Options(argparse.Namespace):
    device: str | None
    input_device: str | None
    output_device: str | None
    host_api: str | None
    channels: int | None
    input_channel: int | None
    sample_rate: float | None
    worker: bool | None
    record: Path | None
    monitor: bool
    midi_port: list[str]
    midi_virtual: bool
    midi_feedback: list[str]
    learn: bool
    osc: str | None
    osc_out: str | None
    input: Path | None
    output: Path | None
    midi: Path | None
    limiter: bool | None
    bundle: Path | None
    provider: str
    block_size: int
    latency_ms: float
    resynth: bool
    synth: bool
    phase: float | None
    map: Path | None
    knob: list[str]
    preset: str | None
    timbre: list[Path]
    snapshots: Path | None
    snapshot: str | None
    seconds: float | None
    json: Path | None
    list_devices: bool
    list_midi: bool
    list_knobs: bool


def read_options(arguments: Sequence[str]) -> Options:
    """Parse; `realtime.cli.option_checks` checks them.

    Raises
    ------
    UsageError
        With one sentence.
    """
    return parser().parse_args(arguments, Options())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; python -m realtime.run --help shows all options")


def parser() -> _Parser:
    parser = _Parser(
        prog="python -m realtime.run",
        description="Reshape the timbre of an instrument with knobs, live or from a file.",
        allow_abbrev=False,
    )
    _live_options(parser.add_argument_group("live"))
    _controller_options(parser.add_argument_group("controllers, live"))
    files = parser.add_argument_group("files")
    files.add_argument("--input", type=Path, metavar="FILE", help="sound file to play")
    files.add_argument("--output", type=Path, metavar="FILE", help="sound file to write (.wav: 32-bit float)")
    files.add_argument("--midi", type=Path, metavar="FILE.mid", help="MIDI file that turns the knobs")
    files.add_argument(
        "--limiter", action=argparse.BooleanOptionalAction, help="keep below full scale, as live; default: no"
    )
    _sound_options(parser.add_argument_group("sound"))
    other = parser.add_argument_group("other")
    other.add_argument("--seconds", type=float, metavar="S", help="stop after that much sound")
    other.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    other.add_argument("--list-devices", action="store_true", help="list the sound devices")
    other.add_argument("--list-midi", action="store_true", help="list MIDI inputs and outputs")
    other.add_argument(
        "--list-knobs",
        action="store_true",
        help="list knobs, presets and playable notes of the bundle, and the snapshots",
    )
    return parser


def _live_options(live: argparse._ArgumentGroup) -> None:
    live.add_argument(
        "--device", metavar="N|NAME", help="sound device for input and output: its number, or a unique part of its name"
    )
    live.add_argument("--input-device", metavar="N|NAME", help="another device for the input")
    live.add_argument("--output-device", metavar="N|NAME", help="another device for the output")
    live.add_argument(
        "--host-api",
        metavar="NAME",
        help="part of a sound system's name (ALSA, JACK, ASIO, WASAPI …), where devices share a name",
    )
    live.add_argument(
        "--channels",
        type=int,
        metavar="N",
        help="channels taken from the input; 1 (the default) is played on both outputs",
    )
    live.add_argument("--input-channel", type=int, metavar="N", help="take this one channel of the input, 1 …")
    live.add_argument(
        "--sample-rate", type=float, metavar="HZ", help="rate of the device; default: the model's where the device can"
    )
    live.add_argument(
        "--worker",
        action=argparse.BooleanOptionalAction,
        help="run the model beside the audio thread, one hop later; default: if it proves too slow",
    )
    live.add_argument("--record", type=Path, metavar="FILE.wav", help="write what is heard")
    live.add_argument(
        "--monitor", action="store_true", help="show one live line: levels, ms per hop, xruns, latency, preset"
    )


def _controller_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--midi-port",
        action="append",
        default=[],
        metavar="NAME",
        help="part of a MIDI input's name, repeatable; default: every input",
    )
    group.add_argument(
        "--midi-virtual", action="store_true", help="make a MIDI input of Neiro's own, for other programs to connect to"
    )
    group.add_argument(
        "--midi-feedback",
        action="append",
        default=[],
        metavar="NAME",
        help="MIDI output whose motors or lights show the knobs; repeatable",
    )
    group.add_argument(
        "--learn", action="store_true", help="tie controllers to knobs by touching them; kept in the knob map (--map)"
    )
    group.add_argument(
        "--osc", metavar="[HOST:]PORT", help="listen for OSC; on this machine only, unless a host is named"
    )
    group.add_argument("--osc-out", metavar="[HOST:]PORT", help="send every change of a knob as OSC")


def _sound_options(sound: argparse._ArgumentGroup) -> None:
    sound.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="model; default: newest *.bundle in the working directory, else the built-in one",
    )
    sound.add_argument(
        "--knob",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a knob; no controller moves it; repeatable",
    )
    sound.add_argument("--preset", metavar="NAME|NUMBER", help="start with an instrument's timbre; 0 = your own")
    sound.add_argument(
        "--timbre",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="start with a sound file's timbre, as preset 'own 1'; repeatable",
    )
    sound.add_argument("--resynth", action="store_true", help="start with the resynth way out (knob resynth = 1)")
    sound.add_argument(
        "--synth", action="store_true", help="start with the synth way out (knob synth = 1), of a harmonic model"
    )
    sound.add_argument(
        "--phase",
        type=float,
        metavar="0…1",
        help="start with this knob phase: 0 = rebuilt, 1 = the input's; for resynth",
    )
    sound.add_argument(
        "--latency-ms",
        type=float,
        default=DEFAULT_LATENCY_MS,
        metavar="MS",
        help=(
            f"of the resynth way out, {LATENCY_MS[0]:g} … {LATENCY_MS[1]:g}, at most half the model's window; default "
            f"{DEFAULT_LATENCY_MS:g}; more sounds better"
        ),
    )
    sound.add_argument(
        "--snapshots", type=Path, metavar="FILE.toml", help="snapshots' file; default: neiro-snapshots.toml here"
    )
    sound.add_argument("--snapshot", metavar="NUMBER|NAME", help="start with a snapshot")
    sound.add_argument(
        "--map", type=Path, metavar="FILE.toml", help="knob map; default: neiro-map.toml here, else the built-in one"
    )
    sound.add_argument(
        "--block-size",
        type=int,
        default=0,
        metavar="N",
        help=f"samples per block, 1 … {LARGEST_BLOCK}; 0 (default): the driver's choice",
    )
    sound.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
