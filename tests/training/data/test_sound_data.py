"""SoundData: the flat names of recipes and command line become options, and what tasks and data ask of each other."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training.data.contract import DrawsNoise, TrainingData
from training.data.manifest import DataError
from training.data.sound_options import ExampleOptions, LoadingOptions, PhraseOptions, SoundSelection
from training.data.sounds import SoundData, sound_data
from training.features import FeatureConfig
from training.models.metric import MetricConfig
from training.tasks.metric import MetricTask

FLAT = {
    "batch_size": 8,
    "segment_seconds": 0.5,
    "steps_per_epoch": 2,
    "start_fraction": 0.25,
    "shift_semitones": 3,
    "distort": False,
    "families": ["strings"],
    "instruments": ["Violin"],
    "programs": [40],
    "pitches": [50.0, 70.0],
    "held_out_instruments": [1, 1],
    "held_out_notes": [0.1, 0.2],
    "colour": 0.4,
    "group": 4,
    "sequences": "phrases",
    "sequence_share": 0.2,
    "validation_sounds": 9,
    "workers": 0,
    "seed": 7,
}


def test_every_flat_option_reaches_its_place() -> None:
    data = sound_data("notes", **FLAT)  # type: ignore[arg-type]
    assert data.selection == SoundSelection(("strings",), ("Violin",), (40,), (50.0, 70.0), (1, 1), (0.1, 0.2))
    assert data.examples == ExampleOptions(0.5, 0.25, 3, False, 0.4, 4)
    assert data.phrases == PhraseOptions("phrases", 0.2)
    assert data.loading == LoadingOptions(8, 2, 9, 0, 7)
    assert set(inspect.signature(sound_data).parameters) == {"directory", *FLAT}


def test_defaults_are_those_of_the_options() -> None:
    flat, typed = sound_data("notes"), SoundData("notes")
    for name in ("directory", "selection", "examples", "phrases", "loading"):
        assert getattr(flat, name) == getattr(typed, name)


def test_a_checkpoint_says_plain_values_of_the_data() -> None:
    about = sound_data("notes", **FLAT).about()  # type: ignore[arg-type]
    assert about["data"] == "notes"
    assert about["seed"] == 7
    assert about["segment_seconds"] == 0.5
    assert about["sequences"] == 0.2
    assert about["selection"] == {
        name: FLAT[name]
        for name in ("families", "instruments", "programs", "pitches", "held_out_instruments", "held_out_notes")
    }
    assert sound_data("notes").about()["sequences"] == 0.0


class OtherData(lightning.LightningDataModule):
    """Loads batches and can say nothing of itself."""

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        raise AssertionError("it is refused before it is read")


def task() -> MetricTask:
    return MetricTask(MetricConfig(hidden=8), FeatureConfig(22050, 256, 128, 1e-3, 20), alpha=0, beta=0)


def trainer(root: Path) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=root
    )


def test_data_that_cannot_say_what_it_is_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"MetricTask cannot check OtherData, .* train on a SoundData"):
        trainer(tmp_path).fit(task(), datamodule=OtherData())


def test_a_task_and_its_data_keep_the_contract(tiny_data: Path) -> None:
    data = SoundData(str(tiny_data))
    assert isinstance(data, TrainingData)
    assert isinstance(task(), DrawsNoise)
    found = data.training_set()
    assert found is data.training_set(), "read once"
    assert found.instruments == tuple(np.unique(found.sounds.instrument).tolist())
    with pytest.raises(DataError, match="has no test sounds with any label"):
        dataclasses.replace(found, sounds=found.sounds.take(found.sounds.split == "train")).of_split("test")


class Plain(lightning.LightningModule):
    """Draws nothing at random; notes what a batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), set[str]()

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        self.seen = set(batch)
        return self.weight * batch["audio"].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Drawing(Plain):
    def noise_values(self, samples: int) -> int:
        return samples // 100


class Listing(Plain):
    """Notes the draws of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.draws.append([])

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        self.draws[-1] += batch["draw"].tolist()
        return super().training_step(batch, index)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_epoch_draws_anew_and_a_resumed_one_the_same(tiny_data: Path, tmp_path: Path, workers: int) -> None:
    def fit(epochs: int, resume: Path | None = None) -> list[list[int]]:
        module, options = Listing(), LoadingOptions(batch_size=2, steps_per_epoch=2, workers=workers, seed=5)
        it = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_progress_bar=False,
            default_root_dir=tmp_path,
            limit_val_batches=0,
        )
        data = SoundData(str(tiny_data), examples=ExampleOptions(0.1), loading=options)
        it.fit(module, datamodule=data, ckpt_path=resume)
        it.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return module.draws

    fit(1)
    resumed, whole = fit(3, tmp_path / "1.ckpt"), fit(3)
    assert len({draw for epoch in whole for draw in epoch}) == 12
    assert resumed[-2:] == whole[1:]


@pytest.mark.parametrize("model", [Plain, Drawing])
def test_noise_is_drawn_for_models_that_say_how_much(tiny_data: Path, tmp_path: Path, model: type[Plain]) -> None:
    module = model()
    options = LoadingOptions(batch_size=2, steps_per_epoch=1, validation_sounds=1, workers=0)
    data = SoundData(str(tiny_data), examples=ExampleOptions(0.1), loading=options)
    trainer(tmp_path).fit(module, datamodule=data)
    assert ("noise" in module.seen) == (model is Drawing)
