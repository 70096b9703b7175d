"""The sounds of one data set, ready for a trainer."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from training.data.contract import DrawsNoise, HearsPitch, TrainingSet
from training.data.examples import Crop, DrawSampler, Groups, Item, SoundDataset
from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.sound_options import ExampleOptions, LoadingOptions, PhraseOptions, SoundSelection, tuple_of

GROUPS = (1, 2, 4)  # sizes


class SoundData(lightning.LightningDataModule):
    """Loaders of training and validation examples; `TrainingData` for the tasks.

    Parameters
    ----------
    directory : a data set made by one of `training.data`'s sources
    selection : which of its sounds
    examples : how examples are cut and changed
    phrases : phrases to mix in; None for none
    loading : how examples are drawn and loaded
    """

    def __init__(
        self,
        directory: str,
        selection: SoundSelection | None = None,
        examples: ExampleOptions | None = None,
        phrases: PhraseOptions | None = None,
        loading: LoadingOptions | None = None,
    ) -> None:
        super().__init__()
        self.directory = directory
        self.selection = selection or SoundSelection()
        self.examples = examples or ExampleOptions()
        self.phrases = phrases
        self.loading = loading or LoadingOptions()

    def training_set(self) -> TrainingSet:
        """The selected sounds of all splits, and what is mixed into them."""
        return self._training_set

    @cached_property
    def _training_set(self) -> TrainingSet:
        return TrainingSet(
            self.directory,
            self.selection.of(read_dataset(Path(self.directory))),
            self.loading.batch_size,
            self.phrases.directory if self.phrases else None,
            self.selection,
        )

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of its data; `sequences` is the share of examples that were cut from phrases."""
        return {
            "data": self.directory,
            "seed": self.loading.seed,
            "selection": self.selection.as_lists(),
            "segment_seconds": self.examples.segment_seconds,
            "sequences": self.phrases.share if self.phrases else 0.0,
        }

    def train_dataloader(self) -> DataLoader[Item]:
        """Random examples of the training split and of the phrases; each process loads its share of every batch.

        Raises
        ------
        DataError
            If the batch does not divide over the processes, or there is nothing to train on.
        """
        loading = self.loading
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        group = self.examples.group
        if group not in GROUPS:
            raise DataError(f"group={group} is none of {', '.join(map(str, GROUPS))}; 1 draws every sound by itself")
        unit = group * world
        if loading.batch_size % unit:
            how = f" in groups of {group}" if group > 1 else ""
            raise DataError(
                f"batch_size={loading.batch_size} does not divide over {world} processes{how}; make it a multiple of "
                f"{unit}"
            )
        sounds = self.training_set().of_split("train")
        batches = loading.steps_per_epoch or max(1, len(sounds) // loading.batch_size)
        phrases = None if self.phrases is None else self._read_phrases(self.phrases)
        extra = (len(phrases), self.phrases.share) if self.phrases and phrases else (0, 0.0)
        dataset = SoundDataset(sounds, self._training_crop(sounds), self.training_set().instruments, phrases)
        size = self.examples.group
        groups = Groups(dataset.instrument, dataset.pitch, size) if size > 1 else None
        sampler = DrawSampler(len(sounds), loading.batch_size, batches, loading.seed, rank, world, extra, groups)
        sampler.set_epoch(self.trainer.current_epoch if self.trainer else 0)  # loading begins before Lightning tells it
        return self._loader(dataset, sampler, loading.workers)

    def val_dataloader(self) -> DataLoader[Item]:
        """The beginnings of the validation sounds, unchanged."""
        sounds = self.training_set().of_split("validation")
        sounds = sounds.spread(min(self.loading.validation_sounds, len(sounds)))
        # Neighbours in the set share an instrument; shuffled, the sounds of a batch need not.
        sounds = sounds.take(np.random.default_rng(0).permutation(len(sounds)))
        sampler = DrawSampler(len(sounds), self.loading.batch_size, None, None)
        crop = self._crop(self._samples(sounds), perturb=False)
        return self._loader(SoundDataset(sounds, crop, self.training_set().instruments), sampler, 0)

    def _read_phrases(self, options: PhraseOptions) -> SoundSet:
        """The training phrases of the instruments that are trained on."""
        if not 0 < options.share < 1:
            raise DataError(f"sequence_share={options.share} must lie between 0 and 1, for example 0.3")
        phrases, rate = read_dataset(Path(options.directory)), self.training_set().sounds.sample_rate
        trained = np.unique(self.training_set().of_split("train").instrument)
        chosen = phrases.take((phrases.split == "train") & np.isin(phrases.instrument, trained))
        if phrases.sample_rate != rate or not len(chosen):
            raise DataError(
                f"{options.directory} has {len(chosen)} training phrases of these instruments at "
                f"{phrases.sample_rate} Hz, the sounds are at {rate} Hz; render phrases of the same instruments at the "
                "same rate"
            )
        return chosen

    def _training_crop(self, sounds: SoundSet) -> Crop:
        """With the noise that the task's model draws, if it says how much."""
        samples, task = self._samples(sounds), self.trainer.lightning_module if self.trainer else None
        noise_values = task.noise_values(samples) if isinstance(task, DrawsNoise) else 0
        return self._crop(samples, perturb=True, noise_values=noise_values)

    def _crop(self, samples: int, *, perturb: bool, noise_values: int = 0) -> Crop:
        how = self.examples
        task = self.trainer.lightning_module if self.trainer else None
        pitch_hop = task.pitch_hop_samples if isinstance(task, HearsPitch) else 0
        return Crop(
            samples, how.start_fraction, how.shift_semitones, perturb, how.distort, noise_values, pitch_hop, how.colour
        )

    def _samples(self, sounds: SoundSet) -> int:
        return round(self.examples.segment_seconds * sounds.sample_rate)

    def _loader(self, dataset: SoundDataset, sampler: DrawSampler, workers: int) -> DataLoader[Item]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available(),  # copies to the GPU need not wait for the step before
        )


