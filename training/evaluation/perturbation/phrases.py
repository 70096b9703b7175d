"""The same table on phrases, where the pitch glides and notes are tied: what a model trained on single notes makes of
playing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint
from training.data.manifest import DataError, SoundSet
from training.data.store import SoundStore
from training.evaluation.figures import Figure, nothing
from training.evaluation.frames import REACH_SECONDS, Frames, gather
from training.evaluation.measurement import Measurement, authority_figures, knn, read_matching, subset
from training.evaluation.probes import K, device_of, encode_all, knn_correct
from training.evaluation.report import Footnotes, table
from training.features import FeatureExtractor
from training.models.latents import LATENTS

FRAMES_LEARNT, FRAMES_ASKED = 12, 32  # of every note that is a neighbour; of every test note and phrase
NOTES_LEARNT, NOTES_ASKED, PHRASES_ASKED = 2000, 500, 300  # at most
LONGEST_SECONDS = 10.0
KINDS = ("all frames", "steady", "moving")
HEADER = (
    *("model", "MSE ↓", "instrument from timbre ↑", "from variation", "from pitch ↓", "pitch from pitch ↑: notes"),
    *(
        "phrases",
        "phrases, steady",
        "phrases, moving",
        "pitch from variation ↓: phrases",
        "authority of timbre",
        "of variation",
        "of pitch",
    ),
)
COLUMNS = (
    *("mse", *(f"instrument from {name}" for name in LATENTS), "pitch from pitch, notes"),
    *(f"pitch from pitch, {kind}" for kind in KINDS),
    "pitch from variation, all frames",
    *(f"authority of {name}" for name in LATENTS),
)


def evaluate_phrases(
    checkpoints: Mapping[str, Checkpoint],
    notes: Mapping[str, Measurement],
    data: Path,
    *,
    split: str,
    test_sounds: int,
    seconds: float,
    seed: int,
) -> tuple[str, dict[str, Any]]:
    """Markdown, and per model JSON values.

    notes : what was measured of each model on single notes: their table is what phrases are compared with
    data : phrases with pitch tracks;  seconds : of the notes; phrases are heard whole, up to ten seconds
    """
    lines, content, footnotes = [], {}, Footnotes()
    for name, checkpoint in checkpoints.items():
        phrases = subset(
            matching_phrases(data, checkpoint, split), min(test_sounds, PHRASES_ASKED), np.random.default_rng(seed)
        )
        figures, missing = measure_phrases(checkpoint, notes[name], phrases, seconds, seed)
        cells = [
            (figures[column].cell(seed) if column in figures else "—")
            + (footnotes.mark(missing[column]) if column in missing else "")
            for column in COLUMNS
        ]
        lines.append([name, *cells])
        content[name] = {
            "phrases": len(phrases),
            "figures": {key: figure.plain(seed) for key, figure in figures.items()},
            "missing": missing,
        }
    explanation = (
        "Instrument: neighbours are single training notes. "
        f"Pitch: frame by frame, neighbours are up to {FRAMES_LEARNT} frames each of up to {NOTES_LEARNT} training "
        "notes; asked are up to "
        f"{FRAMES_ASKED} sounding frames each of up to {NOTES_ASKED} test notes and {PHRASES_ASKED} phrases, the "
        "nearest semitone counts. "
        f"*Moving*: within {1000 * REACH_SECONDS:.0f} ms the pitch covers more than half a semitone (glide, tie, "
        "strong vibrato); "
        "*steady*: the others. Intervals are over phrases.\n"
    )
    return (
        f"\n## Phrases with glides, ties and vibrato\n\n{table(HEADER, lines)}\n{explanation}\n{footnotes.text()}",
        content,
    )


def matching_phrases(data: Path, checkpoint: Checkpoint, split: str) -> SoundSet:
    """The phrases of the instruments the model was trained on.

    Raises
    ------
    DataError
        With one sentence, if there are none, or they have no pitch tracks.
    """
    everything = read_matching(data, checkpoint)
    selection: dict[str, Any] = {}
    for plural, column in (("families", "family"), ("instruments", "instrument"), ("programs", "program")):
        if plural in checkpoint.selection:  # percussion, for one, plays no phrases
            present = np.unique(getattr(everything, column)).tolist()
            selection[plural] = [label for label in checkpoint.selection[plural] if label in present]
    phrases = everything.select(split=split, **selection)
    if not len(phrases):
        raise DataError(
            f"{data} has no {split} phrases of this model's instruments; render some with: python -m "
            "training.data.sequences --out DIR"
        )
    if SoundStore(phrases).pitch_track(0) is None:
        raise DataError(
            f"{data} has no pitch tracks, so it holds no phrases; render some with: python -m training.data.sequences "
            "--out DIR"
        )
    return phrases


def measure_phrases(
    checkpoint: Checkpoint, notes: Measurement, phrases: SoundSet, seconds: float, seed: int
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Figures by the names of `COLUMNS`, and why some are not there."""
    model, features = checkpoint.model, FeatureExtractor(checkpoint.features).to(device_of(checkpoint.model))
    whole = min(LONGEST_SECONDS, float(phrases.length.max()) / phrases.sample_rate)
    heard = encode_all(model, features, phrases, whole)
    figures = {"mse": Figure(heard.squared_error * heard.frames, heard.frames, phrases.sound)}
    missing: dict[str, str] = {}
    for name in model.latent_sizes:
        found = knn("instrument", name, (notes.train, phrases), (notes.train_table, heard))
        figures[f"instrument from {name}"] = found.figure
        missing |= {f"instrument from {name}": found.missing} if found.missing else {}
    figures |= authority_figures(checkpoint, features, phrases, whole, seed)
    rng = np.random.default_rng(seed)
    pitched = [
        subset(sounds.take(np.isfinite(sounds.pitch)), count, rng)
        for sounds, count in ((notes.train, NOTES_LEARNT), (notes.test, NOTES_ASKED))
    ]
    if not all(map(len, pitched)):
        return figures, missing | {
            f"pitch from pitch, {kind}": "the single notes have no pitch labels." for kind in ("notes", *KINDS)
        }
    learnt = gather(model, features, pitched[0], seconds, FRAMES_LEARNT, seed)
    asked = gather(model, features, pitched[1], seconds, FRAMES_ASKED, seed)
    moved = gather(model, features, phrases, whole, FRAMES_ASKED, seed)
    for name in moved.latents:
        figures[f"pitch from {name}, notes"] = _accuracies(learnt, asked, pitched[1], name)[KINDS[0]]
        figures |= {
            f"pitch from {name}, {kind}": figure for kind, figure in _accuracies(learnt, moved, phrases, name).items()
        }
    return figures, missing


def _accuracies(learnt: Frames, asked: Frames, sounds: SoundSet, latent: str) -> dict[str, Figure]:
    """Of all frames, the steady and the moving ones; per sound, so that frames of one sound stay together in the
    bootstrap.
    """
    a, b = learnt.latents[latent], asked.latents[latent]
    if len(a) < K or not len(b) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return dict.fromkeys(KINDS, nothing())
    correct = knn_correct(a, np.rint(learnt.pitch).astype(int), b, np.rint(asked.pitch).astype(int))
    chosen = {"all frames": np.ones(len(correct), bool), "steady": ~asked.moving, "moving": asked.moving}
    count = len(sounds)
    return {
        kind: Figure(
            np.bincount(asked.sound[keep], correct[keep], count),
            np.bincount(asked.sound[keep], minlength=count).astype(float),
            sounds.sound,
        )
        for kind, keep in chosen.items()
    }
