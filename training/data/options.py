"""What the command lines of the data sources share: readers of numbers, lists and shares, and the options every source
has.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from training.data.manifest import SPLITS


class Parser(argparse.ArgumentParser):
    """Complains in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")


def number_list(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """A reader of '0-95,104': whole numbers from low to high, ascending, each once."""

    def read(text: str) -> tuple[int, ...]:
        numbers: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if not (first.isdecimal() and (last.isdecimal() or not dash)):
                raise argparse.ArgumentTypeError(
                    f"cannot read {text!r}; write numbers and ranges, for example 0-95,104"
                )
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
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a {'whole ' if kind is int else ''}number within {low:g} … {high:g}"
            )
        return value

    return read


def split_shares(text: str) -> tuple[float, float, float]:
    """A reader of '0.7,0.15,0.15'."""
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        train = validation = test = math.nan
    if not (min(train, validation, test) >= 0 and math.isclose(train + validation + test, 1, abs_tol=1e-6)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three shares ({', '.join(SPLITS)}) that add up to 1, for example 0.7,0.15,0.15"
        )
    return train, validation, test


def word_list(text: str) -> tuple[str, ...]:
    """A reader of 'bass,brass'."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def add_set_options(parser: argparse.ArgumentParser, *, sample_rate: int | None = 44100) -> None:
    """The options of every data set: length, rate, processes, split. `sample_rate` None: the source's own."""
    add = parser.add_argument
    rate = "the source's" if sample_rate is None else "%(default)s"
    add(
        "--seconds",
        type=number(0.05, 60),
        default=2.0,
        metavar="S",
        help="longest sound, from its onset; default: %(default)s",
    )
    add(
        "--sample-rate",
        type=number(8000, 96000, int),
        default=sample_rate,
        metavar="HZ",
        help=f"samples per second; default: {rate}",
    )
    add("--workers", type=number(1, 1024, int), metavar="N", help="processes; default: one per core")
    add("--seed", type=number(0, 2**32 - 1, int), default=0, metavar="N", help="of the split; default: %(default)s")
    shares = f"shares of {', '.join(SPLITS)}, within each instrument"
    add("--split", type=split_shares, default="0.7,0.15,0.15", metavar="A,B,C", help=f"{shares}; default: %(default)s")
    add("--overwrite", action="store_true", help="replace another data set in DIR")


def source_parser(command: str, description: str, *, sample_rate: int | None = 44100) -> Parser:
    """The parser of a source that reads a folder: --source, --out, --check and the options of every data set."""
    parser = Parser(
        prog=f"python -m {command}", description=f"{description} A run that was stopped continues where it was."
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", required=True, help="folder to read; nothing is written there"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the data set; needed unless --check")
    parser.add_argument("--check", action="store_true", help="read everything, print the account, write nothing")
    add_set_options(parser, sample_rate=sample_rate)
    return parser
