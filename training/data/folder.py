"""Any folder of recordings as a data set: python -m training.data.folder --source DIR --out DIR

Every format libsndfile reads, any rate, any number of channels (their mean is used).

Labels: the folder of a file is its instrument, the folder above that its family (DIR itself is neither); the file name
may tell the note ('A4', 'C#3', 'Bb2', 'm60', '_60_') and the velocity ('v100', 'pp' … 'ff'). What is not told is
unlabelled: instrument and family 'unlabelled', pitch none, velocity 0. No pitch is ever guessed from the sound.
Folders may be links.

A file whose name tells a note is one sound, or, if it is longer than --seconds and holds several, that many of this
note; if most of them are other notes by their estimated pitch, the name is not believed. Any other file longer than
--seconds is cut at its silences, and what then is still longer into consecutive pieces, at note onsets where there are
any. Pieces of one recording share a split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from training.console import run_command
from training.data.build.convert import Found, run_source
from training.data.build.cutting import UNLABELLED, Cut, Cuts, SourceFile
from training.data.build.pitches import CONFIRMING, estimate
from training.data.build.recordings import Recording
from training.data.build.segment import find_sounds, pieces
from training.data.labels import as_text, counted, label_of, note_name, pitch_in, velocity_in
from training.data.listing import list_files
from training.data.manifest import DataError
from training.data.options import source_parser

LOWEST_NOTE, HIGHEST_NOTE = 21, 108  # A0 … C8


@dataclass(frozen=True)
class FolderFile(SourceFile):
    """A recording: one note if its name says so, else as many sounds as are found in it."""

    def cut(self, recording: Recording, samples: int) -> Cuts:
        """Its sounds, from their onsets on."""
        audio, rate = recording.audio, recording.sample_rate
        if len(audio) <= samples:
            return super().cut(recording, samples)
        stretches, remark = find_sounds(audio, rate), ""
        if self.pitch is not None:
            if len(stretches) < 2:
                return super().cut(recording, samples)
            sounds = [audio[start:end] for start, end in stretches]
            if _are(sounds, rate, self.pitch):
                return Cuts([Cut(sound, self.pitch) for sound in sounds])
            remark = f"{note_name(self.pitch)} in its name, most of its {len(sounds)} sounds other notes: no pitch"
        found = [piece for stretch in stretches for piece in pieces(audio, rate, stretch, samples)]
        return Cuts([Cut(audio[start:end], None) for start, end in found], remark=remark)


def _are(sounds: Sequence[np.ndarray], sample_rate: int, pitch: float) -> bool:
    """Whether half of these sounds or more are this note, octaves aside."""
    away = np.abs(estimate(sounds, sample_rate, LOWEST_NOTE, HIGHEST_NOTE) - pitch)
    return bool(np.mean(np.abs((away + 6) % 12 - 6) < CONFIRMING) >= 0.5)


def _find(options: argparse.Namespace) -> Found:
    source: Path = options.source
    listing = list_files(source)
    files, others = [_file(name) for name in listing.audio], [as_text(name) for name in listing.others]
    if not files:
        listed = f"{counted(len(others), 'file')} but no audio" if others else "no files"
        raise DataError(
            f"{source} holds {listed}; name a folder with recordings (WAV, FLAC, OGG, MP3, AIFF, …) with --source DIR"
        )
    remarks = [f"{counted(len(others), 'other file')} left out: {', '.join(others[:5])}"] if others else []
    remarks += listing.remarks
    unpitched = sum(file.pitch is None for file in files)
    if unpitched:
        remarks.append(f"{unpitched} of {len(files)} file names tell no note")
    return Found("folder", source, tuple(files), options.sample_rate, tuple(remarks))


def _file(name: str) -> FolderFile:
    path = PurePosixPath(name)
    folders = path.parts[:-1]
    instrument = label_of(folders[-1]) if folders else UNLABELLED
    family = label_of(folders[-2]) if len(folders) > 1 else UNLABELLED
    return FolderFile(name, instrument, family, pitch_in(path.stem), velocity_in(path.stem), "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert or check; returns the exit code."""
    return run_source(
        source_parser("training.data.folder", "Turn any folder of recordings into a data set.").parse_args(arguments),
        _find,
    )


if __name__ == "__main__":
    run_command(main)
