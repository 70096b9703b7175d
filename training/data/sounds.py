"""Sounds for training: random crops and their distorted twins, repeatable from (seed, epoch, position) alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.store import SoundStore
from training.models.latents import drawn_noise
from training.perturb import distort_timbre

Draw = tuple[int, int]  # row of the sound set, seed of this draw
Item = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Crop:
    """What a training example is of its sound."""

    samples: int
    start_fraction: float  # share of examples that begin at the onset
    shift_semitones: int
    perturb: bool
    distort: bool = True  # make the distorted twin, if anything is perturbed
    # standard normal numbers that the model draws for an example; made here, so that the training process need not
    noise_values: int = 0


class SoundDataset(Dataset[Item]):
    """audio, distorted : (samples,), float32;  semitones : ();  draw : (), the seed of this item's noise;  row : ();
    noise : (noise_values,), float32, where there is any;
    instrument : (), index into `instruments`, -1 where unlabelled
    pitch : (), MIDI note rounded, -1 where there is none.

    Rows from `len(sounds)` on are those of `phrases`, if there are any; they are cut anywhere.
    """

    def __init__(
        self, sounds: SoundSet, crop: Crop, instruments: Sequence[str], phrases: SoundSet | None = None
    ) -> None:
        self.crop, self.sample_rate = crop, sounds.sample_rate
        self.parts = [sounds] if phrases is None else [sounds, phrases]
        self.stores = [SoundStore(part) for part in self.parts]
        position = {name: i for i, name in enumerate(instruments)}
        self.instrument = np.array([position.get(str(name), -1) for part in self.parts for name in part.instrument])
        pitch = np.concatenate([part.pitch for part in self.parts])
        self.pitch = np.where(np.isfinite(pitch), np.round(np.nan_to_num(pitch)), -1).astype(int)

    def __getitem__(self, draw: Draw) -> Item:
        row, seed = draw
        crop, rng = self.crop, np.random.default_rng(seed)
        phrase = row >= len(self.parts[0])
        local = row - len(self.parts[0]) if phrase else row
        length = int(self.parts[phrase].length[local])
        room = max(0, length - crop.samples)
        from_onset = rng.random() < crop.start_fraction and not phrase
        start = 0 if from_onset or not crop.perturb else int(rng.integers(room + 1))
        sound = self.stores[phrase].read(local, start, min(crop.samples, length - start))
        audio = np.zeros(crop.samples, np.float32)
        audio[: len(sound)] = sound
        distorted = distort_timbre(audio, self.sample_rate, rng) if crop.perturb and crop.distort else audio
        semitones = float(rng.integers(-crop.shift_semitones, crop.shift_semitones + 1)) if crop.perturb else 0.0
        draw_seed = seed % 2**62
        noise = {"noise": drawn_noise(draw_seed, crop.noise_values)} if crop.noise_values else {}
        return noise | {
            "audio": torch.from_numpy(audio),
            "distorted": torch.from_numpy(distorted),
            "semitones": torch.tensor(semitones),
            "draw": torch.tensor(draw_seed),
            "row": torch.tensor(row),
            "instrument": torch.tensor(int(self.instrument[row])),
            "pitch": torch.tensor(int(self.pitch[row])),
        }


class DrawSampler(Sampler[list[Draw]]):
    """Batches of draws. Epoch e is a function of (seed, e), so a resumed run continues as if it had not stopped.

    With several processes each takes its share of every global batch. `phrases` (their number, share of the draws)
    follow the sounds.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        batches: int | None,
        seed: int | None,
        rank: int = 0,
        world: int = 1,
        phrases: tuple[int, float] = (0, 0.0),
    ) -> None:
        self.count, self.batch_size, self.seed, self.phrases = count, batch_size, seed, phrases
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
            phrases, share = self.phrases
            if phrases:
                rows = np.where(rng.random(wanted) < share, self.count + rng.integers(phrases, size=wanted), rows)
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
    distort : make the distorted twins; systems that do not read them train faster without
    families, instruments, programs, pitches, held_out_instruments : which sounds, as `SoundSet.select` takes them; None
    keeps all
    sequences : a data set of phrases (`training.data.sequences`), of which `sequence_share` of the examples are cut:
        glides, legato, rests
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
        distort: bool = True,
        families: list[str] | None = None,
        instruments: list[str] | None = None,
        programs: list[int] | None = None,
        pitches: list[float] | None = None,
        held_out_instruments: list[int] | None = None,
        sequences: str | None = None,
        sequence_share: float = 0.3,
        validation_sounds: int = 512,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.directory = directory
        self.batch_size = batch_size
        self.segment_seconds = segment_seconds
        self.steps_per_epoch = steps_per_epoch
        self.start_fraction = start_fraction
        self.shift_semitones = shift_semitones
        self.distort = distort
        self.validation_sounds = validation_sounds
        self.sequences, self.sequence_share = sequences, sequence_share
        self.selection = {
            "families": families,
            "instruments": instruments,
            "programs": programs,
            "pitches": pitches,
            "held_out_instruments": held_out_instruments,
        }
        self.workers, self.seed = workers, seed

    def sounds(self, split: str) -> SoundSet:
        """The selected sounds of a split: 'train', 'validation' or 'test'."""
        every = self.every_sound
        sounds = every.take(every.split == split)
        if not len(sounds):
            chosen = {key: value for key, value in self.selection.items() if value is not None}
            raise DataError(
                f"{self.directory} has no {split} sounds with {chosen or 'any label'}; choose other families, or "
                "render more sounds"
            )
        return sounds

    @cached_property
    def every_sound(self) -> SoundSet:
        """The selected sounds of all splits."""
        chosen: dict[str, Any] = {key: value for key, value in self.selection.items() if value is not None}
        return read_dataset(Path(self.directory)).select(**chosen)

    @cached_property
    def instruments(self) -> tuple[str, ...]:
        """The labels that occur, in alphabetical order; a batch's `instrument` counts them."""
        return tuple(str(name) for name in np.unique(self.every_sound.instrument))

    def train_dataloader(self) -> DataLoader[Item]:
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if self.batch_size % world:
            raise DataError(
                f"batch_size={self.batch_size} does not divide over {world} processes; make it a multiple of {world}"
            )
        sounds = self.sounds("train")
        batches = self.steps_per_epoch or max(1, len(sounds) // self.batch_size)
        phrases = self.phrases()
        extra = (len(phrases), self.sequence_share) if phrases is not None else (0, 0.0)
        sampler = DrawSampler(len(sounds), self.batch_size, batches, self.seed, rank, world, extra)
        return self._loader(
            SoundDataset(sounds, self._crop(sounds, perturb=True), self.instruments, phrases), sampler, self.workers
        )

    def val_dataloader(self) -> DataLoader[Item]:
        sounds = self.sounds("validation")
        keep = np.unique(np.linspace(0, len(sounds) - 1, min(self.validation_sounds, len(sounds))).astype(int))
        sounds = sounds.take(
            np.random.default_rng(0).permutation(keep)
        )  # neighbours in the set share an instrument, in a batch they need not
        sampler = DrawSampler(len(sounds), self.batch_size, None, None)
        return self._loader(SoundDataset(sounds, self._crop(sounds, perturb=False), self.instruments), sampler, 0)

    def phrases(self) -> SoundSet | None:
        """The training phrases of the selected instruments, if any are asked for."""
        if self.sequences is None:
            return None
        if not 0 < self.sequence_share < 1:
            raise DataError(f"sequence_share={self.sequence_share} must lie between 0 and 1, for example 0.3")
        phrases = read_dataset(Path(self.sequences))
        chosen = phrases.take((phrases.split == "train") & np.isin(phrases.instrument, self.instruments))
        if phrases.sample_rate != self.every_sound.sample_rate or not len(chosen):
            raise DataError(
                f"{self.sequences} has {len(chosen)} training phrases of these instruments at {phrases.sample_rate} "
                "Hz, the sounds are at "
                f"{self.every_sound.sample_rate} Hz; render phrases of the same instruments at the same rate"
            )
        return chosen

    def _crop(self, sounds: SoundSet, *, perturb: bool) -> Crop:
        samples = round(self.segment_seconds * sounds.sample_rate)
        values: Callable[[int], int] | None = (
            getattr(self.trainer.lightning_module, "noise_values", None) if self.trainer and perturb else None
        )
        return Crop(
            samples, self.start_fraction, self.shift_semitones, perturb, self.distort, values(samples) if values else 0
        )

    def _loader(self, dataset: SoundDataset, sampler: DrawSampler, workers: int) -> DataLoader[Item]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available(),  # copies to the GPU need not wait for the step before
        )
