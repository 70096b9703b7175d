"""S2 as Tanaka 2021 evaluates it, on instruments it never heard: table 1, figures 3 to 5; and authority, which is ours.

Denseness and divergence look at the first frames of each sound, so that its silent end stays out. Our frames are
causal: the first begins to hear the sound one hop in, the paper's centred one half a window in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import DataError, SoundSet
from training.evaluation.figures import FAILS, HOLDS, ZERO_INSIDE
from training.evaluation.measurement import known_to, read_matching, subset
from training.evaluation.metric.figures import denseness_figure, distances_figure, tsne_figure
from training.evaluation.metric.measures import FRAMES, SPACES, Row, basic_interval, measure
from training.evaluation.report import save_picture, table

TABLE = tuple(f"{space} {figure}" for space in SPACES for figure in ("denseness", "divergence"))
OURS = ("authority of pitch", "authority of timbre", "MSE")
PAPER = {"vanilla": (3.334, 2.279, 3.640, 1.541), "proposed": (2.891, 3.551, 3.420, 2.654)}  # table 1
TOLD = (
    "alpha",
    "beta",
    "mask_silence",
    "balanced_pairs",
    "epoch",
    "step",
    "seed",
    "training_seconds",
)  # of the training, in report.json


def evaluate_metric(
    checkpoints: Mapping[str, Checkpoint], data: Path, out: Path, *, seed: int, test_sounds: int
) -> tuple[str, dict[str, Any]]:
    """Measure S2 models on the test sounds of their own selection and lay them out as the paper does.

    checkpoints : name → S2 model;  out : where the figures go;  seed : of the choice of sounds, the bootstrap and t-SNE

    Returns
    -------
    text, content : Markdown, and the same as JSON values

    Raises
    ------
    DataError
        With one sentence, if the data does not suit a model, or the models were not trained on one selection.
    """
    chosen = {name: _sounds(checkpoint, data, seed, test_sounds) for name, checkpoint in checkpoints.items()}
    first, (sounds, _) = next(iter(chosen.items()))
    for name, (other, _) in chosen.items():
        if not np.array_equal(other.sound, sounds.sound):
            raise DataError(
                f"{name} and {first} have other test sounds, so they cannot be compared; train them on one selection, "
                "or evaluate each alone"
            )
    rows = {name: measure(checkpoint, sounds, chosen[name][1], seed) for name, checkpoint in checkpoints.items()}
    spaces = {name: row.spaces for name, row in rows.items()}
    pictures = (
        save_picture(tsne_figure(spaces, seed), out, "s2_tsne", "Figure 3: both spaces by t-SNE")
        + save_picture(
            denseness_figure(spaces), out, "s2_denseness", "Figure 4: denseness of each class, lower is denser"
        )
        + save_picture(distances_figure(spaces), out, "s2_distances", "Figure 5: distances between class means")
    )
    claims = _claims(rows, seed)
    content = {
        "rows": {name: _plain(row, checkpoints[name], seed) for name, row in rows.items()},
        "orderings": claims,
        "test_sounds": len(sounds),
        "test_instruments": sorted({str(name) for name in sounds.instrument}),
        "seed": seed,
    }
    return _table(rows, seed) + _about(rows, sounds, seed) + _claims_text(claims) + "\n" + pictures, content


def _sounds(checkpoint: Checkpoint, data: Path, seed: int, count: int) -> tuple[SoundSet, list[str]]:
    """Test sounds with both labels, and which of their instruments the model was trained on."""
    every = read_matching(data, checkpoint)
    sounds = known_to(checkpoint, every, "test")
    sounds = subset(
        sounds.take(np.isfinite(sounds.pitch) & (sounds.instrument != UNLABELLED)), count, np.random.default_rng(seed)
    )
    for what, labels in (("instruments", sounds.instrument), ("pitches", np.round(sounds.pitch))):
        if len(np.unique(labels)) < 2:
            raise DataError(
                f"{data} has labelled test sounds of {len(np.unique(labels))} {what} for this model, the evaluation "
                "needs 2 or more; make the data set from more, or label them"
            )
    trained = known_to(checkpoint, every, "train")
    return sounds, sorted({str(name) for name in sounds.instrument} & {str(name) for name in trained.instrument})


def _claims(rows: Mapping[str, Row], seed: int) -> list[dict[str, Any]]:
    """The paper's four orderings, for every vanilla and every metric-learning model: by the bootstrap of the
    difference, sound by sound.
    """
    found = []
    for low_name, low in rows.items():
        for high_name, high in rows.items():
            if (low.kind, high.kind) != ("proposed", "vanilla"):
                continue
            for figure in TABLE:
                sign = 1 if figure.endswith("denseness") else -1
                (count, ours), (_, theirs) = low.statistics[figure], high.statistics[figure]
                gain = basic_interval(count, lambda at, a=ours, b=theirs, s=sign: s * (b(at) - a(at)), seed=seed)  # type: ignore[misc]
                verdict = HOLDS if gain[0] > 0 else FAILS if gain[1] < 0 else ZERO_INSIDE
                values = {"metric learning": round(low.value(figure), 6), "vanilla": round(high.value(figure), 6)}
                found.append(
                    {
                        "figure": figure,
                        "models": [low_name, high_name],
                        **values,
                        "gain": [round(x, 6) for x in gain],
                        "verdict": verdict,
                    }
                )
    return found


def _table(rows: Mapping[str, Row], seed: int) -> str:
    header = ["model", *(f"{name} {'↓' if name.endswith('denseness') else '↑'}" for name in TABLE), *OURS]
    lines = []
    for name, row in rows.items():
        cells = []
        for figure in (*TABLE, *OURS):
            low, high = row.interval(figure, seed)
            cells.append(f"{row.value(figure):.3f} ±{(high - low) / 2:.3f}")
        lines += [
            [name, *cells],
            [f"the paper's {row.kind}", *(f"{value:.3f}" for value in PAPER[row.kind]), *["—"] * len(OURS)],
        ]
    return table(header, lines) + "\n"


def _about(rows: Mapping[str, Row], sounds: SoundSet, seed: int) -> str:
    names = ", ".join(sorted({str(name) for name in sounds.instrument}))
    seen = "; ".join(f"{name} was trained on {', '.join(row.seen)} too" for name, row in rows.items() if row.seen)
    return (
        f"{len(sounds)} test sounds of {names}: {seen or 'none heard in training'}. Pitch classes in the pitch space, "
        "instruments in the "
        f"timbre space, the first {FRAMES} frames, each dimension normalised to zero mean and unit variance. MSE: of "
        "the log-amplitude per bin. "
        f"±: half the 95 % bootstrap interval over sounds, seed {seed}.\n\n"
    )


def _claims_text(claims: list[dict[str, Any]]) -> str:
    if not claims:
        return "The paper's orderings need a model with metric learning and one without (alpha 0, beta 0).\n"
    lines = [
        [c["figure"], f"{c['metric learning']:.3f}", f"{c['vanilla']:.3f}", c["verdict"], " against ".join(c["models"])]
        for c in claims
    ]
    text = "The paper's orderings, compared sound by sound: metric learning is denser and diverges more.\n\n"
    return text + table(["figure", "metric learning", "vanilla", "verdict", "models"], lines)


def _plain(row: Row, checkpoint: Checkpoint, seed: int) -> dict[str, Any]:
    figures = {}
    for figure in (*TABLE, *OURS):
        low, high = (round(bound, 6) for bound in row.interval(figure, seed))
        figures[figure] = {"value": round(row.value(figure), 6), "low": low, "high": high}
    return {
        "figures": figures,
        "paper": {"row": row.kind} | dict(zip(TABLE, PAPER[row.kind], strict=True)),
        "training": {key: checkpoint.info[key] for key in TOLD if key in checkpoint.info},
        "denseness per class": {
            s: dict(zip(c.names, np.round(c.per_class, 6).tolist(), strict=True)) for s, c in row.spaces.items()
        },
        "test instruments heard in training": row.seen,
    }
