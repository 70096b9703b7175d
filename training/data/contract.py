"""What tasks and their data ask of each other.

A task reads its data as `TrainingData`; the data reads the task as `DrawsNoise` and `HearsPitch`. `SoundData` and
`VAETask` are what the project ships; anything else with the same methods works with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from training.data.manifest import DataError, SoundSet
from training.data.sound_options import SoundSelection


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a task is trained on, as the task checks it before the first step.

    Parameters
    ----------
    directory : the data set, as the user named it
    sounds : the selected sounds of all splits
    batch_size : examples per step
    phrases : the data set whose phrases are mixed in; None without
    selection : how the sounds were selected; for messages
    """

    directory: str
    sounds: SoundSet
    batch_size: int
    phrases: str | None = None
    selection: SoundSelection = field(default_factory=SoundSelection)

    @cached_property
    def instruments(self) -> tuple[str, ...]:
        """The labels that occur, in alphabetical order; a batch's `instrument` is an index into them."""
        return tuple(str(name) for name in np.unique(self.sounds.instrument))

    def of_split(self, split: str) -> SoundSet:
        """The sounds of a split: 'train', 'validation' or 'test'.

        Raises
        ------
        DataError
            If there are none.
        """
        sounds = self.sounds.take(self.sounds.split == split)
        if not len(sounds):
            raise DataError(
                f"{self.directory} has no {split} sounds with {self.selection.conditions() or 'any label'}; choose "
                "other families, or render more sounds"
            )
        return sounds


@runtime_checkable
class TrainingData(Protocol):
    """Data that a task can be trained on."""

    def training_set(self) -> TrainingSet:
        """The sounds; read from disk at the first call."""

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the data; plain values."""


@runtime_checkable
class DrawsNoise(Protocol):
    """A task whose model draws random numbers for an example; its data may draw them ahead."""

    def noise_values(self, samples: int) -> int:
        """How many standard normal numbers an example of so many samples takes."""


@runtime_checkable
class HearsPitch(Protocol):
    """A task that wants the pitch of its examples tracked."""

    @property
    def pitch_hop_samples(self) -> int:
        """How many samples lie between two values of the track."""
