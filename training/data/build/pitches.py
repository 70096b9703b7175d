"""Notes of a scale heard one after another: estimated pitches, and the ascending sequence that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIRMING = 0.6  # semitones between an estimate and its note, octaves aside
_FRAME_SECONDS = 0.19  # five periods of A0
# costs of going on to the next semitone, to a lower one, over a gap, nowhere
_NEXT, _RESTART, _MISSED, _REPEATED = 0.0, 1.2, 0.7, 0.9
_OCTAVE, _WRONG, _UNKNOWN = 0.3, 1.0, 0.5  # costs of an estimate an octave off, elsewhere, missing
_LONGEST_GAP = 3  # notes missing in a row


@dataclass(frozen=True)
class Alignment:
    """notes : MIDI notes in order;  confirmed : share of the estimates within `CONFIRMING`, octaves aside
    exact : without that pardon;
    irregular : steps other than the next semitone or back to a lower note;  restarts : steps back.
    """

    notes: tuple[int, ...]
    confirmed: float
    exact: float
    irregular: int
    restarts: int


def estimate(sounds: Sequence[np.ndarray], sample_rate: int, low: int, high: int) -> np.ndarray:
    """The MIDI pitch of each sound, (sounds,), fractional; NaN where a sound is too short. Median of YIN over its first
    second.
    """
    import librosa  # here, because it takes seconds to import

    frame = round(_FRAME_SECONDS * sample_rate)
    limits = float(librosa.midi_to_hz(max(low - 2, 20))), min(float(librosa.midi_to_hz(high + 2)), 0.45 * sample_rate)
    found = np.full(len(sounds), np.nan)
    for index, sound in enumerate(sounds):
        stretch = sound[int(0.05 * sample_rate) : sample_rate]
        if len(stretch) >= frame // 2:
            padded = np.pad(stretch, (0, max(0, frame - len(stretch))))
            f0_hz = librosa.yin(
                padded,
                fmin=limits[0],
                fmax=limits[1],
                sr=sample_rate,
                frame_length=frame,
                hop_length=frame // 2,
                center=False,
            )
            found[index] = np.median(librosa.hz_to_midi(f0_hz))
    return found


def in_order(estimates: np.ndarray, low: int) -> Alignment:
    """Ascending semitones from `low`, with what the estimates say about it."""
    return _judge(estimates, np.arange(low, low + len(estimates)))


def align(estimates: np.ndarray, low: int, high: int) -> Alignment:
    """The cheapest sequence of notes in low … high: ascending by semitones, with few gaps, repetitions, and restarts
    (the next string).
    """
    notes = np.arange(low, high + 1)
    step = _steps(len(notes))
    away = np.abs(estimates[:, None] - notes)
    octaves = np.abs((away + 6) % 12 - 6)
    costs = np.where(away < CONFIRMING, 0.0, np.where(octaves < CONFIRMING, _OCTAVE, _WRONG))
    costs[np.isnan(estimates)] = _UNKNOWN
    total, back = costs[0] + 0.01 * np.arange(len(notes)), []  # ties go to the lowest note
    for row in costs[1:]:
        candidates = total[:, None] + step
        back.append(candidates.argmin(axis=0))
        total = candidates.min(axis=0) + row
    path = [int(total.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return _judge(estimates, notes[path[::-1]])


def _steps(count: int) -> np.ndarray:
    """Cost of each step, (from, to)."""
    distance = np.subtract.outer(np.arange(count), np.arange(count)).T
    cost = np.full((count, count), np.inf)
    cost[distance < 0] = _RESTART
    cost[distance == 0] = _REPEATED
    cost[distance == 1] = _NEXT
    for missing in range(1, _LONGEST_GAP + 1):
        cost[distance == missing + 1] = _MISSED + 0.2 * missing
    return cost


def _judge(estimates: np.ndarray, notes: np.ndarray) -> Alignment:
    away = np.abs(estimates - notes)
    octaves = np.abs((away + 6) % 12 - 6)
    steps = np.diff(notes)
    return Alignment(
        notes=tuple(notes.tolist()),
        confirmed=float(np.mean(octaves < CONFIRMING)),
        exact=float(np.mean(away < CONFIRMING)),
        irregular=int(((steps == 0) | (steps > 1)).sum()),
        restarts=int((steps < 0).sum()),
    )
