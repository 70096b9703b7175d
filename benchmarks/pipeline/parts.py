"""What a training example costs: each part of the input pipeline and of the training step, in processor time.

Processor time is that of the process and its threads; unlike the clock it hardly depends on what else the machine does.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pipeline.straightforward import straightforward
from training.data.examples import Crop, Draw, DrawSampler, SoundDataset
from training.data.sounds import SoundData, sound_data
from training.memory import keep_freed_memory
from training.models.latents import drawn_noise
from training.perturb import distort_timbre
from training.tasks.base import Batch, VAETask
from training.tasks.perturbation import PerturbationTask
from training.train import NeiroCLI, recipe

LOADING = ("read", "distort", "noise", "collate")  # what the loader's workers do
TRAINING = ("features", "model", "update")  # what the training process does, the features on its GPU if there is one


@dataclass(frozen=True)
class Costs:
    """Processor seconds per example, one thread: each of `LOADING` and `TRAINING`, and the straightforward pipeline;
    FLOPs of the step.
    """

    seconds: dict[str, float]
    straightforward: float
    flops: float
    examples: dict[str, int]  # measured

    @property
    def loading(self) -> float:
        return sum(self.seconds[part] for part in LOADING)

    @property
    def pipeline(self) -> float:
        """All that the straightforward pipeline does: loading and features, without the model's noise."""
        return self.loading - self.seconds["noise"] + self.seconds["features"]

    @property
    def training(self) -> float:
        return sum(self.seconds[part] for part in TRAINING)


class Workshop:
    """A recipe's task and its training examples.

    batch : examples per measured step, at most the recipe's; None takes that. The optimiser's share is always that of
        the recipe's batch.
    """

    def __init__(self, name: str, data: Path, batch: int | None = None) -> None:
        cli = assemble(name, data, "--data.families=null", "--data.programs=null")  # whatever sounds there are
        assert isinstance(cli.model, PerturbationTask)
        assert isinstance(cli.datamodule, SoundData)
        self.task, self.data = cli.model, cli.datamodule
        self.batch = min(batch or self.data.loading.batch_size, self.data.loading.batch_size)
        self.sounds = self.data.training_set().of_split("train")
        how = self.data.examples
        samples = round(how.segment_seconds * self.sounds.sample_rate)
        self.crop = Crop(samples, how.start_fraction, how.shift_semitones, True, True, self.task.noise_values(samples))
        self.optimizer = self.task.optimizer()

    def dataset(self) -> SoundDataset:
        return SoundDataset(self.sounds, self.crop, self.data.training_set().instruments)

    def recordings(self) -> SoundDataset:
        """The same examples with neither distortion nor noise."""
        crop = replace(self.crop, distort=False, noise_values=0)
        return SoundDataset(self.sounds, crop, self.data.training_set().instruments)

    def draws(self, batches: int, batch: int | None = None) -> list[list[Draw]]:
        return list(DrawSampler(len(self.sounds), batch or self.batch, batches, self.data.loading.seed))

    def step(self, batch: Batch) -> None:
        self.task.terms(batch, training=True)["loss"].backward()

    def flops(self) -> float:
        """Of a step, per example: multiplications and additions of matrix products."""
        counter, dataset = FlopCounterMode(display=False), self.dataset()
        batch = default_collate([dataset[draw] for draw in self.draws(1, 1)[0]])
        with counter:
            self.step(batch)
        return float(counter.get_total_flops())

    def update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def assemble(name: str, data: Path, *options: str) -> NeiroCLI:
    """Task, data and trainer of a recipe, not running."""
    keep_freed_memory()
    arguments = [f"--config={recipe(name)}", f"--data.directory={data}", *options]
    return NeiroCLI(VAETask, sound_data, subclass_mode_model=True, run=False, save_config_callback=None, args=arguments)


class Meter:
    """Adds up processor seconds and examples by part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.examples: defaultdict[str, int] = defaultdict(int)

    @contextmanager
    def __call__(self, part: str, examples: int) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[part] += time.process_time() - started
        self.examples[part] += examples

    def per_example(self) -> dict[str, float]:
        return {part: seconds / self.examples[part] for part, seconds in self.seconds.items()}


def measure_costs(shop: Workshop, rounds: int, straightforward_examples: int) -> Costs:
    """Every part in turn, `rounds` times over, so that what the machine does meanwhile falls on all alike; one round
    before them warms up.

    straightforward_examples : of a round, those that the straightforward pipeline makes too
    """
    torch.set_num_threads(1)
    draws, meter = shop.draws(rounds + 1, shop.data.loading.batch_size), Meter()
    measure_round(shop, draws[0], Meter(), 1)
    for some in draws[1:]:
        measure_round(shop, some, meter, straightforward_examples)
    spent = meter.per_example()
    parts = {part: spent[part] for part in (*LOADING, "features", "update")}
    parts["model"] = spent["step"] - spent["features"]
    return Costs(parts, spent["straightforward"] + spent["read"], shop.flops(), dict(meter.examples))


def measure_round(shop: Workshop, draws: list[Draw], meter: Meter, straightforward_examples: int) -> None:
    """One of the recipe's batches through every part, as much of it as fits through the step."""
    recordings, features, size = shop.recordings(), shop.task.features.config, len(draws)
    rngs = [np.random.default_rng(seed) for _, seed in draws]
    with meter("read", size):
        items = [recordings[draw] for draw in draws]
    audio = [item["audio"].numpy() for item in items]
    with meter("distort", size):
        distorted = [distort_timbre(sound, features.sample_rate, rng) for sound, rng in zip(audio, rngs, strict=True)]
    with meter("noise", size):
        noise = [drawn_noise(seed % 2**62, shop.crop.noise_values) for _, seed in draws]
    whole = [
        item | {"distorted": torch.from_numpy(g), "noise": n}
        for item, g, n in zip(items, distorted, noise, strict=True)
    ]
    with meter("collate", size):
        batch: Batch = default_collate(whole)
    with torch.no_grad(), meter("features", size):
        shop.task.perturbed(batch)
    with meter("step", shop.batch):
        shop.step({name: value[: shop.batch] for name, value in batch.items()})
    with meter("update", size):
        shop.update()
    for item, sound, rng in list(zip(items, audio, rngs, strict=True))[:straightforward_examples]:
        with meter("straightforward", 1):
            straightforward(sound, features, float(item["semitones"]), rng)
