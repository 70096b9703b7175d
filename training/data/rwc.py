"""The RWC Musical Instrument Sound Database as a data set: python -m training.data.rwc --source DIR --out DIR

A file holds the notes of one instrument, style and dynamics in ascending semitones, with mute gaps between them; string
instruments string by string. Each file is split at its silences. If it holds as many sounds as its range has semitones,
they are named in order, and estimated pitches only have to not contradict it; otherwise an ascending sequence that
explains the estimates is sought, and if there is none the file is left out and named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from training.console import run_command
from training.data.build.convert import Found, run_source
from training.data.build.cutting import Cut, Cuts, SourceFile
from training.data.build.pitches import Alignment, align, estimate, in_order
from training.data.build.recordings import Recording
from training.data.build.rwc_table import (
    FILE_NAME,
    LIST_NAME,
    VELOCITIES,
    Instrument,
    Range,
    known_instrument,
    read_list,
    read_ranges,
    with_range,
)
from training.data.build.segment import find_sounds, find_this_many
from training.data.labels import as_text, counted, note_name
from training.data.listing import list_files
from training.data.manifest import DataError
from training.data.options import Parser, source_parser

CONTRADICTED = 0.5  # below this share of confirming estimates, names in order are doubted
# an alignment needs these shares of confirming estimates, with octaves pardoned and without
CONFIRMED = 0.8
EXACT = 0.6
IRREGULAR, RESTARTS = 0.1, 7  # and at most this share of missed or repeated notes, and this many further strings


@dataclass(frozen=True)
class RwcFile(SourceFile):
    """`low`, `high`: its lowest and highest MIDI note, None if unpitched; `refused`: why its labels are not known, ""
    if they are.
    """

    low: int | None
    high: int | None
    refused: str

    def cut(self, recording: Recording, samples: int) -> Cuts:
        """Its notes, from their onsets on."""
        if self.refused:
            return Cuts(skipped=self.refused)
        audio, rate = recording.audio, recording.sample_rate
        if self.low is None or self.high is None:
            return Cuts([Cut(audio[start:end], None) for start, end in find_sounds(audio, rate)])
        expected = self.high - self.low + 1
        sounds = [audio[start:end] for start, end in find_this_many(audio, rate, expected)]
        if not sounds:
            return Cuts()
        estimates = estimate(sounds, rate, self.low, self.high)
        chosen, words = self._name(estimates, expected)
        if chosen is None:
            return Cuts(skipped=words)
        return Cuts(
            _without_fragments([Cut(sound, float(note)) for sound, note in zip(sounds, chosen.notes, strict=True)]),
            remark=words,
        )

    def _name(self, estimates: np.ndarray, expected: int) -> tuple[Alignment | None, str]:
        """The notes of the sounds, None if they cannot be told; and a remark, or the reason."""
        low, high = int(self.low or 0), int(self.high or 0)
        span = f"{note_name(low)} … {note_name(high)}"
        ordered = in_order(estimates, low)
        if len(estimates) == expected and ordered.confirmed >= CONTRADICTED:
            return ordered, ""
        other = align(estimates, low, high)
        fits = other.confirmed >= CONFIRMED and other.exact >= EXACT
        if fits and other.irregular <= IRREGULAR * len(estimates) and other.restarts <= RESTARTS:
            return (
                other,
                f"{counted(len(estimates), 'sound')} for the {expected} notes {span}, named by estimated pitch",
            )
        if len(estimates) == expected:
            return (
                ordered,
                f"as many sounds as notes {span}, but estimated pitch confirms only {round(100 * ordered.confirmed)} % "
                "of them",
            )
        return (
            None,
            f"{counted(len(estimates), 'sound')} for the {expected} notes {span}, and estimated pitches give no "
            "ascending order; give its --ranges",
        )


def _without_fragments(cuts: list[Cut]) -> list[Cut]:
    """Of the same note twice in a row the louder: a long tail that swells once more was split off its sound."""
    kept: list[Cut] = []
    for cut in cuts:
        if not kept or kept[-1].pitch != cut.pitch:
            kept.append(cut)
        elif np.abs(cut.audio).max() > np.abs(kept[-1].audio).max():
            kept[-1] = cut
    return kept


def _find(options: argparse.Namespace) -> Found:
    source: Path = options.source
    own = next(iter(sorted(source.rglob(LIST_NAME))), None)
    listed, given = read_list(own) if own else {}, read_ranges(options.ranges) if options.ranges else {}
    files, others = [], []
    listing = list_files(source)
    for name in listing.audio:
        stem = PurePosixPath(name).stem.upper()
        match = FILE_NAME.fullmatch(stem)
        if match:
            number, _, symbol, _, dynamics = match.groups()
            known = _labels(int(number), symbol, [listed.get(stem), given.get(symbol), given.get(stem)])
            files.append(_file(name, known, VELOCITIES[dynamics], symbol))
        else:
            others.append(as_text(name))
    if not files:
        raise DataError(
            f"{source} holds no file named like 011PFNOF.WAV; name the folder of the RWC instrument sounds with "
            "--source DIR"
        )
    remarks = (
        [f"{counted(len(others), 'file')} left out, not named like 011PFNOF.WAV: {', '.join(others[:5])}"]
        if others
        else []
    )
    remarks += listing.remarks
    if own is None:
        remarks.append(f"{LIST_NAME} is not in the source, so ranges come from the built-in table")
    return Found("rwc", source, tuple(files), options.sample_rate, tuple(remarks))


def _labels(number: int, symbol: str, lists: Sequence[Range | None]) -> Instrument | None:
    """From the table, then from what the lists say of this file; the last one counts."""
    known = known_instrument(number, symbol)
    for found in lists:
        if found is not None:
            known = with_range(
                known or Instrument(symbol, "other" if found.low is not None else "percussion", None, None), found
            )
    return known


def _file(path: str, known: Instrument | None, velocity: int, symbol: str) -> RwcFile:
    if known is None:
        refused = (
            f"symbol {symbol} is not in the table; put the database's {LIST_NAME} into the source or give its --ranges"
        )
        return RwcFile(path, symbol, "other", None, velocity, "", None, None, refused)
    return RwcFile(path, known.name, known.family, None, velocity, "", known.low, known.high, "")


def _parser() -> Parser:
    parser = source_parser(
        "training.data.rwc",
        "Turn the RWC Musical Instrument Sound Database (RWC-MDB-I-2001) into a data set of single notes.",
    )
    parser.add_argument(
        "--ranges",
        type=Path,
        metavar="FILE",
        help="CSV of file or symbol, lowest note, highest note; overrides list and table",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert or check; returns the exit code."""
    return run_source(_parser().parse_args(arguments), _find)


if __name__ == "__main__":
    run_command(main)
