"""One source file made into sounds and the facts about it; the sources say how by their own `SourceFile.cut`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.build.recordings import Recording, RecordingError, read_recording
from training.data.build.segment import from_onset
from training.data.build.shard import SILENT_DBFS, is_silent, trim
from training.data.labels import as_text
from training.data.manifest import Sound
from training.units import amplitude_of

SHORTEST_SECONDS = 0.01  # a sound below this is none
UNLABELLED = "unlabelled"  # instrument and family of what has no label


@dataclass(frozen=True, eq=False)
class Cut:
    """One stretch of a recording that becomes a sound. `audio` : (samples,), from its onset on"""

    audio: np.ndarray
    pitch: float | None


@dataclass(frozen=True, eq=False)
class Cuts:
    """What a file gives. `skipped` says why it gives nothing, `remark` what a user should know although it is used."""

    cuts: list[Cut] = field(default_factory=list)
    skipped: str = ""
    remark: str = ""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source and its labels. Here: one sound; sources with other files override `cut`."""

    path: str  # relative to the source, with /, as the system has it
    instrument: str
    family: str
    pitch: float | None  # MIDI note
    velocity: int  # MIDI velocity, 0 if unknown
    split: str  # "" where the split is to be dealt

    @property
    def name(self) -> str:
        """Its path as text, for manifest and account."""
        return as_text(self.path)

    def cut(self, recording: Recording, samples: int) -> Cuts:
        """The sounds of this file, each possibly longer than `samples`; what is beyond is cut off later."""
        return Cuts([Cut(from_onset(recording.audio, recording.sample_rate), self.pitch)])


@dataclass(frozen=True)
class Facts:
    """What was found in one file. `state` : "used", "unreadable", "silent", "short" or "skipped"; `why` belongs to
    it.
    """

    path: str
    state: str
    why: str = ""
    remark: str = ""
    sample_rate: int = 0  # of the file
    channels: int = 0
    seconds: float = 0.0  # of the file
    clipped: bool = False
    offset: bool = False
    truncated: bool = False
    header: str = ""  # what is wrong in it
    sounds: tuple[tuple[str, float | None, float], ...] = ()  # instrument, pitch, seconds


@dataclass(frozen=True, eq=False)
class Examined:
    """Facts of one file, its sounds as int16, and their rows, with offsets from the first sound, and `file` and `split`
    left open.
    """

    facts: Facts
    coded: list[np.ndarray]
    rows: list[Sound]


def examine(source: Path, file: SourceFile, sample_rate: int, samples: int) -> Examined:
    """Read one file and cut it into sounds of at most `samples`; never raises for a bad file, its state says so."""
    try:
        recording = read_recording(source / file.path, sample_rate)
    except RecordingError as error:
        return Examined(Facts(file.name, "unreadable", str(error)), [], [])
    result, found = _cut(file, recording, samples)
    coded, rows, offset = [], [], 0
    for number, (sound, gain_db, pitch) in enumerate(found, start=1):
        name = file.name if len(found) == 1 else f"{file.name}#{number:03d}"
        rows.append(
            Sound(
                name,
                "",
                offset,
                len(sound),
                file.instrument,
                file.family,
                -1,
                pitch,
                file.velocity,
                gain_db,
                file.split,
            )
        )
        coded.append(sound)
        offset += len(sound)
    state, why = _state(recording, result, bool(coded))
    facts = Facts(
        file.name,
        state,
        why,
        result.remark,
        recording.source_rate,
        recording.channels,
        recording.seconds,
        recording.clipped,
        recording.offset,
        recording.truncated,
        recording.header,
        tuple((row.instrument, row.pitch, row.length / sample_rate) for row in rows),
    )
    return Examined(facts, coded, rows)


def _cut(
    file: SourceFile, recording: Recording, samples: int
) -> tuple[Cuts, list[tuple[np.ndarray, float, float | None]]]:
    """The file's cuts, and of each that is a sound: samples, gain in dB, pitch."""
    if not len(recording.audio) or is_silent(recording.audio):
        return Cuts(), []
    result, found = file.cut(recording, samples), []
    for cut in result.cuts:
        trimmed = trim(cut.audio, samples) if len(cut.audio) else None
        if trimmed and len(trimmed[0]) >= SHORTEST_SECONDS * recording.sample_rate:
            found.append((*trimmed, cut.pitch))
    return result, found


def _state(recording: Recording, result: Cuts, any_sound: bool) -> tuple[str, str]:
    if any_sound:
        return "used", ""
    if result.skipped:
        return "skipped", result.skipped
    peak = float(np.abs(recording.audio).max(initial=0))
    if peak < amplitude_of(SILENT_DBFS):
        return "silent", "a constant offset" if recording.offset else ""
    return "short", ""
