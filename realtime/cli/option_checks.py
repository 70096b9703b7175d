"""Options that are out of range or contradict each other, refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

from realtime.cli.options import Options, UsageError
from realtime.devices.stream_config import LARGEST_BLOCK
from realtime.dsp.rates import POSSIBLE_RATES, is_possible
from realtime.knobs.targets import LATENCY_MS

LIVE_ONLY = (
    *(
        "device",
        "input_device",
        "output_device",
        "host_api",
        "channels",
        "input_channel",
        "sample_rate",
        "worker",
        "record",
        "monitor",
    ),
    *("midi_port", "midi_virtual", "midi_feedback", "learn", "osc", "osc_out"),
)
HOST = "127.0.0.1"


def check(options: Options) -> None:
    """Refuse what makes no sense.

    Raises
    ------
    UsageError
        With one sentence.
    """
    _check_numbers(options)
    _check_working_directory(options)
    if options.list_devices or options.list_midi or options.list_knobs:
        return
    for path in (options.output, options.json, options.record, options.snapshots):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):  # told now, not after an hour of playing
            raise UsageError(
                f"cannot write {path}: {'it is a folder' if path.is_dir() else f'there is no folder {path.parent}'}"
            )
    for name in ("osc", "osc_out"):
        if (text := getattr(options, name)) is not None:
            address(text, name)
    if options.osc_out is not None and options.osc is None:
        raise UsageError("--osc-out needs --osc: answers come from the port that it listens on")
    if options.resynth and options.synth:
        raise UsageError("--resynth and --synth are two ways out; start with one of them, and mix with their knobs")
    _check_names(options)
    if options.input or options.output or options.midi:
        _check_files(options)
    else:
        _check_live(options)


def address(text: str, option: str) -> tuple[str, int]:
    """'9000' or 'stage.local:9000' → host and port.

    Raises
    ------
    UsageError
        Not of that form.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise UsageError(f"--{option.replace('_', '-')} {text}: give a port from 1 to 65535, or HOST:PORT")
    return host.strip("[]") or HOST, int(port)


def _check_numbers(options: Options) -> None:
    if not 0 <= options.block_size <= LARGEST_BLOCK:
        raise UsageError(f"--block-size {options.block_size} is outside 0 … {LARGEST_BLOCK}")
    if not LATENCY_MS[0] <= options.latency_ms <= LATENCY_MS[1]:
        raise UsageError(f"--latency-ms {options.latency_ms:g} is outside {LATENCY_MS[0]:g} … {LATENCY_MS[1]:g}")
    if options.phase is not None and not 0 <= options.phase <= 1:
        raise UsageError(f"--phase {options.phase:g} is outside 0 … 1")
    if options.sample_rate is not None and not is_possible(options.sample_rate):
        raise UsageError(f"--sample-rate {options.sample_rate:g} is outside {POSSIBLE_RATES}")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds {options.seconds:g} must be more than 0")
    for name in ("channels", "input_channel"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise UsageError(f"--{name.replace('_', '-')} {number} must be at least 1")


def _check_working_directory(options: Options) -> None:
    """Without one, relative paths mean nothing, and whole ones still do."""
    try:
        Path.cwd()
    except FileNotFoundError:
        given = [found for value in vars(options).values() for found in (value if isinstance(value, list) else [value])]
        for path in given:
            if isinstance(path, Path) and not path.is_absolute():
                raise UsageError(
                    f"there is no {path}: the working directory was deleted; change to another, or give whole paths"
                ) from None


def _check_live(options: Options) -> None:
    if not (options.device or options.input_device or options.output_device):
        raise UsageError("give --device N to play live (--list-devices shows them), or --input FILE --output FILE")
    if options.input_channel and options.channels:
        raise UsageError("--input-channel takes one channel and --channels several; give one of them")
    if options.limiter is not None:
        raise UsageError("--limiter is for files; live sound is always kept below full scale")


def _check_files(options: Options) -> None:
    if not (options.input and options.output):
        raise UsageError(
            f"--{'output' if options.input else 'input'} is missing: files need both --input FILE and --output FILE"
        )
    for name in LIVE_ONLY:
        value = getattr(options, name)
        if value or (name == "worker" and value is not None):
            raise UsageError(f"--{name.replace('_', '-')} is for live playing and --input for files; give one of them")


def _check_names(options: Options) -> None:
    """No file is read and written, or written twice."""
    names = ("input", "output", "midi", "map", "json", "record", "snapshots")
    seen: dict[Path, str] = {}
    for name in names:
        path = getattr(options, name)
        if path is not None and seen.setdefault(path.resolve(), name) != name:
            raise UsageError(f"--{seen[path.resolve()]} and --{name} are the same file, {path}; choose another name")
