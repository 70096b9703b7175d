"""The data set on disk, whatever its source: one row per sound, audio as raw samples, any sound readable without
touching the others.

    manifest.csv    a row per sound, columns `COLUMNS`
    dataset.json    format_version, sample_rate, sounds (their number), and what the source says about itself
    *.i16           little-endian int16 samples, mono, many sounds per file, each peak-normalised to `PEAK_DBFS`
    *.pitch.f32     beside a .i16 whose sounds change their pitch: little-endian float32, `PITCH_STEP_SAMPLES` samples
    each (`SoundStore.pitch_track`)

Files are replaced in one step, dataset.json last: where it is, the data set is complete.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.data.splits import SPLITS, deal

FORMAT_VERSION = 1
PEAK_DBFS = -1.0
FULL_SCALE = 32768
REMAKE = "make it again with its source, for example: python -m training.data.soundfont --out"


class DataError(Exception):
    """A data set that cannot be used; the message says what to do."""


class LabelError(DataError):
    """A label that does not occur in a data set.

    option : what selects by that kind of label: "families", "instruments" or "programs"
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True)
class Sound:
    """One row of the manifest."""

    sound: str  # unique name
    file: str  # relative to the data set
    offset: int  # samples, from the start of the file
    length: int  # samples
    instrument: str
    family: str
    program: int  # General MIDI program from 0, 128 for the percussion bank, -1 where there is none
    pitch: float | None  # MIDI note, None if unpitched
    velocity: int  # MIDI velocity, 0 if unknown
    gain_db: float  # gain that gives the original level back
    split: str


COLUMNS = tuple(field.name for field in fields(Sound))


@dataclass(frozen=True, eq=False)
class SoundSet:
    """Sounds of one data set: a column per property, each of shape (sounds,). `pitch` is NaN where unpitched."""

    directory: Path
    sample_rate: int
    sound: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    instrument: np.ndarray
    family: np.ndarray
    program: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    gain_db: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.sound)

    def take(self, rows: np.ndarray) -> SoundSet:
        """The sounds at these rows (indices or a mask), in that order."""
        return replace(self, **{column: getattr(self, column)[rows] for column in COLUMNS})

    def spread(self, count: int) -> SoundSet:
        """At most so many of the sounds, at even distances, in their order."""
        return self.take(np.unique(np.linspace(0, len(self) - 1, count).astype(int)))

    def select(
        self,
        *,
        split: str | None = None,
        families: Iterable[str] | None = None,
        instruments: Iterable[str] | None = None,
        programs: Iterable[int] | None = None,
        pitches: Sequence[float] | None = None,
        held_out_instruments: Sequence[int] | None = None,
        held_out_notes: Sequence[float] | None = None,
    ) -> SoundSet:
        """The sounds that meet every condition given; may be empty.

        pitches : lowest and highest MIDI note, both kept; unpitched sounds are not
        held_out_instruments : instead of the manifest's split by sound, split by instrument: so many instruments for
            validation and so many for test, drawn at random by a fixed seed from those that meet the other conditions;
            the others are for training
        held_out_notes : instead of the manifest's split by sound, split by note: these shares of every instrument's
            notes for validation and for test, all velocities of a note together. With `held_out_instruments` both hold.

        Raises
        ------
        LabelError
            If a family, instrument or program does not occur in this set's labels.
        DataError
            If there is no such split, no instrument is left to train on, or the shares of notes are none.
        """
        if split is not None and split not in SPLITS:
            raise DataError(f"there is no split {split!r}; choose from {', '.join(SPLITS)}")
        keep = np.ones(len(self), bool)
        for column, wanted in (("family", families), ("instrument", instruments), ("program", programs)):
            if wanted is not None:
                keep &= self._among(column, [wanted] if isinstance(wanted, str) else list(wanted))
        if pitches is not None:
            keep &= (self.pitch >= pitches[0]) & (self.pitch <= pitches[1])
        chosen = self.take(keep)
        if held_out_notes is not None:
            chosen = chosen._split_by_note(held_out_notes)
        if held_out_instruments is not None:
            chosen = chosen._split_by_instrument(*held_out_instruments, others_train=held_out_notes is None)
        return chosen if split is None else chosen.take(chosen.split == split)

    def _split_by_note(self, shares: Sequence[float]) -> SoundSet:
        if len(shares) != 2 or min(shares) < 0 or sum(shares) >= 1:
            raise DataError(
                f"held_out_notes={list(shares)} must be two shares, for validation and test, that add up to less than "
                "1, for example [0.1, 0.1]"
            )
        notes = [f"{pitch:g}" for pitch in self.pitch.tolist()]
        dealt = deal(self.instrument.tolist(), notes, shares=(1 - sum(shares), *shares), seed=0)
        return replace(self, split=np.array(dealt, dtype="<U10"))

    def _split_by_instrument(self, validation: int, test: int, *, others_train: bool = True) -> SoundSet:
        names = np.unique(self.instrument)
        if min(validation, test) < 0 or validation + test >= len(names):
            raise DataError(
                f"held_out_instruments=[{validation}, {test}] leaves none of {len(names)} instruments to train on; "
                "hold out fewer"
            )
        dealt = np.random.default_rng(0).permutation(names)
        split = np.full(len(self), SPLITS[0], dtype="<U10") if others_train else self.split.copy()
        split[np.isin(self.instrument, dealt[:validation])] = SPLITS[1]
        split[np.isin(self.instrument, dealt[validation : validation + test])] = SPLITS[2]
        return replace(self, split=split)

    def _among(self, column: str, wanted: Sequence[str | int]) -> np.ndarray:
        values = getattr(self, column)
        present = np.unique(values).tolist()
        absent = [value for value in wanted if value not in present]
        if absent:
            listed = ", ".join(map(str, present[:20])) + (", …" if len(present) > 20 else "")
            option = "families" if column == "family" else f"{column}s"
            raise LabelError(f"{self.directory} has no {column} {absent[0]!r}; it has {listed}", option)
        return np.isin(values, wanted)


