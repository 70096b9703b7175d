"""Training examples: random crops and their distorted twins, repeatable from (seed, epoch, position) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from training.data.colour import coloured
from training.data.manifest import SoundSet
from training.data.store import SoundStore
from training.dsp.f0 import track_pitch
from training.models.latents import drawn_noise
from training.perturb import distort_timbre

NEAR_SEMITONES = 4.0  # between the sounds of a pair
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
    pitch_hop_samples: int = 0  # track the pitch at the end of every so many samples; 0: do not
    colour: float = 0.0  # share of examples that are coloured, if anything is perturbed


class SoundDataset(Dataset[Item]):
    """audio, distorted : (samples,), float32;  semitones : ();  draw : (), the seed of this item's noise;  row : ();
    noise : (noise_values,), float32, where there is any;
    f0_hz, confidence : (hops,), float32, where the pitch is tracked (`training.dsp.f0`);
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
        if crop.perturb and crop.colour and rng.random() < crop.colour:
            audio = coloured(audio, self.sample_rate, rng)
        distorted = distort_timbre(audio, self.sample_rate, rng) if crop.perturb and crop.distort else audio
        semitones = float(rng.integers(-crop.shift_semitones, crop.shift_semitones + 1)) if crop.perturb else 0.0
        draw_seed = seed % 2**62
        noise = {"noise": drawn_noise(draw_seed, crop.noise_values)} if crop.noise_values else {}
        return (
            noise
            | self._tracked(audio)
            | {
                "audio": torch.from_numpy(audio),
                "distorted": torch.from_numpy(distorted),
                "semitones": torch.tensor(semitones),
                "draw": torch.tensor(draw_seed),
                "row": torch.tensor(row),
                "instrument": torch.tensor(int(self.instrument[row])),
                "pitch": torch.tensor(int(self.pitch[row])),
            }
        )

    def _tracked(self, audio: np.ndarray) -> Item:
        if not self.crop.pitch_hop_samples:
            return {}
        track = track_pitch(audio, self.sample_rate, self.crop.pitch_hop_samples)
        return {"f0_hz": torch.from_numpy(track.f0_hz), "confidence": torch.from_numpy(track.confidence)}


class Groups:
    """Draws that belong together: two near sounds of an instrument, or two such pairs that share a pitch.

    instrument, pitch : (rows,), numbers of each row's instrument and MIDI note; pitch −1 where there is none
    size : 2 for pairs; 4 for two pairs, whose first sounds are at one pitch, of different instruments where there are
    """

    def __init__(self, instrument: np.ndarray, pitch: np.ndarray, size: int) -> None:
        self.size, self._instrument = size, instrument
        self._by_instrument, self._by_pitch = _Alike(instrument, pitch, NEAR_SEMITONES), _Alike(pitch)

    def follow(self, rows: np.ndarray, rng: np.random.Generator) -> None:
        """Keeps the first row of every group in `rows`, (draws,), and chooses those that follow it."""
        size, whole = self.size, len(rows) // self.size * self.size
        first = rows[:whole:size]
        if size == 4:
            rows[2:whole:4] = self._elsewhere(first, rng)
        for pair in range(0, size, 2):
            rows[pair + 1 : whole : size] = self._by_instrument.another(rows[pair:whole:size], rng)

    def _elsewhere(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """At the same pitch, of another instrument, which a few tries find."""
        found = self._by_pitch.another(rows, rng)
        for _ in range(8):
            same = self._instrument[found] == self._instrument[rows]
            found[same] = self._by_pitch.another(rows[same], rng)
        return found


class _Alike:
    """For every row another of the same label; itself where there is no other.

    labels : (rows,);  place, reach : of a row, and how far apart two may lie; all may where nothing else is near
    """

    def __init__(self, labels: np.ndarray, place: np.ndarray | None = None, reach: float = 0.0) -> None:
        place = np.zeros(len(labels)) if place is None else place
        self._order = np.lexsort((place, labels))
        sorted_labels, sorted_place = labels[self._order], place[self._order]
        where = np.arange(len(labels))
        # One axis on which other labels lie far away: what is near on it is alike and near.
        axis = np.unique(sorted_labels, return_inverse=True)[1] * (4 * np.ptp(place) + 4 * reach + 4) + sorted_place
        first, last = np.searchsorted(axis, axis - reach, "left"), np.searchsorted(axis, axis + reach, "right")
        _, start, group, size = np.unique(sorted_labels, return_index=True, return_inverse=True, return_counts=True)
        alone = last - first < 2
        self._first, self._size = (
            np.where(alone, start[group], first),
            np.where(alone, size[group], last - first),
        )
        self._place = np.empty(len(labels), int)  # of every row in the order of labels
        self._place[self._order] = where

    def another(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One drawn for each of `rows`."""
        place = self._place[rows]
        first, size = self._first[place], self._size[place]
        step = 1 + np.floor(rng.random(len(rows)) * np.maximum(size - 1, 0)).astype(int)
        return self._order[first + (place - first + step) % size]


class DrawSampler(Sampler[list[Draw]]):
    """Batches of draws. Epoch e is a function of (seed, e), so a resumed run continues as if it had not stopped.

    With several processes each takes its share of every global batch. `phrases` (their number, share of the draws)
    follow the sounds. With `groups` every batch is of groups, side by side.
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
        groups: Groups | None = None,
    ) -> None:
        self.count, self.batch_size, self.seed, self.phrases = count, batch_size, seed, phrases
        self.groups = groups
        self.batches = batches or -(-count // batch_size)
        self.rank, self.world, self.epoch = rank, world, 0

    @property
    def sampler(self) -> DrawSampler:
        """Itself: Lightning tells the epoch to a batch sampler's `sampler`, and to nobody else."""
        return self

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
            if self.groups is not None:
                self.groups.follow(rows, rng)
        unit = 1 if self.groups is None else self.groups.size  # draws that stay together
        for batch in range(self.batches):
            places = np.arange(batch * self.batch_size, min((batch + 1) * self.batch_size, len(rows)))
            part = places[places // unit % self.world == self.rank]
            yield list(zip(rows[part].tolist(), seeds[part].tolist(), strict=True))
