"""What is measured of one checkpoint, whatever its system: reconstruction, k-NN in each latent space, authority of each
latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Checkpoint
from training.data.build.cutting import UNLABELLED
from training.data.manifest import DataError, LabelError, SoundSet, read_dataset
from training.evaluation.figures import Figure, mean_of, nothing
from training.evaluation.probes import K, LatentTable, device_of, encode_all, knn_correct, swap_changes
from training.features import FeatureExtractor

LABELS = ("instrument", "pitch")


@dataclass(frozen=True, eq=False)
class Measurement:
    """figures : "mse", "instrument from timbre", …, "authority of pitch"
    missing : why some of them are not there, a sentence each.
    """

    figures: dict[str, Figure]
    missing: dict[str, str]
    remarks: list[str]
    train: SoundSet
    test: SoundSet
    train_table: LatentTable
    test_table: LatentTable

    def values(self) -> dict[str, float | None]:
        """The figures alone, as JSON has them."""
        return {name: figure.value if np.isfinite(figure.value) else None for name, figure in self.figures.items()}


@dataclass(frozen=True)
class Knn:
    """What a k-NN probe found, or why there is none. remark : what a reader should know of it, if anything."""

    figure: Figure
    missing: str = ""
    remark: str = ""


def read_matching(data: Path, checkpoint: Checkpoint) -> SoundSet:
    """The data set, if it is at the model's sample rate.

    Raises
    ------
    DataError
        With one sentence.
    """
    everything = read_dataset(data)
    if everything.sample_rate != checkpoint.features.sample_rate:
        raise DataError(
            f"{data} is at {everything.sample_rate} Hz, the model at {checkpoint.features.sample_rate} Hz; render it "
            "at that rate"
        )
    return everything


def known_to(checkpoint: Checkpoint, sounds: SoundSet, split: str | None = None) -> SoundSet:
    """The sounds of the kind that a model was trained on: of its families, programs, … and, if given, of a split.

    Raises
    ------
    DataError
        With one sentence, also where a label of the model does not occur.
    """
    try:
        return sounds.select(split=split, **checkpoint.selection)
    except LabelError as error:
        raise DataError(
            f"{error}; the model was trained on such sounds alone, so take the data set that it was trained on, or "
            "render one with these labels: python -m training.data.soundfont --out DIR"
        ) from None


def subset(sounds: SoundSet, count: int, rng: np.random.Generator) -> SoundSet:
    """At most `count` sounds, chosen at random, in their order."""
    return sounds if len(sounds) <= count else sounds.take(np.sort(rng.permutation(len(sounds))[:count]))


def measure(
    checkpoint: Checkpoint, data: Path, *, split: str, train_sounds: int, test_sounds: int, seconds: float, seed: int
) -> Measurement:
    """Measure a checkpoint on the sounds it was trained for (families and programs come with it), split by split.

    Raises
    ------
    DataError
        With one sentence.
    """
    everything = read_matching(data, checkpoint)
    shortest = checkpoint.features.hop_samples / checkpoint.features.sample_rate
    if seconds < shortest:
        raise DataError(
            f"{seconds:g} s of every sound is less than the model's hop of {shortest:.3g} s; measure at least that much"
        )
    rng = np.random.default_rng(seed)
    train = subset(known_to(checkpoint, everything, "train"), train_sounds, rng)
    test = subset(known_to(checkpoint, everything, split), test_sounds, rng)
    if not len(train) or not len(test):
        raise DataError(
            f"{data} has {len(train)} training and {len(test)} {split} sounds for this model; it needs some of both; "
            "make the data set from more sounds, or with other shares (--split)"
        )
    features = FeatureExtractor(checkpoint.features).to(device_of(checkpoint.model))
    # Nobody asks how well the training sounds are reconstructed, and a decoder that must be told the pitch is slow.
    alone = checkpoint.draws_alone
    train_table, test_table = (
        encode_all(checkpoint.model, features, sounds, seconds, reconstruct=alone or sounds is test)
        for sounds in (train, test)
    )
    return tabulate(checkpoint, features, (train, test), (train_table, test_table), seconds, seed)


def tabulate(
    checkpoint: Checkpoint,
    features: FeatureExtractor,
    sounds: tuple[SoundSet, SoundSet],
    tables: tuple[LatentTable, LatentTable],
    seconds: float,
    seed: int,
) -> Measurement:
    """The figures of training and test sounds that are encoded."""
    (train, test), (train_table, test_table) = sounds, tables
    figures = {"mse": Figure(test_table.squared_error * test_table.frames, test_table.frames, test.sound)}
    missing: dict[str, str] = {}
    remarks = (
        []
        if (test_table.frames > 0).all()
        else [f"{int((test_table.frames == 0).sum())} test sounds are silent and do not count."]
    )
    for label in LABELS:
        found = {f"{label} from {name}": knn(label, name, sounds, tables) for name in checkpoint.model.latent_sizes}
        figures |= {name: probe.figure for name, probe in found.items()}
        missing |= {name: probe.missing for name, probe in found.items() if probe.missing}
        remarks += sorted({probe.remark for probe in found.values() if probe.remark})
    shares = authority_figures(checkpoint, features, test, seconds, seed)
    missing |= {
        name: "no two test sounds that sound together could be swapped."
        for name, share in shares.items()
        if np.isnan(share.value)
    }
    return Measurement(figures | shares, missing, remarks, train, test, train_table, test_table)


def knn(label: str, latent: str, sounds: tuple[SoundSet, SoundSet], tables: tuple[LatentTable, LatentTable]) -> Knn:
    """k-NN accuracy of one label in one latent space, over the test sounds that have the label."""
    (train_labels, train_known), (test_labels, test_known) = (labels(label, part) for part in sounds)
    a, b = (table.latents[latent] for table in tables)
    learnt = train_known & (tables[0].frames > 0) & np.isfinite(a).all(1)
    asked = test_known & (tables[1].frames > 0) & np.isfinite(b).all(1)
    classes = np.unique(train_labels[learnt])
    absent = int((~np.isin(test_labels[asked], classes)).sum())
    reason = ""
    if not learnt.any() or not asked.any():
        reason = f"no {'training' if not learnt.any() else 'test'} sound has a known {label} and a finite latent."
    elif len(classes) == 1:
        reason = f"the training sounds have one {label} only ({classes[0]}), so there is nothing to tell apart."
    elif learnt.sum() < K:
        reason = f"{int(learnt.sum())} training sounds have a known {label}, fewer than the {K} neighbours that vote."
    elif absent == asked.sum():
        reason = f"no {label} of the test sounds occurs among the training sounds."
    if reason:
        return Knn(nothing(), reason)
    correct = np.zeros(len(b))
    correct[asked] = knn_correct(a[learnt], train_labels[learnt], b[asked], test_labels[asked])
    remark = (
        f"{absent} of {int(asked.sum())} test sounds have an {label} that no training sound has, and count as missed."
        if absent
        else ""
    )
    return Knn(mean_of(correct, asked, sounds[1].sound), remark=remark.replace("an pitch", "a pitch"))


def labels(label: str, sounds: SoundSet) -> tuple[np.ndarray, np.ndarray]:
    """Instrument names or whole MIDI notes, (sounds,), and which of them are known."""
    if label == "instrument":
        return sounds.instrument, sounds.instrument != UNLABELLED
    known = np.isfinite(sounds.pitch)
    return np.rint(np.where(known, sounds.pitch, -1)).astype(int), known


def authority_figures(
    checkpoint: Checkpoint, features: FeatureExtractor, sounds: SoundSet, seconds: float, seed: int
) -> dict[str, Figure]:
    """Authority of each latent, over pairs of sounds."""
    changes = swap_changes(checkpoint.model, features, sounds, seconds, seed)
    shuffled = sounds.sound[np.random.default_rng(seed).permutation(len(sounds))]
    pairs = shuffled[: len(changes["all"])]  # each with the one before it
    return {
        f"authority of {name}": Figure(changes[name], changes["all"], pairs) for name in checkpoint.model.latent_sizes
    }


def about(measured: Measurement, split: str, seconds: float, seed: int) -> dict[str, Any]:
    """How much was measured."""
    counts = {
        "instruments": len(np.unique(measured.train.instrument)),
        "train_sounds": len(measured.train),
        f"{split}_sounds": len(measured.test),
    }
    return {**counts, "seconds": seconds, "seed": seed}
