"""Render a SoundFont to a data set: python -m training.data.soundfont --soundfont FILE --out DIR

One job per General MIDI program, plus one for the percussion bank (program 128). A job writes audio-PPP.i16, then
rows-PPP.csv, each in one step. Each job begins with a fresh synthesizer, so the data set depends on the request alone,
not on the number of processes or on interruptions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.console import run_command
from training.data.build.gm import HIGHEST_NOTE, LOWEST_NOTE, PERCUSSION
from training.data.build.rendering import render_command
from training.data.build.shard import Request
from training.data.options import Parser, add_set_options, number_list


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m training.data.soundfont",
        description="Render a SoundFont to a data set of single notes. A run that was stopped continues where it was.",
    )
    add = parser.add_argument
    add(
        "--soundfont",
        type=Path,
        metavar="FILE",
        help="default: FluidR3 GM if installed, else the small one inside pretty_midi",
    )
    add("--out", type=Path, metavar="DIR", required=True, help="folder of the data set")
    add(
        "--programs",
        type=number_list(0, 127),
        default="0-111",
        metavar="LIST",
        help="General MIDI programs, from 0; default: %(default)s",
    )
    add(
        "--velocities",
        type=number_list(1, 127),
        default="45,80,115",
        metavar="LIST",
        help="MIDI velocities; default: %(default)s",
    )
    notes = f"{LOWEST_NOTE}-{HIGHEST_NOTE}"
    add(
        "--notes",
        type=number_list(LOWEST_NOTE, HIGHEST_NOTE),
        default=notes,
        metavar="LIST",
        help="those within each instrument's range; default: %(default)s",
    )
    add(
        "--percussion",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="render the percussion bank, all its keys; default: yes",
    )
    add_set_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Render; returns the exit code: 0, 2 for what cannot be done (one sentence on stderr), 130 when interrupted."""
    return render_command(_parser().parse_args(arguments), _request)


def _request(options: argparse.Namespace, soundfont: str, sha256: str) -> Request:
    return Request(
        soundfont=soundfont,
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
    run_command(main)
