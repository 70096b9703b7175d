"""Sounds for training: random crops and their distorted twins, repeatable from (seed, epoch, position) alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.manifest import DataError, SoundSet, SoundStore, read_dataset
from training.perturb import distort_timbre

Draw = tuple[int, int]  # row of the sound set, seed of this draw
Item = dict[str, torch.Tensor]


class SoundDataset(Dataset[Item]):
    """audio, distorted : (samples,), float32;  semitones : ();  draw : (), the seed of this item's noise;  row : ()."""

    def __init__(self, sounds: SoundSet, *, segment_samples: int, start_fraction: float, shift_semitones: int, perturb: bool) -> None:
        self.sounds, self.store = sounds, SoundStore(sounds)
        self.segment_samples, self.start_fraction = segment_samples, start_fraction
        self.shift_semitones, self.perturb = shift_semitones, perturb

    def __getitem__(self, draw: Draw) -> Item:
        row, seed = draw
        rng = np.random.default_rng(seed)
        room = max(0, int(self.sounds.length[row]) - self.segment_samples)
        start = 0 if rng.random() < self.start_fraction or not self.perturb else int(rng.integers(room + 1))
        sound = self.store.read(row, start, min(self.segment_samples, int(self.sounds.length[row]) - start))
        audio = np.zeros(self.segment_samples, np.float32)
        audio[: len(sound)] = sound
        distorted = distort_timbre(audio, self.sounds.sample_rate, rng) if self.perturb else audio
        semitones = float(rng.integers(-self.shift_semitones, self.shift_semitones + 1)) if self.perturb else 0.0
        return {
            "audio": torch.from_numpy(audio),
            "distorted": torch.from_numpy(distorted),
            "semitones": torch.tensor(semitones),
            "draw": torch.tensor(seed % 2**62),
            "row": torch.tensor(row),
        }


class DrawSampler(Sampler[list[Draw]]):
    """Batches of draws. Epoch e is a function of (seed, e), so a resumed run continues as if it had not stopped.

    With several processes each takes its share of every global batch.
    """

    def __init__(self, count: int, batch_size: int, batches: int | None, seed: int | None, rank: int = 0, world: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.batches = batches or -(-count // batch_size)
        self.rank, self.world, self.epoch = rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Draw]]:
        if self.seed is None:  # every sound once, in order
            rows = np.arange(self.count)
            seeds = rows
        else:
            rng = np.random.default_rng((self.seed, self.epoch))
            wanted = self.batches * self.batch_size
            rows = np.concatenate([rng.permutation(self.count) for _ in range(-(-wanted // self.count))])[:wanted]
            seeds = rng.integers(2**62, size=wanted)
        for batch in range(self.batches):
            part = slice(batch * self.batch_size + self.rank, min((batch + 1) * self.batch_size, len(rows)), self.world)
            yield list(zip(rows[part].tolist(), seeds[part].tolist(), strict=True))


class SoundData(lightning.LightningDataModule):
    """Sounds of one data set, ready for a trainer.

    Parameters
    ----------
    directory : a data set made by one of `training.data`'s sources
    batch_size : sounds per step, over all processes together
    segment_seconds : length of a training example
    steps_per_epoch : None means every sound once
    start_fraction : share of examples that begin at the onset; the others begin anywhere
    shift_semitones : range of the random pitch shift, ± (Tanaka 2022: 7)
    families, instruments, programs : keep only these; None keeps all
    validation_sounds : at most so many, spread evenly over the validation split
    workers : loading processes; 0 loads in the training process
    """

    def __init__(
        self,
        directory: str,
        batch_size: int = 32,
        segment_seconds: float = 2.0,
        steps_per_epoch: int | None = None,
        start_fraction: float = 1.0,
        shift_semitones: int = 7,
        families: list[str] | None = None,
        instruments: list[str] | None = None,
        programs: list[int] | None = None,
        validation_sounds: int = 512,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.directory, self.batch_size, self.segment_seconds, self.steps_per_epoch = directory, batch_size, segment_seconds, steps_per_epoch
        self.start_fraction, self.shift_semitones, self.validation_sounds = start_fraction, shift_semitones, validation_sounds
        self.selection = {"families": families, "instruments": instruments, "programs": programs}
        self.workers, self.seed = workers, seed

    def sounds(self, split: str) -> SoundSet:
        """The selected sounds of a split: 'train', 'validation' or 'test'."""
        chosen: dict[str, Any] = {key: value for key, value in self.selection.items() if value is not None}
        sounds = read_dataset(Path(self.directory)).select(split=split, **chosen)
        if not len(sounds):
            raise DataError(f"{self.directory} has no {split} sounds with {chosen or 'any label'}; choose other families, or render more sounds")
        return sounds

    def train_dataloader(self) -> DataLoader[Item]:
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if self.batch_size % world:
            raise DataError(f"batch_size={self.batch_size} does not divide over {world} processes; make it a multiple of {world}")
        sounds = self.sounds("train")
        batches = self.steps_per_epoch or max(1, len(sounds) // self.batch_size)
        return self._loader(sounds, DrawSampler(len(sounds), self.batch_size, batches, self.seed, rank, world), perturb=True)

    def val_dataloader(self) -> DataLoader[Item]:
        sounds = self.sounds("validation")
        keep = np.unique(np.linspace(0, len(sounds) - 1, min(self.validation_sounds, len(sounds))).astype(int))
        sounds = sounds.take(keep)
        return self._loader(sounds, DrawSampler(len(sounds), self.batch_size, None, None), perturb=False)

    def _loader(self, sounds: SoundSet, sampler: DrawSampler, *, perturb: bool) -> DataLoader[Item]:
        dataset = SoundDataset(
            sounds,
            segment_samples=round(self.segment_seconds * sounds.sample_rate),
            start_fraction=self.start_fraction,
            shift_semitones=self.shift_semitones,
            perturb=perturb,
        )
        workers = self.workers if perturb else 0
        return DataLoader(dataset, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0, prefetch_factor=4 if workers else None)
