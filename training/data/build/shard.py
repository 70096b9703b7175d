"""One program of a SoundFont rendered to one file of sounds and its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from training.data.build.fluid import PERCUSSION_BANK, NoteRenderer
from training.data.build.gm import PERCUSSION, PERCUSSION_KEYS, PROGRAMS
from training.data.manifest import FULL_SCALE, PEAK_DBFS, SPLITS, DataError, Sound, read_rows, replace_file, rows_as_csv
from training.data.splits import draw_splits
from training.data.store import PITCH_STEP_SAMPLES, pitch_file
from training.decibels import amplitude_of, decibels_of

ONSET_DB = -50.0  # a sound begins at the first sample this close to its peak
SILENT_DBFS = -80.0  # a note whose peak lies below is no sound
HELD = 0.85  # share of the length during which the key is down; then its release is heard
MARGIN_SECONDS = 0.25  # rendered beyond the length, to make up for the silence trimmed before the onset


class RenderRequest(Protocol):
    """A frozen dataclass of everything the content of a data set depends on; renders it program by program."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    source: ClassVar[str]  # what dataset.json calls the kind of data set
    unit: ClassVar[str]  # what one sound is called
    choice: ClassVar[str]  # the options that say which sounds
    has_pitch_tracks: ClassVar[bool]

    @property
    def soundfont(self) -> str: ...
    @property
    def programs(self) -> tuple[int, ...]: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def split(self) -> tuple[float, float, float]: ...
    def sounds_of(self, program: int) -> int:
        """How many sounds one job renders, silent ones included."""

    def render_job(self, soundfont: Path, out: Path, program: int) -> None:
        """Render one program and write its shard. A program that is not in the SoundFont has no rows."""


@dataclass(frozen=True)
class Request:
    """Single notes."""

    source: ClassVar[str] = "soundfont"
    unit: ClassVar[str] = "note"
    choice: ClassVar[str] = "--programs or --notes"
    has_pitch_tracks: ClassVar[bool] = False

    soundfont: str  # file name, without its folder
    soundfont_sha256: str
    programs: tuple[int, ...]  # General MIDI programs from 0; `PERCUSSION` is the percussion bank
    notes: tuple[int, ...]  # MIDI notes; each instrument plays those within its range, the percussion bank all its keys
    velocities: tuple[int, ...]
    seconds: float
    sample_rate: int
    seed: int
    split: tuple[float, float, float]  # shares of `SPLITS`

    def sounds_of(self, program: int) -> int:
        return len(notes_of(self, program))

    def render_job(self, soundfont: Path, out: Path, program: int) -> None:
        render_notes(self, soundfont, out, program)


@dataclass(frozen=True)
class Note:
    """One sound to render and its labels."""

    key: int
    velocity: int
    instrument: str
    family: str
    pitch: float | None


def notes_of(request: Request, program: int) -> list[Note]:
    """The notes one job renders, in order."""
    keys: list[tuple[int, str, str, float | None]]
    if program == PERCUSSION:
        keys = [(key, name, "percussion", None) for key, name in PERCUSSION_KEYS.items()]
    else:
        gm = PROGRAMS[program]
        keys = [(key, gm.name, gm.family, float(key) if gm.pitched else None) for key in request.notes if gm.low <= key <= gm.high]
    return [Note(key, velocity, name, family, pitch) for key, name, family, pitch in keys for velocity in request.velocities]


def is_silent(audio: np.ndarray) -> bool:
    return bool(np.abs(audio).max() < amplitude_of(SILENT_DBFS))


def normalise(audio: np.ndarray) -> tuple[np.ndarray, float]:
    """A sound as it is stored: (samples,), int16, its peak at `PEAK_DBFS`, and the gain in dB that gives the original
    level back.
    """
    gain = float(np.abs(audio).max()) / amplitude_of(PEAK_DBFS)
    return np.rint(audio / gain * FULL_SCALE).astype("<i2"), round(decibels_of(gain), 4)


def trim(audio: np.ndarray, samples: int) -> tuple[np.ndarray, float] | None:
    """Cut a render to its sound, at most `samples` from the onset, peak-normalised.

    Returns
    -------
    (samples,), int16, and the gain in dB that gives the original level back; None if it is silent.
    """
    if is_silent(audio):
        return None
    onset = int(np.argmax(np.abs(audio) >= np.abs(audio).max() * amplitude_of(ONSET_DB)))
    coded, gain_db = normalise(audio[onset : onset + samples])
    return coded[: np.flatnonzero(coded)[-1] + 1], gain_db


def render_notes(request: Request, soundfont: Path, out: Path, program: int) -> None:
    """Render the notes of one program and write its shard."""
    samples = round(request.seconds * request.sample_rate)
    bank, number = (PERCUSSION_BANK, 0) if program == PERCUSSION else (0, program)
    file, offset, audio, rows = audio_file(out, program), 0, [], []
    with NoteRenderer(soundfont, bank=bank, program=number, sample_rate=request.sample_rate) as renderer:
        for note in notes_of(request, program) if renderer.has_program else ():
            whole = renderer.note(
                note.key, note.velocity, held_samples=round(HELD * samples), samples=samples + round(MARGIN_SECONDS * request.sample_rate)
            )
            trimmed = trim(whole, samples)
            if trimmed is None:
                continue
            coded, gain_db = trimmed
            name = f"{program:03d}-{note.key:03d}-{note.velocity:03d}"
            labels = note.instrument, note.family, program, note.pitch, note.velocity
            rows.append(Sound(name, file.name, offset, len(coded), *labels, gain_db, SPLITS[0]))
            audio.append(coded)
            offset += len(coded)
    write_shard(request, out, program, rows, audio)


def write_shard(
    request: RenderRequest, out: Path, program: int, rows: list[Sound], audio: Iterable[np.ndarray], pitch: Iterable[np.ndarray] = ()
) -> None:
    """Write the files of one program, the rows last and dealt to the splits.

    audio : int16, one after the other the content of the sound file
    pitch : float32, one after the other the content of the file of pitch tracks, for a request that has them
    """
    file = audio_file(out, program)
    replace_file(file, b"".join(part.tobytes() for part in audio))
    if request.has_pitch_tracks:
        replace_file(pitch_file(file), b"".join(part.astype("<f4").tobytes() for part in pitch))
    replace_file(rows_file(out, program), rows_as_csv(assign_splits(rows, request)).encode())


def assign_splits(rows: list[Sound], request: RenderRequest) -> list[Sound]:
    """Deal the sounds of each instrument to the splits, in the shares asked for."""
    chosen: dict[str, str] = {}
    for instrument in dict.fromkeys(row.instrument for row in rows):
        names = [row.sound for row in rows if row.instrument == instrument]
        chosen.update(zip(names, draw_splits(instrument, len(names), shares=request.split, seed=request.seed), strict=True))
    return [replace(row, split=chosen[row.sound]) for row in rows]


def rows_file(out: Path, program: int) -> Path:
    return out / f"rows-{program:03d}.csv"


def audio_file(out: Path, program: int) -> Path:
    return out / f"audio-{program:03d}.i16"


def is_finished(request: RenderRequest, out: Path, program: int) -> bool:
    """Whether this program's files are there and agree."""
    file = audio_file(out, program)
    try:
        rows = read_rows(rows_file(out, program))
        end = max((row.offset + row.length for row in rows), default=0)
        blocks = pitch_file(file).stat().st_size // 4 if request.has_pitch_tracks else None
        return file.stat().st_size == 2 * end and blocks in (None, -(-end // PITCH_STEP_SAMPLES))
    except (DataError, OSError):
        return False
