"""The curve that z^p follows from note to note, as real sounds have it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST_SOUNDS = 5  # of a note, for the curve to have a point there
# hardly any: the harmonics of neighbouring notes fall on other bins, and an average of their z^p plays neither
SMOOTHING_SEMITONES = 0.3


@dataclass(frozen=True)
class Notes:
    """Sounds of known pitch. pitch : (sounds, D), z^p averaged over sounding frames;  midi_note : (sounds,)."""

    pitch: np.ndarray
    midi_note: np.ndarray


@dataclass(frozen=True)
class Curve:
    """notes : (n,), MIDI;  pitch : (n, D), z^p there;  spread : (D, D), covariance of real z^p of one note."""

    notes: np.ndarray
    pitch: np.ndarray
    spread: np.ndarray


def average_curve(learnt: Notes) -> Curve:
    """At every semitone with enough sounds, the local straight line through the notes around it."""
    whole = np.rint(learnt.midi_note)
    notes = np.array([note for note in np.unique(whole) if (whole == note).sum() >= FEWEST_SOUNDS])
    curve = np.empty((len(notes), learnt.pitch.shape[1]))
    within, counted = np.zeros((learnt.pitch.shape[1],) * 2), 0
    for i, note in enumerate(notes):
        away = learnt.midi_note - note
        weight = np.exp(-0.25 * np.square(away / SMOOTHING_SEMITONES))  # a Gaussian's root: least squares squares it
        line = np.stack([np.ones_like(away), away], 1) * weight[:, None]
        curve[i] = np.linalg.lstsq(line, learnt.pitch * weight[:, None], rcond=1e-6)[0][0]
        same = learnt.pitch[whole == note]
        within += np.cov(same.T) * (len(same) - 1)
        counted += len(same) - 1
    return Curve(notes, curve, within / max(1, counted))
