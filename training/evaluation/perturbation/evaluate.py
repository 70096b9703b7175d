"""S1 as Tanaka 2022 evaluates it: tables II and III, the orderings they claim, swapped spectrograms; and authority,
which is ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint
from training.data.manifest import SoundSet
from training.evaluation.measurement import Measurement, about, measure
from training.evaluation.perturbation.claims import Entry, as_markdown, check, plain, unchecked
from training.evaluation.perturbation.paper_tables import PAPER, THREE, Row
from training.evaluation.perturbation.phrases import evaluate_phrases
from training.evaluation.perturbation.swaps import choose_pair, swap_picture
from training.evaluation.report import Footnotes, save_picture, table
from training.models.latents import LATENTS
from training.models.perturbation import PerturbationConfig

FIGURES = ("mse", *(f"{kind} {name}" for kind in ("instrument from", "pitch from", "authority of") for name in LATENTS))
HEADER = (
    *("model", "timbre", "variation", "pitch", "data", "pitch encoder", "centred", "MSE ↓"),
    *(
        "instrument from timbre ↑",
        "from variation",
        "from pitch ↓",
        "pitch from timbre ↓",
        "from variation ↓",
        "from pitch ↑",
    ),
    *("authority of timbre", "of variation", "of pitch"),
)


def evaluate_perturbation(
    checkpoints: Mapping[str, Checkpoint],
    data: Path,
    out: Path | None,
    *,
    seed: int,
    test_sounds: int,
    train_sounds: int = 6000,
    seconds: float = 2.0,
    split: str = "test",
    sequences: Path | None = None,
) -> tuple[str, dict[str, Any]]:
    """Measure S1 models and lay them out as the paper does.

    checkpoints : name → S1 model;  out : where the figures go, None for none
    sequences : a data set of phrases with pitch tracks

    Returns
    -------
    text, content : Markdown, and the same as JSON values

    Raises
    ------
    DataError
        With one sentence, if the data does not suit a model.
    """
    entries, measured, content, pictures = [], {}, {}, []
    for name, checkpoint in checkpoints.items():
        found = measure(
            checkpoint,
            data,
            split=split,
            train_sounds=train_sounds,
            test_sounds=test_sounds,
            seconds=seconds,
            seed=seed,
        )
        measured[name] = found
        entries.append(entry(name, checkpoint, found))
        content[name] = _content(entries[-1], checkpoint, found, split, seconds, seed)
        if out and checkpoint.model.config.factors == THREE:
            pictures.append(_swaps(name, checkpoint, found, out, seconds, seed))
    verdicts = check(entries, seed)
    text = _tables(checkpoints, entries, measured, seed) + as_markdown(verdicts, unchecked(entries))
    if sequences:
        phrases = evaluate_phrases(
            checkpoints, measured, sequences, split=split, test_sounds=test_sounds, seconds=seconds, seed=seed
        )
        text += phrases[0]
        content = {name: row | {"phrases": phrases[1][name]} for name, row in content.items()}
    if pictures:
        text += "\n## Figure 3: each latent taken from the other sound\n\n" + "\n".join(pictures)
    return text, {"rows": content, "claims": [plain(verdict) for verdict in verdicts]}


def entry(name: str, checkpoint: Checkpoint, found: Measurement) -> Entry:
    """Which row of the paper's tables a model is, and what else it must share with a row it is compared with."""
    config: PerturbationConfig = checkpoint.model.config
    others = {key: value for key, value in asdict(config).items() if key not in ("factors", "pitch_encoder")}
    training = {key: checkpoint.info.get(key) for key in ("kl", "segment_seconds")} | {
        "phrases": heard_phrases(checkpoint)
    }
    training["data"] = str(checkpoint.info.get("data")).rpartition("/")[2]
    setting = json.dumps([others, asdict(checkpoint.features), training], sort_keys=True, default=str)
    return Entry(name, Row(config.factors, config.pitch_encoder, has_percussion(found.train)), setting, found.figures)


def has_percussion(sounds: SoundSet) -> bool:
    return bool((np.isnan(sounds.pitch) & (sounds.family == "percussion")).any())


def heard_phrases(checkpoint: Checkpoint) -> bool:
    """Whether phrases were among its training sounds; the command tells where the checkpoint does not."""
    return bool(checkpoint.info.get("sequences")) or "--data.sequences" in str(checkpoint.info.get("command"))


def data_kind(sounds: SoundSet) -> str:
    """What the paper's column says of the training sounds."""
    pitched, percussion = bool(np.isfinite(sounds.pitch).any()), has_percussion(sounds)
    unlabelled = bool((np.isnan(sounds.pitch) & (sounds.family != "percussion")).any())
    parts = ["pitched"] * pitched + ["percussive"] * percussion + ["without pitch labels"] * unlabelled
    return " + ".join(parts)


