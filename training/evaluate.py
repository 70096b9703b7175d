"""python -m training.evaluate ckpt.pt --data DIR --out DIR: k-NN table, reconstruction and authority on held-out sounds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from training.data.manifest import DataError, SoundSet, read_dataset, replace_file
from training.features import FeatureExtractor
from training.models.perturbation import LATENTS
from training.probes import authority, encode_all, knn_table


def evaluate(checkpoint: Checkpoint, data: Path, *, split: str, train_sounds: int, test_sounds: int, seconds: float, seed: int) -> dict[str, float]:
    """Measure a checkpoint on the sounds it was trained for (families and programs come with it), split by split."""
    features = FeatureExtractor(checkpoint.features)
    everything = read_dataset(data)
    if everything.sample_rate != checkpoint.features.sample_rate:
        raise DataError(f"{data} is at {everything.sample_rate} Hz, the model at {checkpoint.features.sample_rate} Hz; render it at that rate")
    rng = np.random.default_rng(seed)
    train = subset(everything.select(split="train", **checkpoint.selection), train_sounds, rng)
    test = subset(everything.select(split=split, **checkpoint.selection), test_sounds, rng)
    if not len(train) or not len(test):
        raise DataError(f"{data} has {len(train)} training and {len(test)} {split} sounds for this model; it needs some of both")
    train_table, test_table = (encode_all(checkpoint.model, features, sounds, seconds) for sounds in (train, test))
    shares = authority(checkpoint.model, features, test, seconds, seed)
    return {
        "mse": test_table.mse,
        **knn_table(train_table, train, test_table, test),
        **{f"authority of {name}": shares[name] for name in LATENTS},
        "instruments": len(np.unique(train.instrument)),
        "train_sounds": len(train),
        f"{split}_sounds": len(test),
        "seconds": seconds,
        "seed": seed,
    }


def subset(sounds: SoundSet, count: int, rng: np.random.Generator) -> SoundSet:
    """At most `count` sounds, chosen at random, in their order."""
    return sounds if len(sounds) <= count else sounds.take(np.sort(rng.permutation(len(sounds))[:count]))


def as_markdown(name: str, result: dict[str, float]) -> str:
    """The figures as a table of latents, and a line for the rest."""
    lines = [f"## {name}", "", "| latent | instrument k-NN | pitch k-NN | authority |", "|---|---|---|---|"]
    for latent in LATENTS:
        figures = (result[f"instrument from {latent}"], result[f"pitch from {latent}"], result[f"authority of {latent}"])
        lines.append(f"| {latent} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    others = {key: value for key, value in result.items() if " from " not in key and " of " not in key}
    lines += ["", ", ".join(f"{key} {value:.4g}" for key, value in others.items()), ""]
    return "\n".join(lines)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options that say how much is measured."""
    parser.add_argument("--train-sounds", type=int, default=6000, help="neighbours to compare with, at most")
    parser.add_argument("--test-sounds", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)


def sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Those options, as keyword arguments of `evaluate`."""
    return {name: getattr(options, name) for name in ("train_sounds", "test_sounds", "seconds", "seed")}


def write_report(folder: Path, text: str, content: dict[str, Any]) -> None:
    """report.md and report.json, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "report.md", text.encode())
    replace_file(folder / "report.json", (json.dumps(content, indent=2) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--out", type=Path, help="writes report.md and report.json there")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    add_sizes(parser)
    options = parser.parse_args(arguments)
    try:
        results = {str(path): evaluate(load_checkpoint(path), options.data, split=options.split, **sizes(options)) for path in options.checkpoints}
        text = "# Evaluation\n\n" + "\n".join(as_markdown(name, result) for name, result in results.items())
        if options.out:
            write_report(options.out, text, results)
    except (CheckpointError, DataError, OSError) as error:
        print(f"training.evaluate: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
