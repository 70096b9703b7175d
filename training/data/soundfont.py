"""Render a SoundFont to a data set: python -m training.data.soundfont --soundfont FILE --out DIR

One job per General MIDI program, plus one for the percussion bank (program 128). A job writes audio-PPP.i16, then rows-PPP.csv, each in one
step. Each job begins with a fresh synthesizer, so the data set depends on the request alone, not on the number of processes or on interruptions.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from training.data.fluid import check_soundfont, default_soundfont, load_fluidsynth
from training.data.gm import HIGHEST_NOTE, LOWEST_NOTE, PERCUSSION
from training.data.manifest import SPLITS, DataError
from training.data.rendering import render
from training.data.shard import Request


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")


def number_list(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """A reader of '0-95,104': whole numbers from low to high, ascending, each once."""

    def read(text: str) -> tuple[int, ...]:
        numbers: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if not (first.isdecimal() and (last.isdecimal() or not dash)):
                raise argparse.ArgumentTypeError(f"cannot read {text!r}; write numbers and ranges, for example 0-95,104")
            bounds = int(first), int(last or first)
            if not low <= bounds[0] <= bounds[1] <= high:
                raise argparse.ArgumentTypeError(f"{part.strip()} is not an ascending range within {low} … {high}")
            numbers.update(range(bounds[0], bounds[1] + 1))
        return tuple(sorted(numbers))

    return read


def number(low: float, high: float, kind: type = float) -> Callable[[str], float]:
    """A reader of one number within [low, high]."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' if kind is int else ''}number within {low:g} … {high:g}")
        return value

    return read


def split_shares(text: str) -> tuple[float, float, float]:
    """A reader of '0.7,0.15,0.15'."""
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        train = validation = test = math.nan
    if not (min(train, validation, test) >= 0 and math.isclose(train + validation + test, 1, abs_tol=1e-6)):
        raise argparse.ArgumentTypeError(f"{text!r} is not three shares ({', '.join(SPLITS)}) that add up to 1, for example 0.7,0.15,0.15")
    return train, validation, test


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m training.data.soundfont",
        description="Render a SoundFont to a data set of single notes. A run that was stopped continues where it was.",
    )
    add = parser.add_argument
    add("--soundfont", type=Path, metavar="FILE", help="default: FluidR3 GM if installed, else the small one inside pretty_midi")
    add("--out", type=Path, metavar="DIR", required=True, help="folder of the data set")
    add("--programs", type=number_list(0, 127), default="0-111", metavar="LIST", help="General MIDI programs, from 0; default: %(default)s")
    add("--velocities", type=number_list(1, 127), default="45,80,115", metavar="LIST", help="MIDI velocities; default: %(default)s")
    notes, shares = f"{LOWEST_NOTE}-{HIGHEST_NOTE}", f"shares of {', '.join(SPLITS)}, within each instrument"
    add(
        "--notes",
        type=number_list(LOWEST_NOTE, HIGHEST_NOTE),
        default=notes,
        metavar="LIST",
        help="those within each instrument's range; default: %(default)s",
    )
    add("--seconds", type=number(0.05, 60), default=2.0, metavar="S", help="longest sound, from its onset; default: %(default)s")
    add("--sample-rate", type=number(8000, 96000, int), default=44100, metavar="HZ", help="samples per second; default: %(default)s")
    add("--percussion", action=argparse.BooleanOptionalAction, default=True, help="render the percussion bank, all its keys; default: yes")
    add("--workers", type=number(1, 1024, int), metavar="N", help="rendering processes; default: one per core")
    add("--seed", type=number(0, 2**32 - 1, int), default=0, metavar="N", help="of the split; default: %(default)s")
    add(
        "--split",
        type=split_shares,
        default="0.7,0.15,0.15",
        metavar="A,B,C",
        help=f"{shares}; default: %(default)s",
    )
    add("--overwrite", action="store_true", help="replace another data set in DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Render; returns the exit code: 0, 2 for what cannot be done (one sentence on stderr), 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        load_fluidsynth()
        soundfont = options.soundfont or default_soundfont()
        check_soundfont(soundfont)
        print(f"SoundFont: {soundfont}")
        account = render(_request(options, soundfont), soundfont, options.out, workers=options.workers, overwrite=options.overwrite)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    if account.soundless:
        print(f"no sound from: {', '.join(account.soundless)}")
    print(f"{account.sounds} sounds in {options.out}, {account.silent} silent notes dropped")
    return 0


def _request(options: argparse.Namespace, soundfont: Path) -> Request:
    try:
        with soundfont.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{soundfont} cannot be read ({error.strerror}); name another file with --soundfont FILE") from None
    return Request(
        soundfont=soundfont.name,
        soundfont_sha256=sha256,
        programs=(*options.programs, PERCUSSION) if options.percussion else options.programs,
        notes=options.notes,
        velocities=options.velocities,
        seconds=options.seconds,
        sample_rate=options.sample_rate,
        seed=options.seed,
        split=options.split,
    )


if __name__ == "__main__":
    sys.exit(main())
