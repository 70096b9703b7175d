"""Knobs for pitch: the directions of z^p that go with it, and the curve that z^p follows from note to note, with what
the decoder makes of it.

Along the curve a sound is transposed (z^p + curve(note + δ) − curve(note)) and played from a keyboard (z^p =
curve(note)).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.dsp.control import Decoder
from training.features import FeatureExtractor
from training.knobs.decoded_pitch import decoded_notes
from training.knobs.directions import AudibleDirection, effects_db, heard_most, ridge_weights
from training.knobs.pitch_curve import Curve, Notes, average_curve
from training.knobs.presets import rounded, timbres_at
from training.knobs.tuning import tuned
from training.models.latents import Latents, TimbreVAE

PRESETS_ASKED = 8  # how many instruments each note is tried with
WITHIN_CENTS = 50.0


def pitch_axes(
    decoder: Decoder, probe: Latents, learnt: Notes, check: Notes
) -> list[tuple[str, AudibleDirection, dict[str, Any]]]:
    """Label, direction and further fields: first the direction that goes with pitch, then the one heard most of those
    that do not.

    A unit is one standard deviation: of the predicted note for the first, over real sounds for the second. Empty if
    pitch is not known.
    """
    if len(np.unique(learnt.midi_note)) < 3:
        return []
    mean, covariance = learnt.pitch.mean(0), np.cov(learnt.pitch.T).reshape(learnt.pitch.shape[1], -1)
    z = learnt.pitch - mean
    weight = ridge_weights(z, learnt.midi_note - learnt.midi_note.mean())
    spread = float(np.sqrt(weight @ covariance @ weight))
    if spread <= 0:
        return []
    direction = covariance @ weight / spread
    about: dict[str, Any] = {"descriptor": "midi_note"}
    if len(np.unique(check.midi_note)) >= 3:
        about["correlation"] = round(float(np.corrcoef((check.pitch - mean) @ weight, check.midi_note)[0, 1]), 4)
    found = [
        ("pitch, up is higher", AudibleDirection(direction, effects_db(decoder, probe, [direction], "pitch")[0]), about)
    ]
    if len(weight) > 1:
        second = heard_most(decoder, probe, "pitch", learnt.pitch, most=1, apart_from=weight)[0]
        found.append(("apart from pitch, up is brighter", second, {}))
    return found


def pitch_anchors(
    model: TimbreVAE,
    features: FeatureExtractor,
    learnt: Notes,
    presets: Sequence[Mapping[str, Any]],
    rest: np.ndarray | None,
    tuning_steps: int = 0,
) -> list[dict[str, Any]]:
    """The curve of z^p at every note, and how far from the note what the decoder makes of it lies.

    rest : (D,), the z^v it is decoded with; None for a model without
    tuning_steps : 0 leaves the averages of real sounds as they are
    """
    curve = average_curve(learnt)
    timbres = [timbres_at(presets, float(note)) for note in curve.notes]
    asked = [some[_spread(len(some))] for some in timbres]
    if tuning_steps and len(curve.notes) and all(map(len, timbres)):
        # tuned with the instruments that are not measured, where there are others
        others = [np.delete(some, _spread(len(some)), 0) for some in timbres]
        others = [other if len(other) else some for other, some in zip(others, timbres, strict=True)]
        curve = _tuned_where_it_helps(model, features, curve, others, rest, tuning_steps)
    errors = error_cents(model, features, curve, asked, rest)
    return [
        {"midi_note": float(note), "pitch": rounded(z), "error_cents": error}
        for note, z, error in zip(curve.notes, curve.pitch, errors, strict=True)
    ]


def _tuned_where_it_helps(
    model: TimbreVAE,
    features: FeatureExtractor,
    curve: Curve,
    timbres: Sequence[np.ndarray],
    rest: np.ndarray | None,
    steps: int,
) -> Curve:
    """Notes that are out of tune even so keep the average of real sounds: it is what they sound like, if not where."""
    better = tuned(model, features, curve, timbres, rest, steps)
    errors = error_cents(model, features, better, [some[_spread(len(some))] for some in timbres], rest)
    helped = np.array([error is not None and error <= WITHIN_CENTS for error in errors])
    return dataclasses.replace(curve, pitch=np.where(helped[:, None], better.pitch, curve.pitch))


def error_cents(
    model: TimbreVAE, features: FeatureExtractor, curve: Curve, timbres: Sequence[np.ndarray], rest: np.ndarray | None
) -> list[float | None]:
    """For each note: how far the pitch of what the decoder makes of it lies from it, median over several instruments.

    None where most of them give no pitch at all.

    timbres : for each note, (instruments, D)
    """
    rows = np.concatenate([np.full(len(some), i) for i, some in enumerate(timbres)]) if timbres else np.zeros(0)
    if not len(rows):
        return [None] * len(timbres)
    rows = rows.astype(int)
    latents = {"timbre": np.concatenate([some for some in timbres if len(some)]), "pitch": curve.pitch[rows]}
    if rest is not None:
        latents["variation"] = np.repeat(rest[None], len(rows), 0)
    error = 100 * np.abs(decoded_notes(model, features, latents) - curve.notes[rows])
    found: list[float | None] = []
    for i in range(len(timbres)):
        mine = error[rows == i]
        heard = mine[np.isfinite(mine)]
        found.append(round(float(np.median(heard)), 1) if len(heard) and 2 * len(heard) >= len(mine) else None)
    return found


def _spread(instruments: int) -> np.ndarray:
    """Indices of a few, spread over all."""
    if not instruments:
        return np.zeros(0, int)
    return np.unique(np.rint(np.linspace(0, instruments - 1, PRESETS_ASKED)).astype(int))


def playable(anchors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the curve's notes, how many come out in tune, and the longest row of them without a gap."""
    good = [anchor["error_cents"] is not None and anchor["error_cents"] <= WITHIN_CENTS for anchor in anchors]
    longest: list[float] = []
    row: list[float] = []
    for anchor, fits in zip(anchors, good, strict=True):
        joined = bool(row) and anchor["midi_note"] - row[-1] <= 1
        row = [*(row if joined else []), anchor["midi_note"]] if fits else []
        longest = row if len(row) > len(longest) else longest
    return {
        "notes": len(anchors),
        f"within_{WITHIN_CENTS:g}_cents": round(sum(good) / len(good), 4) if good else None,
        "lowest": longest[0] if longest else None,
        "highest": longest[-1] if longest else None,
    }
