"""Miniature recordings of real notes in the layouts of the data sources, with what was put into them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import correlate

from training.data.build.fluid import NoteRenderer, embedded_soundfont
from training.data.manifest import SoundSet
from training.data.store import SoundStore

RATE = 44100
PIANO, ORGAN, CELLO, CLARINET, FLUTE = 0, 19, 42, 71, 73  # General MIDI programs


@cache
def notes(
    program: int, keys: tuple[int, ...], velocity: int = 90, seconds: float = 0.8, sample_rate: int = RATE
) -> tuple[np.ndarray, ...]:
    """Rendered notes, each beginning at its onset (50 dB below its peak), released before the end."""
    soundfont = embedded_soundfont()
    assert soundfont is not None
    samples, found = round(seconds * sample_rate), []
    with NoteRenderer(soundfont, bank=0, program=program, sample_rate=sample_rate) as renderer:
        for key in keys:
            sound = renderer.note(key, velocity, held_samples=round(0.7 * samples), samples=2 * samples)
            onset = int(np.argmax(np.abs(sound) >= np.abs(sound).max() * 10 ** (-50 / 20)))
            found.append(sound[onset : onset + samples] * np.minimum(1, np.arange(samples, 0, -1) / (0.1 * samples)))
    return tuple(found)


def scale(sounds: Sequence[np.ndarray], *, gap_seconds: float = 0.4, noise: float = 0.0) -> np.ndarray:
    """Notes one after another with gaps around them, in room noise of the standard deviation `noise`."""
    gap = np.zeros(round(gap_seconds * RATE))
    audio = np.concatenate([part for sound in sounds for part in (gap, sound)] + [gap])
    peak = max(float(np.abs(sound).max()) for sound in sounds)
    return 0.5 * audio / peak + noise * np.random.default_rng(5).standard_normal(len(audio))


def put(path: Path, audio: np.ndarray, sample_rate: int = RATE, subtype: str | None = None) -> None:
    """Write a recording, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sample_rate, subtype=subtype)


def lag_seconds(sounds: SoundSet, row: int, original: np.ndarray) -> float:
    """How much later than its onset the data set's sound begins, by the best match with the note that was put in. (Both
    at one rate.)
    """
    reach, stretch = round(0.05 * sounds.sample_rate), round(0.25 * sounds.sample_rate)
    found = SoundStore(sounds).read(row, 0, stretch).astype(np.float64)
    padded = np.concatenate([np.zeros(reach), original[: stretch + reach]])
    energy = np.concatenate([[0.0], np.cumsum(padded**2)])
    norms = np.sqrt(energy[len(found) :] - energy[: len(padded) - len(found) + 1])
    match = correlate(padded, found, mode="valid", method="fft") / (norms + 1e-9)
    assert match.max() > 0.97 * np.linalg.norm(found), "it is the note that was put in"
    return (int(match.argmax()) - reach) / sounds.sample_rate


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