def rows_as_csv(sounds: Iterable[Sound]) -> str:
    """The manifest's text, with its header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(sound) for sound in sounds)  # None becomes an empty field
    return text.getvalue()


def read_rows(path: Path) -> list[Sound]:
    """Rows of a manifest, in order; DataError names the first bad line."""
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())}); {REMAKE} {path.parent}") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        raise DataError(f"{path} does not begin with the columns {','.join(COLUMNS)}; {REMAKE} {path.parent}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            rows.append(_parse(line))
        except ValueError as error:
            raise DataError(f"{path} line {number} is damaged ({error}); {REMAKE} {path.parent}") from None
    return rows


def _parse(line: list[str]) -> Sound:
    name, file, offset, length, instrument, family, program, pitch, velocity, gain_db, split = line
    sound = Sound(
        name,
        file,
        int(offset),
        int(length),
        instrument,
        family,
        int(program),
        float(pitch) if pitch else None,
        int(velocity),
        float(gain_db),
        split,
    )
    if sound.offset < 0 or sound.length < 1:
        raise ValueError(f"offset {offset} and length {length} are not a stretch of samples")
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    if not np.isfinite([sound.gain_db, sound.pitch or 0.0]).all():
        raise ValueError("pitch or gain is not finite")
    return sound


def write_manifest(directory: Path, sounds: Sequence[Sound], *, sample_rate: int, about: Mapping[str, Any]) -> None:
    """Write manifest.csv, then dataset.json, each in one step; with dataset.json the data set is complete.

    about : what the source records of itself, JSON values; keys `format_version`, `sample_rate` and `sounds` are set
        here.
    """
    replace_file(directory / "manifest.csv", rows_as_csv(sounds).encode())
    content = {**about, "format_version": FORMAT_VERSION, "sample_rate": sample_rate, "sounds": len(sounds)}
    replace_file(directory / "dataset.json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Give `path` this content in one step: written beside it, then renamed. On failure nothing is left behind.

    A device, pipe or socket is opened and written to; renaming over it would destroy it.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.write(content)
        return
    path = path.resolve()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_dataset(directory: Path | str) -> SoundSet:
    """Read and check a data set.

    Raises
    ------
    DataError
        With one sentence, if it is missing, empty, truncated, damaged or inconsistent.
    """
    directory = Path(directory)
    about = _read_about(directory)
    rows = read_rows(directory / "manifest.csv")
    if not rows or len(rows) != about["sounds"]:
        raise DataError(
            f"{directory}/manifest.csv has {len(rows)} sounds, dataset.json counts {about['sounds']}; {REMAKE} "
            f"{directory}"
        )
    _check_files(directory, rows)
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in COLUMNS if name != "pitch"}
    pitch = np.array([np.nan if row.pitch is None else row.pitch for row in rows])
    return SoundSet(directory, about["sample_rate"], **columns, pitch=pitch)


def _read_about(directory: Path) -> dict[str, Any]:
    path = directory / "dataset.json"
    if not path.is_file():
        reason = "holds no dataset.json, so it is no finished data set" if directory.is_dir() else "does not exist"
        raise DataError(f"{directory} {reason}; make one with: python -m training.data.soundfont --out {directory}")
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON ({' '.join(str(error).split())}); {REMAKE} {directory}") from None
    version = about.get("format_version") if isinstance(about, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format_version {version!r}, this program reads {FORMAT_VERSION}; {REMAKE} {directory}"
        )
    for key in ("sample_rate", "sounds"):
        if type(about.get(key)) is not int or about[key] < 1:
            raise DataError(
                f"{path}: {key} is {about.get(key)!r}, expected a whole number above 0; {REMAKE} {directory}"
            )
    return about


def _check_files(directory: Path, rows: Sequence[Sound]) -> None:
    needed: dict[str, int] = {}
    for row in rows:
        needed[row.file] = max(needed.get(row.file, 0), row.offset + row.length)
    for file, samples in needed.items():
        path = directory / file
        if not path.resolve().is_relative_to(directory.resolve()):
            raise DataError(f"{directory}/manifest.csv points outside the data set ({file}); {REMAKE} {directory}")
        size = path.stat().st_size if path.is_file() else None
        if size is None or size < 2 * samples:
            found = "is missing" if size is None else f"has {size} bytes, the manifest needs {2 * samples}"
            raise DataError(f"{path} {found}; {REMAKE} {directory}")
