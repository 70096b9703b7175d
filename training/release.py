"""python -m training.release runs/live/.../best.pt --data DIR --out training/checkpoints/live.pt

Evaluates a checkpoint, measures its knobs, and writes it slim, with a card (JSON) beside it that says how it was made.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from training.checkpoint import CheckpointError, load_checkpoint, save_slim
from training.data.manifest import DataError, read_dataset, replace_file
from training.evaluate import add_sizes, sizes
from training.evaluation.measurement import about, measure, subset
from training.features import FeatureExtractor
from training.knobs import measure_knobs
from training.models.latents import parameters_of


def release(
    source: Path, data: Path, out: Path, *, command: str | None, train_sounds: int, test_sounds: int, seconds: float, seed: int
) -> dict[str, object]:
    """Write `out` and its card `out.json`; return the card."""
    checkpoint = load_checkpoint(source)
    found = measure(checkpoint, data, split="test", train_sounds=train_sounds, test_sounds=test_sounds, seconds=seconds, seed=seed)
    validation = read_dataset(data).select(split="validation", **checkpoint.selection)
    held_out = subset(validation, train_sounds, np.random.default_rng(seed))
    timbre = found.train_table.latents["timbre"]
    knobs = measure_knobs(checkpoint.model, FeatureExtractor(checkpoint.features), found.train, held_out, seconds, timbre)
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
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_slim(dataclasses.replace(checkpoint, info=info, knobs=knobs), out)
    load_checkpoint(out)  # it must come back, without running code
    replace_file(out.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return card


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.release", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--out", type=Path, required=True, help="slim checkpoint to write, its card goes beside it")
    parser.add_argument("--command", help="the training command to put on the card; default: the one recorded, with its paths")
    add_sizes(parser)
    options = parser.parse_args(arguments)
    try:
        card = release(options.checkpoint, options.data, options.out, command=options.command, **sizes(options))
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.release: {error}", file=sys.stderr)
        return 2
    print(json.dumps(card, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
