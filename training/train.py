"""python -m training.train fit --config training/recipes/live.yaml

Lightning's command line: any value of a recipe can be overridden (`--data.directory DIR --trainer.max_epochs 20`),
`--ckpt_path last` resumes, `--trainer.strategy=ddp --trainer.devices=2` runs on two processes.
"""

from __future__ import annotations

import io
import itertools
import logging
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from training.checkpoint import CheckpointError, check_resumable
from training.console import run_command
from training.data.manifest import DataError, replace_file
from training.data.sounds import SoundData, sound_data
from training.features import RecipeError
from training.memory import keep_freed_memory
from training.tasks.base import VAETask
from training.tasks.ddsp import DDSPTask
from training.tasks.harmonic import HarmonicTask
from training.tasks.metric import MetricTask
from training.tasks.mixture import MixtureTask
from training.tasks.perturbation import PerturbationTask

# A recipe's `class_path` names one of them; others need their module's path.
TASKS = (PerturbationTask, MetricTask, MixtureTask, HarmonicTask, DDSPTask)


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, whenever the process dies.

    Lightning's own are written to the system's temporary folder and moved, which is a copy where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(path), buffer.getbuffer())


class Best(ModelCheckpoint):
    """`best.pt`, by validation loss, replaced in one step."""

    FILE_EXTENSION = ".pt"

    def __init__(self) -> None:
        super().__init__(
            monitor="val/loss", filename="best", enable_version_counter=False, auto_insert_metric_name=False
        )

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = WholeFiles()
        super().setup(trainer, pl_module, stage)


class Last(ModelCheckpoint):
    """`last.pt`, after every epoch: what `--ckpt_path` resumes. (ModelCheckpoint's own `save_last` waits for a better
    one.)
    """

    FILE_EXTENSION = ".pt"

    def __init__(self) -> None:
        super().__init__(filename="last", enable_version_counter=False, save_on_train_epoch_end=True)


def one_sentence(message: str, ex: Exception | None = None) -> NoReturn:
    """In place of the usage of a hundred options."""
    print(
        f"training.train: {' '.join(str(message).split())}; the options are listed by: python -m training.train fit "
        "--help",
        file=sys.stderr,
    )
    sys.exit(2)


class NeiroCLI(LightningCLI):
    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser = super().init_parser(**kwargs)
        parser.error = one_sentence  # type: ignore[method-assign]
        return parser

    def before_fit(self) -> None:
        """Refuse a checkpoint that a recipe names before Lightning reads its weights, and data that cannot be used
        before anything is written.
        """
        path = self.config.fit.ckpt_path
        if path and path not in ("last", "best"):
            check_resumable(path)
        assert isinstance(self.model, VAETask)
        assert isinstance(self.datamodule, SoundData)
        self.model.check_data(self.datamodule.training_set())
        self.datamodule.train_dataloader()
        if self.trainer.limit_val_batches:
            self.datamodule.val_dataloader()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors a user can cause end in one sentence."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # advertisements
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    keep_freed_memory()
    try:
        for path in _resumed(sys.argv[1:] if arguments is None else arguments):
            check_resumable(path)
        NeiroCLI(
            VAETask,
            sound_data,
            subclass_mode_model=True,
            trainer_class=lightning.Trainer,
            trainer_defaults={"callbacks": [Best(), Last()], "use_distributed_sampler": False, "max_epochs": 200},
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            args=arguments,
        )
    except (DataError, CheckpointError, RecipeError, FileNotFoundError, MisconfigurationException) as error:
        return _complain(error)
    except UnicodeDecodeError as error:
        return _complain(DataError(f"a recipe is no text in UTF-8 ({error}); give --config a YAML file"))
    except ValueError as error:
        if not isinstance(error.__cause__, RecipeError):  # jsonargparse wraps what a model refuses
            raise
        return _complain(error.__cause__)
    return 0


def _resumed(arguments: list[str]) -> list[str]:
    """The checkpoints that the command line names: Lightning reads them as soon as it is made."""
    joined = [word.partition("=")[2] for word in arguments if word.startswith("--ckpt_path=")]
    apart = [after for word, after in itertools.pairwise(arguments) if word == "--ckpt_path"]
    return [path for path in (*joined, *apart) if path not in ("last", "best", "null")]


def _complain(error: Exception) -> int:
    print(f"training.train: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def recipe(name: str) -> Path:
    """The path of a shipped recipe."""
    return Path(__file__).with_name("recipes") / f"{name}.yaml"


if __name__ == "__main__":
    run_command(main)
