"""The command line of realtime.run: what can be asked for, and what contradicts itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

LARGEST_BLOCK = 8192
LIVE_ONLY = ("device", "input_device", "output_device", "midi_port", "channels")


class UsageError(Exception):
    """Options that make no sense, or not together."""


class Options(argparse.Namespace):
    device: str | None
    input_device: str | None
    output_device: str | None
    channels: int | None
    midi_port: list[str]
    input: Path | None
    output: Path | None
    midi: Path | None
    bundle: Path | None
    provider: str
    block_size: int
    map: Path | None
    knob: list[str]
    preset: str | None
    seconds: float | None
    json: Path | None
    list_devices: bool
    list_midi: bool
    list_knobs: bool


def read_options(arguments: Sequence[str]) -> Options:
    """Parse and check.

    Raises
    ------
    UsageError
        With one sentence.
    """
    options = parser().parse_args(arguments, Options())
    _check(options)
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; python -m realtime.run --help shows all options")


def parser() -> _Parser:
    parser = _Parser(
        prog="python -m realtime.run", description="Reshape the timbre of an instrument with knobs, live or from a file.", allow_abbrev=False
    )
    live = parser.add_argument_group("live")
    live.add_argument("--device", metavar="N|NAME", help="sound device for input and output: its number, or a unique part of its name")
    live.add_argument("--input-device", metavar="N|NAME", help="another device for the input")
    live.add_argument("--output-device", metavar="N|NAME", help="another device for the output")
    live.add_argument("--channels", type=int, metavar="N", help="channels taken from the input; 1 (the default) is played on both outputs")
    live.add_argument(
        "--midi-port", action="append", default=[], metavar="NAME", help="part of a MIDI input's name, repeatable; default: every input"
    )
    files = parser.add_argument_group("files")
    files.add_argument("--input", type=Path, metavar="FILE", help="sound file to play")
    files.add_argument("--output", type=Path, metavar="FILE", help="sound file to write (.wav: 32-bit float)")
    files.add_argument("--midi", type=Path, metavar="FILE.mid", help="MIDI file that turns the knobs")
    sound = parser.add_argument_group("sound")
    sound.add_argument("--bundle", type=Path, metavar="DIR", help="model; default: newest *.bundle in the working directory, else the built-in one")
    sound.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE", help="fix a knob; MIDI does not move it; repeatable")
    sound.add_argument("--preset", metavar="NAME|NUMBER", help="start with an instrument's timbre; 0 = your own")
    sound.add_argument("--map", type=Path, metavar="FILE.toml", help="knob map; default: CC 20-27 timbre, 28 mix, 29 gain, program change preset")
    sound.add_argument(
        "--block-size", type=int, default=0, metavar="N", help=f"samples per block, 1 … {LARGEST_BLOCK}; 0 (default): the driver's choice"
    )
    sound.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    other = parser.add_argument_group("other")
    other.add_argument("--seconds", type=float, metavar="S", help="stop after that much sound")
    other.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    other.add_argument("--list-devices", action="store_true", help="list the sound devices")
    other.add_argument("--list-midi", action="store_true", help="list the MIDI inputs")
    other.add_argument("--list-knobs", action="store_true", help="list knobs and presets of the bundle")
    return parser


def _check(options: Options) -> None:
    """Refuse contradictions before anything is opened."""
    if not 0 <= options.block_size <= LARGEST_BLOCK:
        raise UsageError(f"--block-size {options.block_size} is outside 0 … {LARGEST_BLOCK}")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds {options.seconds:g} must be more than 0")
    if options.channels is not None and options.channels < 1:
        raise UsageError(f"--channels {options.channels} must be at least 1")
    if options.list_devices or options.list_midi or options.list_knobs:
        return
    for path in (options.output, options.json):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):  # told now, not after an hour of playing
            raise UsageError(f"cannot write {path}: {'it is a folder' if path.is_dir() else f'there is no folder {path.parent}'}")
    if options.input or options.output or options.midi:
        _check_files(options)
    elif not (options.device or options.input_device or options.output_device):
        raise UsageError("give --device N to play live (--list-devices shows them), or --input FILE --output FILE")


def _check_files(options: Options) -> None:
    if not (options.input and options.output):
        raise UsageError(f"--{'output' if options.input else 'input'} is missing: files need both --input FILE and --output FILE")
    for name in LIVE_ONLY:
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is for live playing and --input for files; give one of them")
    paths = {"--input": options.input, "--output": options.output, "--midi": options.midi, "--map": options.map, "--json": options.json}
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None and seen.setdefault(path.resolve(), name) != name:
            raise UsageError(f"{seen[path.resolve()]} and {name} are the same file, {path}; choose another name")