def _tables(
    checkpoints: Mapping[str, Checkpoint], entries: Sequence[Entry], measured: Mapping[str, Measurement], seed: int
) -> str:
    notes = Footnotes()
    two_and_three = [one for one in entries if not (one.row.factors == THREE and one.row.encoder == "conditional")]
    three = [one for one in entries if one.row.factors == THREE]
    blocks = {"Table II: two factors against three": two_and_three}
    if any(one.row.encoder == "conditional" for one in three):
        blocks["Table III: conditional against independent pitch encoder"] = three
    text = ""
    for title, rows in blocks.items():
        if rows:
            lines = [
                line for one in rows for line in _lines(one, checkpoints[one.name], measured[one.name], notes, seed)
            ]
            text += f"## {title}\n\n{table(HEADER, lines)}\n"
    remarks = sorted({f"{name}: {remark}" for name, found in measured.items() for remark in found.remarks})
    return text + EXPLANATION + "\n" + notes.text() + "".join(f"{remark}  \n" for remark in remarks)


EXPLANATION = (
    "*Paper*: the row of Tanaka 2022 with the same factors, data and encoder, on RWC sounds. ↑ more is better, ↓ "
    "less. ± is half the width of the "
    "95 % bootstrap interval over test sounds; what another training run would give is not in it. k-NN with 5 "
    "neighbours, instrument over all "
    "sounds, pitch over the pitched ones. Authority: squared change of the decoded log-spectrum when one latent is "
    "another sound's, over the "
    "change when all are. — : the model has no such latent, or why is said below.\n"
)


def _lines(one: Entry, checkpoint: Checkpoint, found: Measurement, notes: Footnotes, seed: int) -> list[list[str]]:
    """Our row, and the paper's below it."""
    config: PerturbationConfig = checkpoint.model.config
    marks = ["✓" if name in config.factors else "" for name in LATENTS]
    phrases = heard_phrases(checkpoint)
    told = [
        data_kind(found.train) + " + phrases" * phrases,
        config.pitch_encoder,
        "✓" if config.centred_variation else "",
    ]
    cells = []
    for name in FIGURES:
        cell = found.figures[name].cell(seed) if name in found.figures else "—"
        cells.append(cell + (notes.mark(found.missing[name]) if name in found.missing else _arrow(name, one.row, cell)))
    rows = [[one.name, *marks, *told, *cells]]
    if one.row in PAPER and not phrases:
        paper = [f"{PAPER[one.row][name]:.3f}" if name in PAPER[one.row] else "—" for name in FIGURES[:7]]
        arrows = [_arrow(name, one.row, cell) for name, cell in zip(FIGURES, paper, strict=False)]
        kind = "pitched + percussive" if one.row.percussion else "pitched"
        rows.append(
            [
                "*paper*",
                *marks,
                kind,
                told[1],
                "",
                *(cell + arrow for cell, arrow in zip(paper, arrows, strict=True)),
                "",
                "",
                "",
            ]
        )
    return rows


def _arrow(name: str, row: Row, cell: str) -> str:
    """The variation is all there is of timbre where there is no timbre; then it should tell the instrument (as in the
    paper's table).
    """
    return "" if name != "instrument from variation" or cell == "—" else " (↓)" if "timbre" in row.factors else " (↑)"


def _content(
    one: Entry, checkpoint: Checkpoint, found: Measurement, split: str, seconds: float, seed: int
) -> dict[str, Any]:
    config: PerturbationConfig = checkpoint.model.config
    row: dict[str, Any] = {
        "factors": list(config.factors),
        "pitch_encoder": config.pitch_encoder,
        "centred": config.centred_variation,
    }
    row |= {
        "data": data_kind(found.train),
        "trained_on_phrases": heard_phrases(checkpoint),
        "measured": about(found, split, seconds, seed),
    }
    figures = {name: figure.plain(seed) for name, figure in found.figures.items()}
    return {**row, "figures": figures, "paper": PAPER.get(one.row), "missing": found.missing, "remarks": found.remarks}


def _swaps(name: str, checkpoint: Checkpoint, found: Measurement, out: Path, seconds: float, seed: int) -> str:
    pair = choose_pair(found.test, found.test_table, seed)
    if pair is None:
        return f"{name}: no two test sounds of different instruments at least five semitones apart, so no picture.\n"
    figure = swap_picture(checkpoint, found.test.take(pair), seconds)
    figure.suptitle(name)
    return save_picture(figure, out, f"swaps-{name.replace('/', '-')}", f"{name}: swapped spectrograms")