def sound_data(
    directory: str,
    batch_size: int = LoadingOptions.batch_size,
    segment_seconds: float = ExampleOptions.segment_seconds,
    steps_per_epoch: int | None = LoadingOptions.steps_per_epoch,
    start_fraction: float = ExampleOptions.start_fraction,
    shift_semitones: int = ExampleOptions.shift_semitones,
    distort: bool = ExampleOptions.distort,
    colour: float = ExampleOptions.colour,
    group: int = ExampleOptions.group,
    families: list[str] | None = None,
    instruments: list[str] | None = None,
    programs: list[int] | None = None,
    pitches: list[float] | None = None,
    held_out_instruments: list[int] | None = None,
    held_out_notes: list[float] | None = None,
    sequences: str | None = None,
    sequence_share: float = PhraseOptions.share,
    validation_sounds: int = LoadingOptions.validation_sounds,
    workers: int = LoadingOptions.workers,
    seed: int = LoadingOptions.seed,
) -> SoundData:
    """The sounds of one data set, as recipes and the command line name their options (`data:`, `--data.batch_size`).

    A thin shell: Lightning's command line reads names, types, defaults and help of the flat options from it. Code makes
    a `SoundData` of option objects instead.

    Parameters
    ----------
    directory
        A data set made by one of `training.data`'s sources.
    batch_size
        Examples per step, over all processes together.
    segment_seconds
        Length of a training example.
    steps_per_epoch
        None means every sound once.
    start_fraction
        Share of examples that begin at the onset; the others begin anywhere.
    shift_semitones
        Range of the random pitch shift, plus and minus.
    distort
        Make the distorted twins; systems that do not read them train faster without.
    colour
        Share of examples heard in another room, through another microphone, at a moving level.
    group
        2: every batch is of pairs, two sounds of one instrument side by side; 4: of two pairs at one pitch.
    families
        Families of instruments; null keeps all, here and below.
    instruments
        Names of instruments.
    programs
        General MIDI programs, from 0.
    pitches
        Lowest and highest MIDI note; unpitched sounds are left out.
    held_out_instruments
        Split by instrument: how many for validation, and how many for test.
    held_out_notes
        Split by note: shares of every instrument's notes for validation and for test.
    sequences
        A data set of phrases (`training.data.sequences`) to mix in: glides, legato, rests.
    sequence_share
        Share of the examples that are cut from phrases.
    validation_sounds
        At most so many, spread evenly over the validation split.
    workers
        Loading processes; 0 loads in the training process.
    seed
        Of the random examples.
    """
    return SoundData(
        directory,
        SoundSelection(
            tuple_of(families),
            tuple_of(instruments),
            tuple_of(programs),
            tuple_of(pitches),
            tuple_of(held_out_instruments),
            tuple_of(held_out_notes),
        ),
        ExampleOptions(segment_seconds, start_fraction, shift_semitones, distort, colour, group),
        None if sequences is None else PhraseOptions(sequences, sequence_share),
        LoadingOptions(batch_size, steps_per_epoch, validation_sounds, workers, seed),
    )
