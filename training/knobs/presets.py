"""Presets: the timbre of every instrument of a data set, as a function of pitch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.data.manifest import SoundSet

ANCHOR_SEMITONES = 6
REACH_SEMITONES = 3.0  # so far beyond its outermost anchors a preset still plays a note


def presets_of(
    timbre: np.ndarray, sounds: SoundSet, pitch_latent: np.ndarray | None = None, semitones: int = ANCHOR_SEMITONES
) -> list[dict[str, Any]]:
    """Per instrument, in the order of programs: its mean z^t around every few semitones.

    timbre : (sounds, D);  pitch_latent : (sounds, D), z^p where presets have it too
    """
    presets = []
    _, first = np.unique(sounds.instrument, return_index=True)
    for index in first[np.argsort(sounds.program[first], kind="stable")]:
        rows = np.flatnonzero(sounds.instrument == sounds.instrument[index])
        pitch = sounds.pitch[rows]
        if np.isfinite(pitch).all():
            zone = np.round(pitch / semitones).astype(int)
            anchors: list[tuple[float | None, np.ndarray]] = [
                (float(pitch[zone == k].mean()), rows[zone == k]) for k in np.unique(zone)
            ]
        else:
            anchors = [(None, rows)]
        listed: list[dict[str, Any]] = [
            {"midi_note": note if note is None else round(float(note), 2), "timbre": rounded(timbre[near].mean(0))}
            for note, near in anchors
        ]
        if pitch_latent is not None:
            for anchor, (_, near) in zip(listed, anchors, strict=True):
                anchor["pitch"] = rounded(pitch_latent[near].mean(0))
        presets.append({"name": str(sounds.instrument[index]), "family": str(sounds.family[index]), "anchors": listed})
    return presets


def timbres_at(presets: Sequence[Mapping[str, Any]], note: float) -> np.ndarray:
    """z^t there of the instruments that play this note, (instruments, D), in the order of the presets."""
    found = []
    for preset in presets:
        places = [anchor["midi_note"] for anchor in preset["anchors"]]
        if None not in places and places[0] - REACH_SEMITONES <= note <= places[-1] + REACH_SEMITONES:
            found.append(
                [
                    np.interp(note, places, column)
                    for column in np.transpose([anchor["timbre"] for anchor in preset["anchors"]])
                ]
            )
    return np.array(found)


def rounded(values: np.ndarray) -> list[float]:
    """As they are written: plain numbers, four decimals."""
    return [round(float(value), 4) for value in values]
