"""S3 as Luo 2019 evaluates it: F-scores of drawn notes, timbre transfer, traversals, the dimension of brightness; and
authority, which is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from training.checkpoint import Checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import DataError, SoundSet
from training.evaluation.bootstrap import interval
from training.evaluation.measurement import Measurement, known_to, measure, read_matching, subset
from training.evaluation.mixture.figures import spaces_picture, transfer_picture, traversal_picture, write_traversal
from training.evaluation.mixture.measures import (
    ALPHAS,
    LABELS,
    Dimension,
    Notes,
    Score,
    Transfer,
    brightness_table,
    decode_mel,
    middle_pitch,
    read_notes,
    scores,
    segment_seconds,
    train_classifiers,
    transfer,
)
from training.evaluation.report import save_picture, table
from training.models.latents import Latents
from training.models.mixture import MixtureVAE
from training.sample import draw_latents, sample_note

TRAIN_SOUNDS = 6000  # that classifiers and neighbours learn from, at most
PAPER_F_SCORE = 0.958  # the best of Luo 2019, drawn notes
TRAVERSED = 4  # dimensions, those that go most with brightness
ALIKE = 0.05  # p-value


@dataclass(frozen=True, eq=False)
class Result:
    """Of one checkpoint. `f_scores` : kind of sound → label → score, the sounds being "originals", "rebuilt", "drawn"
    and "typical".
    """

    label_portion: float
    f_scores: dict[str, dict[str, Score]]
    transfers: list[Transfer]
    dimensions: list[Dimension]
    measured: Measurement
    notes: Notes  # of the test sounds


def evaluate_mixture(
    checkpoints: Mapping[str, Checkpoint], data: Path, out: Path, *, seed: int, test_sounds: int
) -> tuple[str, dict[str, Any]]:
    """Measure S3 models, a row each; figures and sounds go into `out`.

    Returns
    -------
    text, content : Markdown, and the same as JSON values

    Raises
    ------
    DataError
        With one sentence, if the data does not suit a model.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = {name: _evaluate(checkpoint, data, seed, test_sounds) for name, checkpoint in checkpoints.items()}
    text = _main_table(results, seed) + "\n" + EXPLANATION + "\n" + _transfer_table(results, seed)
    for name, checkpoint in checkpoints.items():
        text += f"\n## {name}\n\n{_details(name, checkpoint, results[name], out, seed)}"
    return text, {name: _content(result, seed) for name, result in results.items()}


def _evaluate(checkpoint: Checkpoint, data: Path, seed: int, test_sounds: int) -> Result:
    model = checkpoint.model
    assert isinstance(model, MixtureVAE)
    everything = usable(known_to(checkpoint, read_matching(data, checkpoint)), model)
    rng = np.random.default_rng(seed)
    train, test = (
        subset(everything.take(everything.split == split), count, rng)
        for split, count in (("train", TRAIN_SOUNDS), ("test", test_sounds))
    )
    if len(np.unique(train.instrument)) < 2 or len(np.unique(np.rint(train.pitch))) < 2 or not len(test):
        raise DataError(
            f"{data} has too little of this model's instruments and pitches: {len(train)} training, {len(test)} test "
            "sounds; render more"
        )
    learnt, asked = read_notes(checkpoint, train), read_notes(checkpoint, test)
    classifiers = train_classifiers(learnt, seed)
    # instruments and pitches as they go together in the training set
    drawn = np.sort(rng.permutation(len(train))[:test_sounds])
    labels = {label: learnt.labels[label][drawn] for label in LABELS}
    chosen = labels["instrument"].tolist(), labels["pitch"].tolist()
    sounds = {
        "originals": (asked.mel, asked.labels),
        "rebuilt": (decode_mel(model, asked.latents), asked.labels),
        "drawn": (decode_mel(model, draw_latents(model, *chosen, seed=seed)), labels),
        "typical": (decode_mel(model, draw_latents(model, *chosen, seed=seed, spread=0.0)), labels),
    }
    present, learnable = np.unique(asked.labels["instrument"]).tolist(), np.unique(learnt.labels["instrument"]).tolist()
    pairs = [(source, target) for source in present for target in learnable if source != target and source in learnable]
    return Result(
        float(checkpoint.info.get("label_portion", 1.0)),
        {kind: scores(classifiers, mel, wanted, seed) for kind, (mel, wanted) in sounds.items()},
        [transfer(model, asked, classifiers, pair) for pair in pairs],
        brightness_table(checkpoint, asked),
        measure(
            checkpoint,
            data,
            split="test",
            train_sounds=TRAIN_SOUNDS,
            test_sounds=test_sounds,
            seconds=segment_seconds(checkpoint),
            seed=seed,
        ),
        asked,
    )


def usable(sounds: SoundSet, model: MixtureVAE) -> SoundSet:
    """Those with an instrument and a pitch that the model knows."""
    c = model.config
    pitch = np.where(np.isfinite(sounds.pitch), np.rint(sounds.pitch), -1)
    inside = (pitch >= c.lowest_pitch) & (pitch < c.lowest_pitch + c.pitches)
    return sounds.take(inside & np.isin(sounds.instrument, c.instruments) & (sounds.instrument != UNLABELLED))


