"""One program of a SoundFont rendered to one file of sounds and its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.data.fluid import PERCUSSION_BANK, NoteRenderer
from training.data.gm import PERCUSSION, PERCUSSION_KEYS, PROGRAMS
from training.data.manifest import FULL_SCALE, PEAK_DBFS, SPLITS, DataError, Sound, read_rows, replace_file, rows_as_csv

ONSET_DB = -50.0  # a sound begins at the first sample this close to its peak
SILENT_DBFS = -80.0  # a note whose peak lies below is no sound
HELD = 0.85  # share of the length during which the key is down; then its release is heard
MARGIN_SECONDS = 0.25  # rendered beyond the length, to make up for the silence trimmed before the onset


@dataclass(frozen=True)
class Request:
    """Everything the content of the data set depends on."""

    soundfont: str  # file name, without its folder
    soundfont_sha256: str
    programs: tuple[int, ...]  # General MIDI programs from 0; `PERCUSSION` is the percussion bank
    notes: tuple[int, ...]  # MIDI notes; each instrument plays those within its range, the percussion bank all its keys
    velocities: tuple[int, ...]
    seconds: float
    sample_rate: int
    seed: int
    split: tuple[float, float, float]  # shares of `SPLITS`


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


def trim(audio: np.ndarray, samples: int) -> tuple[np.ndarray, float] | None:
    """Cut a render to its sound, at most `samples` from the onset, peak-normalised.

    Returns
    -------
    (samples,), int16, and the gain in dB that gives the original level back; None if it is silent.
    """
    if np.abs(audio).max() < 10 ** (SILENT_DBFS / 20):
        return None
    onset = int(np.argmax(np.abs(audio) >= np.abs(audio).max() * 10 ** (ONSET_DB / 20)))
    sound = audio[onset : onset + samples]
    gain = float(np.abs(sound).max()) / 10 ** (PEAK_DBFS / 20)
    coded = np.rint(sound / gain * FULL_SCALE).astype("<i2")
    return coded[: np.flatnonzero(coded)[-1] + 1], round(20 * np.log10(gain), 4)


def render_job(request: Request, soundfont: Path, out: Path, program: int) -> None:
    """Render one program and write its two files, the rows last. A program that is not in the SoundFont has no rows."""
    samples = round(request.seconds * request.sample_rate)
    bank, number = (PERCUSSION_BANK, 0) if program == PERCUSSION else (0, program)
    file, offset, audio, rows = out / f"audio-{program:03d}.i16", 0, [], []
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
    replace_file(file, b"".join(coded.tobytes() for coded in audio))
    replace_file(rows_file(out, program), rows_as_csv(assign_splits(rows, request)).encode())


def assign_splits(rows: list[Sound], request: Request) -> list[Sound]:
    """Deal the sounds of each instrument at random to the splits, in the shares asked for, as evenly as their number allows."""
    edges = np.cumsum(request.split)[:-1]
    chosen: dict[str, str] = {}
    for instrument in dict.fromkeys(row.instrument for row in rows):
        names = [row.sound for row in rows if row.instrument == instrument]
        rng = np.random.default_rng([request.seed, *instrument.encode()])
        positions = (rng.permutation(len(names)) + rng.random()) / len(names)
        chosen.update(zip(names, (SPLITS[i] for i in np.searchsorted(edges, positions, side="right")), strict=True))
    return [replace(row, split=chosen[row.sound]) for row in rows]


def rows_file(out: Path, program: int) -> Path:
    return out / f"rows-{program:03d}.csv"


def is_finished(out: Path, program: int) -> bool:
    """Whether this program's two files are there and agree."""
    try:
        rows = read_rows(rows_file(out, program))
        return 2 * sum(row.length for row in rows) == (out / f"audio-{program:03d}.i16").stat().st_size
    except (DataError, OSError):
        return False
