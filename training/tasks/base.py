"""What the tasks of all systems share: optimiser, logs, previews, and what every checkpoint says of itself."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from training import plots
from training.checkpoint import describe
from training.data.contract import TrainingData, TrainingSet
from training.data.manifest import DataError
from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import EncodingModel, Latents, noise_values, seeded_noise, shaped_noise

Batch = dict[str, Tensor]
MatmulPrecision = Literal["highest", "high", "medium"]


class VAETask(lightning.LightningModule, ABC):
    """Trains one system. A subclass makes `self.model` and says in `terms` what is minimised.

    Parameters
    ----------
    features : how frames are made
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    preview_epochs : spectrogram pictures and sounds go to the log every so many epochs; 0 never
    float32_matmul : of matrix products and recurrent layers on NVIDIA GPUs: "highest" is float32, "high" TF32, "medium"
        bfloat16 where it can
    """

    model: EncodingModel

    def __init__(
        self,
        features: FeatureConfig,
        *,
        learning_rate: float,
        decay_per_epoch: float = 1.0,
        preview_epochs: int = 10,
        float32_matmul: MatmulPrecision = "highest",
    ) -> None:
        super().__init__()
        self.float32_matmul = float32_matmul
        self.features = FeatureExtractor(features)
        self.learning_rate, self.decay_per_epoch, self.preview_epochs = learning_rate, decay_per_epoch, preview_epochs
        self.preview: Batch | None = None
        self.checked: TrainingSet | None = None  # what `check_data` found suitable
        self.earlier_seconds, self.started = 0.0, time.monotonic()

    @abstractmethod
    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        """Named scalars of a batch; "loss" is what is minimised. In validation nothing is perturbed and nothing drawn
        at random.
        """

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def about(self) -> dict[str, Any]:
        """What a checkpoint of this system says beside sizes and features; plain values."""
        return {}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.optimizer()
        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay_per_epoch),
        }

    def training_step(self, batch: Batch, _: int) -> Tensor:
        terms = self.terms(batch, training=True)
        self.log_dict({f"train/{name}": value for name, value in terms.items() if name != "loss"}, sync_dist=True)
        self.log("train/loss", terms["loss"], prog_bar=True, sync_dist=True)
        return terms["loss"]

    def validation_step(self, batch: Batch, index: int) -> None:
        terms = self.terms(batch, training=False)
        size = len(batch["audio"])
        self.log("val/loss", terms.pop("loss"), prog_bar=True, batch_size=size, sync_dist=True)
        self.log_dict({f"val/{name}": value for name, value in terms.items()}, batch_size=size, sync_dist=True)
        if index == 0:
            self.preview = {name: value[:4] for name, value in batch.items()}

    def on_validation_epoch_end(self) -> None:
        if (
            self.preview is not None
            and self.preview_epochs
            and self.current_epoch % self.preview_epochs == 0
            and self.trainer.is_global_zero
        ):
            rows = self.spectrograms({name: value[:2] for name, value in self.preview.items()})
            plots.log_previews(self.logger, rows, self.features.config, self.global_step)

    @abstractmethod
    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        """Named log-amplitude spectrograms of two sounds for the log, (frames, bins)."""

    def noise(self, batch: Batch, frames: int) -> Latents:
        """The reparameterisation's draws for this batch, made by whoever loaded it, or here."""
        if "noise" in batch:
            return shaped_noise(self.model, batch["noise"], frames)
        return seeded_noise(self.model, batch["draw"].tolist(), frames, self.device)

    def noise_values(self, samples: int) -> int:
        """How many standard normal numbers an example of so many samples takes."""
        return noise_values(self.model, samples // self.features.config.hop_samples)

    def training_data(self) -> TrainingData | None:
        """The data that the trainer was given; None if it was given plain loaders, which tell nothing of themselves.

        Raises
        ------
        DataError
            If the data cannot say what it is.
        """
        data: object = self.trainer.datamodule  # type: ignore[attr-defined]  # None, or what `fit` was given
        if data is None or isinstance(data, TrainingData):
            return data
        raise DataError(
            f"{type(self).__name__} cannot check {type(data).__name__}, which has no `training_set` or no `about` "
            "(training.data.contract.TrainingData); train on a SoundData, or give it these methods"
        )

    def check_data(self, found: TrainingSet) -> None:
        """Refuse data that this system cannot be trained on. The command line asks before anything is written.

        Raises
        ------
        DataError
            With one sentence.
        """
        self._refuse_unsuitable(found)
        self.checked = found

    def _refuse_unsuitable(self, found: TrainingSet) -> None:
        """What `check_data` does; a system adds what it needs."""
        rate = self.features.config.sample_rate
        if found.sounds.sample_rate != rate:
            raise DataError(
                f"{found.directory} is at {found.sounds.sample_rate} Hz, the recipe at {rate} Hz; "
                f"make the data set at that rate, or set model.features.sample_rate"
            )

    def on_fit_start(self) -> None:
        """Refuse data that does not suit, if nobody asked before; set what the GPU may round."""
        self.started = time.monotonic()
        data = self.training_data()
        if data is not None and (found := data.training_set()) is not self.checked:
            self.check_data(found)
        torch.set_float32_matmul_precision(self.float32_matmul)
        torch.backends.cudnn.allow_tf32 = self.float32_matmul != "highest"  # cuDNN's recurrent layers round by default

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.earlier_seconds = float(checkpoint.get("neiro", {}).get("info", {}).get("training_seconds", 0.0))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        info: dict[str, Any] = {
            "command": " ".join(["python -m training.train", *sys.argv[1:]]),
            "torch": str(torch.__version__),
        }
        info |= {"epoch": int(self.current_epoch), "step": int(self.global_step), **self.about()}
        info["training_seconds"] = round(self.earlier_seconds + time.monotonic() - self.started, 1)
        data = self.training_data()
        if data is not None:
            info |= data.about()
        checkpoint["neiro"] = describe(self.features.config, self.model, info)