def _main_table(results: Mapping[str, Result], seed: int) -> str:
    header = ["model", "labels used"]
    header += [f"{label}: {kind}" for label in LABELS for kind in ("drawn ↑", "typical", "rebuilt", "originals")]
    figures = [
        "mse",
        *(
            f"{kind} {name}"
            for kind in ("instrument from", "pitch from", "authority of")
            for name in ("timbre", "pitch")
        ),
    ]
    rows = []
    for name, result in results.items():
        f = [
            str(result.f_scores[kind][label])
            for label in LABELS
            for kind in ("drawn", "typical", "rebuilt", "originals")
        ]
        rows.append([name, f"{result.label_portion:.0%}", *f])
    rows.append(["*paper, best*", "100%", f"{PAPER_F_SCORE:.3f}", *["—"] * 7])
    text = "## F-scores of classifiers trained on original notes\n\n" + table(header, rows)
    cells = [[name, *(result.measured.figures[key].cell(seed) for key in figures)] for name, result in results.items()]
    return text + "\n## Latent spaces\n\n" + table(["model", "MSE ↓", *figures[1:]], cells)


EXPLANATION = (
    "F-scores are macro averages over classes, in brackets the 95 % bootstrap interval over sounds. *Drawn*: z^t and "
    "z^p drawn from the components "
    "of an instrument and a pitch that go together in the training set; *typical*: the components' means; *rebuilt*: "
    "test notes through the model; "
    "*originals*: the test notes themselves, which is what the classifiers can do at best (principal components of "
    "the scaled mel chunk, logistic "
    "regression). k-NN with 5 neighbours; ± is half the width of the interval; MSE of log-amplitude per bin; "
    "authority: squared change of the "
    "decoded log-spectrum when one latent is another sound's, over the change when both are.\n"
)


def _transfer_table(results: Mapping[str, Result], seed: int) -> str:
    """Mean over all ordered pairs of instruments."""
    rows = []
    for name, result in results.items():
        for title, part in (
            ("probability of the target", "target"),
            ("probability of the source", "source"),
            ("F-score of the pitch", "pitch"),
        ):
            curves = np.array([getattr(one, part) for one in result.transfers])
            cells = []
            for curve in curves.T:
                low, high = interval(curve, seed=seed)
                cells.append(f"{curve.mean():.3f} [{low:.3f}, {high:.3f}]")
            rows.append([name, title, *cells])
    header = ["model", "mean over all pairs", *(f"α = {alpha:g}" for alpha in ALPHAS)]
    return "## Timbre transfer: z^t moved from one instrument's mean to another's\n\n" + table(header, rows)


def _details(name: str, checkpoint: Checkpoint, result: Result, out: Path, seed: int) -> str:
    model, features = checkpoint.model, checkpoint.features
    assert isinstance(model, MixtureVAE)
    names, stem = model.config.instruments, re.sub(r"[^\w.-]+", "-", name)
    strongest = sorted(result.dimensions, key=lambda one: -abs(one.r))
    shown = [one.index for one in strongest[:TRAVERSED]]
    base = names[0]
    start = Latents(**{key: value.detach() for key, value in model.component(0, middle_pitch(model)).items()})
    text = save_picture(transfer_picture(result.transfers, names), out, f"{stem}-transfer", "timbre transfer") + "\n"
    caption = f"traversal of four dimensions of z^t, from the typical {base}"
    text += save_picture(traversal_picture(model, features, start, shown), out, f"{stem}-traversal", caption) + "\n"
    links = []
    for index in shown:
        write_traversal(model, features, start, index, out / f"{stem}-dimension-{index}.ogg")
        links.append(f"[dimension {index}]({stem}-dimension-{index}.ogg)")
    for instrument in names[:TRAVERSED]:
        file = f"{stem}-drawn-{re.sub(r'[^a-z]+', '-', instrument.lower())}.ogg"
        soundfile.write(
            out / file, sample_note(model, features, instrument, middle_pitch(model), seed=seed), features.sample_rate
        )
        links.append(f"[drawn: {instrument}]({file})")
    text += "To hear: " + ", ".join(links) + "\n\n"
    text += (
        save_picture(spaces_picture(result.notes, names, seed), out, f"{stem}-spaces", "t-SNE of both latents") + "\n"
    )
    rows = [
        [
            str(one.index),
            f"{one.r:+.3f}",
            f"{one.p:.2g}",
            f"{one.holm:.2g}",
            "yes" if one.holm < ALIKE else "no",
            f"{one.slope:+.3f}",
        ]
        for one in strongest
    ]
    header = [
        "dimension of z^t",
        "r with the centroid",
        "p (two-sided)",
        "p (Holm)",
        f"below {ALIKE}",
        "octaves per σ, decoded",
    ]
    return (
        text
        + f"Spectral centroid of {len(result.notes.centroid)} test notes against each dimension:\n\n"
        + table(header, rows)
    )


def _content(result: Result, seed: int) -> dict[str, Any]:
    return {
        "label_portion": result.label_portion,
        "f_scores": {
            kind: {label: asdict(score) for label, score in found.items()} for kind, found in result.f_scores.items()
        },
        "paper_best_f_score": PAPER_F_SCORE,
        "figures": {name: figure.plain(seed) for name, figure in result.measured.figures.items()},
        "missing": result.measured.missing,
        "transfer": [
            {
                "pair": list(one.pair),
                "alpha": list(ALPHAS),
                "source": one.source.tolist(),
                "target": one.target.tolist(),
                "pitch": one.pitch.tolist(),
            }
            for one in result.transfers
        ],
        "dimensions": [asdict(one) for one in result.dimensions],
    }
