"""python -m training.release runs/live/.../best.pt --data DIR --out training/checkpoints/live.pt

Evaluates a checkpoint, measures its knobs, and writes it slim, with a card (JSON) beside it that says how it was made.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_slim
from training.console import run_command
from training.data.manifest import DataError, SoundSet, read_dataset, replace_file
from training.data.options import Parser, number
from training.evaluate import add_sizes, sizes
from training.evaluation.measurement import about, known_to, measure, read_matching, subset
from training.features import FeatureExtractor
from training.knobs.knobs import measure_again, measure_knobs
from training.knobs.pitch import playable
from training.memory import keep_freed_memory
from training.models.latents import parameters_of

TUNING_STEPS = 300


def release(
    source: Path,
    data: Path,
    out: Path,
    *,
    command: str | None,
    train_sounds: int,
    test_sounds: int,
    seconds: float,
    seed: int,
    tuning_steps: int = TUNING_STEPS,
    keep_knobs: bool = False,
) -> dict[str, object]:
    """Write `out` and its card `out.json`; return the card.

    keep_knobs : the directions and presets it carries stay, and only what the decoder makes of them is measured

    Raises
    ------
    CheckpointError
        If it carries none that could be kept.
    """
    checkpoint = load_checkpoint(source)
    kept = checkpoint.knobs if keep_knobs else None
    if keep_knobs and not (kept and "pitch_axes" in kept):
        raise CheckpointError(
            f"{source} carries no knobs, or not all, so they cannot be kept; release it without --keep-knobs"
        )
    held_out = _held_out(checkpoint, data, train_sounds, seed)
    found = measure(
        checkpoint, data, split="test", train_sounds=train_sounds, test_sounds=test_sounds, seconds=seconds, seed=seed
    )
    features = FeatureExtractor(checkpoint.features)
    asked = (checkpoint.model, features, found.train, held_out, seconds)
    knobs = (
        measure_again(*asked, kept, found.train_table, tuning_steps)
        if kept
        else measure_knobs(*asked, found.train_table, tuning_steps)
    )
    source_set = json.loads((data / "dataset.json").read_text(encoding="utf-8"))
    source_set = {key: value for key, value in source_set.items() if not isinstance(value, list | dict)}
    info = {key: value for key, value in checkpoint.info.items() if key != "data"} | {"data": source_set}
    info["command"] = command or info.get("command")
    card: dict[str, object] = {
        **info,
        "parameters": parameters_of(checkpoint.model),
        "model": dataclasses.asdict(checkpoint.model.config),
        "features": dataclasses.asdict(checkpoint.features),
        "held_out": {name: None if value is None else round(value, 4) for name, value in found.values().items()}
        | about(found, "test", seconds, seed),
        "labelled_axes": {axis["name"]: axis["correlation"] for axis in knobs["axes"] if "correlation" in axis},
    } | _pitch_card(knobs)
    _write(dataclasses.replace(checkpoint, info=info, knobs=knobs), card, out)
    return card


def add_missing(
    source: Path,
    data: Path,
    out: Path,
    *,
    train_sounds: int,
    seconds: float,
    seed: int,
    tuning_steps: int = TUNING_STEPS,
) -> dict[str, object]:
    """Measure what a checkpoint that was released earlier lacks; its own knobs, and what its card says, stay to the
    letter.

    Raises
    ------
    CheckpointError
        If it was never released.
    """
    checkpoint, card_path = load_checkpoint(source), source.with_suffix(".json")
    if checkpoint.knobs is None or not card_path.is_file():
        raise CheckpointError(
            f"{source} has no knobs or no card {card_path.name} beside it, so nothing can be added; release it without "
            "--add-missing"
        )
    train = subset(
        known_to(checkpoint, read_matching(data, checkpoint), "train"),
        train_sounds,
        np.random.default_rng(seed),
    )
    held_out = _held_out(checkpoint, data, train_sounds, seed)
    measured = measure_knobs(
        checkpoint.model, FeatureExtractor(checkpoint.features), train, held_out, seconds, tuning_steps=tuning_steps
    )
    knobs = measured | checkpoint.knobs
    card: dict[str, object] = json.loads(card_path.read_text(encoding="utf-8")) | _pitch_card(knobs)
    _write(dataclasses.replace(checkpoint, knobs=knobs), card, out)
    return card


def _held_out(checkpoint: Checkpoint, data: Path, most: int, seed: int) -> SoundSet:
    sounds = known_to(checkpoint, read_dataset(data), "validation")
    if not len(sounds):
        raise DataError(
            f"{data} has no validation sounds for this model, and its knobs are checked on some; make the data set "
            "from more sounds, or with other shares (--split)"
        )
    return subset(sounds, most, np.random.default_rng(seed))


def _pitch_card(knobs: dict[str, Any]) -> dict[str, object]:
    """What the model can do with pitch."""
    correlations = {axis["name"]: axis["correlation"] for axis in knobs["pitch_axes"] if "correlation" in axis}
    return {"pitch_axes": correlations, "playable": playable(knobs["pitch_anchors"])}


def _write(checkpoint: Checkpoint, card: dict[str, object], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    save_slim(checkpoint, out)
    load_checkpoint(out)  # it must come back, without running code
    replace_file(out.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    keep_freed_memory()
    parser = Parser(prog="python -m training.release", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--out", type=Path, required=True, help="slim checkpoint to write, its card goes beside it")
    parser.add_argument(
        "--command", help="the training command to put on the card; default: the one recorded, with its paths"
    )
    parser.add_argument(
        "--tuning-steps",
        type=number(0, 10**6, int),
        default=TUNING_STEPS,
        metavar="N",
        help="of the curve of pitch; 0: plain averages (%(default)s)",
    )
    parser.add_argument(
        "--add-missing",
        action="store_true",
        help="of a checkpoint released earlier: measure only the knobs it lacks, keep the rest",
    )
    parser.add_argument(
        "--keep-knobs",
        action="store_true",
        help="of a refined checkpoint: keep directions and presets, measure what the decoder makes of them",
    )
    add_sizes(parser)
    options = parser.parse_args(arguments)
    paths = (options.checkpoint, options.data, options.out)
    chosen = sizes(options) | {"tuning_steps": options.tuning_steps}
    try:
        if options.add_missing and options.keep_knobs:
            raise CheckpointError(
                "--add-missing keeps all that was measured, --keep-knobs only directions and presets; give one of them"
            )
        if options.add_missing:
            del chosen["test_sounds"]
            card = add_missing(*paths, **chosen)
        else:
            card = release(*paths, command=options.command, keep_knobs=options.keep_knobs, **chosen)
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.release: {error}", file=sys.stderr)
        return 2
    print(json.dumps(card, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    run_command(main)
