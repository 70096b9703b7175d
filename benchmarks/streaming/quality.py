"""What each form of a model decodes and tells apart (see `export.proof.fidelity`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.streaming.forms import Forms
from benchmarks.streaming.ways import ORIGINAL, Effort, Way
from export.proof.fidelity import (
    ComparisonSounds,
    ModelMeasurements,
    knn_accuracies,
    latent_cosines,
    measure_streaming,
    measure_whole,
)
from training.data.manifest import DataError, SoundSet, read_dataset
from training.evaluation.measurement import subset
from training.evaluation.probes import LatentTable
from training.models.latents import TimbreVAE


class Quality:
    """Of the forms of one subject, on the same sounds."""

    def __init__(self, forms: Forms) -> None:
        self._forms, self._checkpoint, self._effort = forms, forms.subject.checkpoint, forms.effort
        # As long as the sounds of the training.
        self._seconds = float(self._checkpoint.info.get("segment_seconds", 1.0))

    @cached_property
    def sounds(self) -> ComparisonSounds:
        if self._checkpoint.data is None:
            raise DataError(
                f"the sounds of {self._forms.subject.name} are not there; give the folder that holds them as --work"
            )
        rng, every = np.random.default_rng(self._effort.seed), read_dataset(self._checkpoint.data)
        counts = {"train": self._effort.train_sounds, "test": self._effort.test_sounds}
        train, test = (
            subset(every.select(split=split, **self._checkpoint.selection), count, rng)
            for split, count in counts.items()
        )
        return ComparisonSounds(train, test, self._seconds)

    @cached_property
    def original(self) -> tuple[ModelMeasurements, ModelMeasurements]:
        """Whole training and test sounds."""
        return tuple(self._whole(part) for part in (self.sounds.train, self.sounds.test))  # type: ignore[return-value]

    def _whole(self, sounds: SoundSet) -> ModelMeasurements:
        return measure_whole(self._checkpoint.model, self._checkpoint.features, sounds, self._seconds)

    def _live(self, model: TimbreVAE, sounds: SoundSet) -> ModelMeasurements:
        return measure_streaming(model, self._checkpoint.features, sounds, self._seconds)

    def __call__(self, way: Way) -> dict[str, Any]:
        """MSE, log-spectral distance, k-NN accuracies, cosines with the original; how many sounds."""
        made = self._forms(way)
        if way.windowed:
            return self._windowed(made.model) | {"made": made.about}
        if way.name == ORIGINAL:
            learnt, asked = self.original
        else:
            learnt, asked = (self._live(made.model, part) for part in (self.sounds.train, self.sounds.test))
        near = latent_cosines(asked, self.original[1]) if way.name != ORIGINAL else {}
        return _figures(asked) | {
            "knn": self._knn(learnt, asked, asked, np.arange(len(self.sounds.test))),
            "cosine": near,
            "train_sounds": len(self.sounds.train),
            "test_sounds": len(self.sounds.test),
            "made": made.about,
        }

    def _windowed(self, model: TimbreVAE) -> dict[str, Any]:
        """On fewer sounds, for it works through a window per frame; neighbours among its own answers. Beside them the
        original's on the same.
        """
        rows, known = (
            _spread(len(part), count) for part, count in zip(self._parts(), self._effort.windowed_sounds, strict=True)
        )
        few = ComparisonSounds(self.sounds.train.take(known), self.sounds.test.take(rows), self.sounds.seconds)
        learnt, asked = (self._live(model, part) for part in (few.train, few.test))
        there = [_rows(played, chosen) for played, chosen in zip(self.original, (known, rows), strict=True)]
        return _figures(asked) | {
            "knn": knn_accuracies(few, learnt, asked),
            "cosine": latent_cosines(asked, there[1]),
            "train_sounds": len(known),
            "test_sounds": len(rows),
            "original_there": _figures(there[1]) | {"knn": knn_accuracies(few, *there)},
        }

    def _parts(self) -> tuple[SoundSet, SoundSet]:
        return self.sounds.test, self.sounds.train

    def _knn(
        self, learnt: ModelMeasurements, reference: ModelMeasurements, asked: ModelMeasurements, rows: np.ndarray
    ) -> dict[str, float]:
        """Accuracies among the training sounds; of instruments that none of them has, among the other test sounds.

        learnt : of the training sounds;  reference : of all test sounds;  asked : of those at `rows`
        """
        found = knn_accuracies(replace(self.sounds, test=self.sounds.test.take(rows)), learnt, asked)
        if any(name.startswith("instrument") for name in found):
            return found
        every = np.arange(len(self.sounds.test))
        kept = np.arange(0, len(rows), 2 if len(rows) == len(every) else 1)  # if all are asked about, every other one
        others = np.setdiff1d(every, rows[kept])
        sounds = ComparisonSounds(self.sounds.test.take(others), self.sounds.test.take(rows[kept]), self.sounds.seconds)
        new = knn_accuracies(sounds, _rows(reference, others), _rows(asked, kept))
        return {name: value for name, value in new.items() if name.startswith("instrument")} | found


def _figures(played: ModelMeasurements) -> dict[str, float]:
    return {"mse": played.mse, "distance_db": played.log_spectral_distance_db}


def _spread(many: int, few: int) -> np.ndarray:
    """So many rows of them, evenly spread."""
    return np.linspace(0, many - 1, min(few, many)).round().astype(int)


def _rows(played: ModelMeasurements, rows: np.ndarray) -> ModelMeasurements:
    table = played.table
    latents = {name: value[rows] for name, value in table.latents.items()}
    return ModelMeasurements(
        LatentTable(latents, table.squared_error[rows], table.frames[rows]), played.distance_db[rows]
    )


def depends_on(effort: Effort) -> Iterator[tuple[str, Any]]:
    """What of the effort the quality depends on."""
    yield from (
        (name, getattr(effort, name))
        for name in ("train_sounds", "test_sounds", "windowed_sounds", "calibration", "lessons", "seed")
    )
