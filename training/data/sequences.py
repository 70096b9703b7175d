"""Render phrases with a moving pitch from a SoundFont: python -m training.data.sequences --soundfont FILE --out DIR

The same labels, splits and files as training.data.soundfont, and beside every audio-PPP.i16 the pitch that is heard,
audio-PPP.pitch.f32.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.console import run_command
from training.data.build.gm import PROGRAMS
from training.data.build.phrase_shard import PhraseRequest
from training.data.build.rendering import render_command
from training.data.options import Parser, add_set_options, number, number_list

_LAST_PITCHED = max(program.number for program in PROGRAMS if program.pitched)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m training.data.sequences",
        description=(
            "Render random phrases (glides, legato, vibrato, rests) and their pitch. A run that was stopped continues "
            "where it was."
        ),
        conflict_handler="resolve",  # two of the options of every data set mean something else here
    )
    add, programs = parser.add_argument, number_list(0, _LAST_PITCHED)
    add(
        "--soundfont",
        type=Path,
        metavar="FILE",
        help="default: FluidR3 GM if installed, else the small one inside pretty_midi",
    )
    add("--out", type=Path, metavar="DIR", required=True, help="folder of the data set")
    add(
        "--programs",
        type=programs,
        default="0-111",
        metavar="LIST",
        help="General MIDI programs, from 0; default: %(default)s",
    )
    add("--phrases", type=number(1, 99999, int), default=40, metavar="N", help="per program; default: %(default)s")
    add_set_options(parser)
    add(
        "--seconds", type=number(0.5, 60), default=4.0, metavar="S", help="length of every phrase; default: %(default)s"
    )
    add(
        "--seed",
        type=number(0, 2**32 - 1, int),
        default=0,
        metavar="N",
        help="of the phrases and the split; default: %(default)s",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Render; returns the exit code: 0, 2 for what cannot be done (one sentence on stderr), 130 when interrupted."""
    return render_command(_parser().parse_args(arguments), _request)


def _request(options: argparse.Namespace, soundfont: str, sha256: str) -> PhraseRequest:
    return PhraseRequest(
        soundfont=soundfont,
        soundfont_sha256=sha256,
        programs=options.programs,
        phrases=options.phrases,
        seconds=options.seconds,
        sample_rate=options.sample_rate,
        seed=options.seed,
        split=options.split,
    )


if __name__ == "__main__":
    run_command(main)
