"""What Lightning trains: the loss of S1 with its perturbations, its optimiser, its logs."""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from training import plots
from training.checkpoint import describe
from training.features import FeatureConfig, FeatureExtractor, shift_pitch
from training.losses import cyclical_weight, gaussian_nll, kl_to_standard_normal, masked_mean
from training.models.perturbation import Encoding, Latents, PerturbationConfig, PerturbationVAE


@dataclass(frozen=True)
class KLWeights:
    """Weight of each latent's KL divergence. The paper has 1 everywhere; larger means less information."""

    timbre: float = 1.0
    variation: float = 1.0
    pitch: float = 1.0


class PerturbationTask(lightning.LightningModule):
    """Train the random-perturbation VAE (Tanaka 2022).

    Parameters
    ----------
    model, features : sizes and frames; `model.bins` follows from the window
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    noise_variance : σ² of the likelihood (eq. 1)
    kl : weights of the three KL terms
    kl_cycle_epochs, kl_rest, kl_ramp : cyclical annealing: every cycle the KL weight is 0 for the first `kl_rest`, then rises to 1 over `kl_ramp`
    random_pooling : average z^t over a random stretch of the sound, so that any stretch of it tells the timbre (for live use)
    preview_epochs : spectrogram pictures and sounds go to the log every so many epochs; 0 never
    """

    def __init__(
        self,
        model: PerturbationConfig,
        features: FeatureConfig,
        learning_rate: float = 1e-4,
        decay_per_epoch: float = 0.9999,
        noise_variance: float = 0.5,
        kl: KLWeights | None = None,
        kl_cycle_epochs: int = 10,
        kl_rest: float = 0.0,
        kl_ramp: float = 0.5,
        random_pooling: bool = False,
        preview_epochs: int = 10,
    ) -> None:
        super().__init__()
        self.features = FeatureExtractor(features)
        self.model = PerturbationVAE(dataclasses.replace(model, bins=features.bins))
        self.learning_rate, self.decay_per_epoch, self.noise_variance = learning_rate, decay_per_epoch, noise_variance
        self.kl, self.kl_cycle_epochs, self.kl_rest, self.kl_ramp = kl or KLWeights(), kl_cycle_epochs, kl_rest, kl_ramp
        self.random_pooling, self.preview_epochs = random_pooling, preview_epochs
        self.preview: dict[str, Tensor] | None = None
        self.earlier_seconds, self.started = 0.0, time.monotonic()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay_per_epoch)}

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        target, envelope, fine, counts = self.perturbed(batch)
        noise = self._noise(batch["draw"], counts.shape[1])
        pooled = random_stretch(counts, noise.timbre) if self.random_pooling else None
        encoding = self.model.encode(envelope, fine, counts, noise, pooled)
        weight = cyclical_weight(self.current_epoch, cycle_epochs=self.kl_cycle_epochs, rest=self.kl_rest, ramp=self.kl_ramp)
        terms = self.terms(target, encoding, counts)
        loss = self._total(terms, weight)
        self.log("train/loss", loss, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in terms.items()} | {"train/kl_weight": weight})
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        spectra = self.features(batch["audio"])
        encoding = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding)
        terms = self.terms(spectra.log_amplitude, encoding, spectra.sounding)
        size = len(batch["audio"])
        self.log("val/loss", self._total(terms, 1.0), prog_bar=True, batch_size=size, sync_dist=True)
        self.log_dict({f"val/{name}": value for name, value in terms.items()}, batch_size=size, sync_dist=True)
        if index == 0:
            self.preview = {name: value[:4] for name, value in batch.items()}

    def on_validation_epoch_end(self) -> None:
        if self.preview is not None and self.preview_epochs and self.current_epoch % self.preview_epochs == 0 and self.trainer.is_global_zero:
            plots.log_previews(self.logger, self.model, self.features, self.preview["audio"], self.global_step)

    def perturbed(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """X, f(X), g(X) and the frames that count (section III-C)."""
        clean = self.features.amplitudes(batch["audio"])
        shifted = dataclasses.replace(clean, amplitude=shift_pitch(clean.amplitude, batch["semitones"]))
        envelope, _ = self.features.split(self.features.log_amplitude(shifted))
        distorted = self.features.amplitudes(batch["distorted"])
        _, fine = self.features.split(self.features.log_amplitude(distorted))
        return self.features.log_amplitude(clean), envelope, fine, clean.sounding

    def terms(self, target: Tensor, encoding: Encoding, counts: Tensor) -> dict[str, Tensor]:
        """Per frame and bin, averaged over the frames that count: likelihood, squared error, the three divergences."""
        reconstruction = self.model.decode(encoding.latents)
        frames = counts.sum(1).clamp_min(1)
        bins = target.shape[-1]
        timbre = kl_to_standard_normal(encoding.timbre.mean, encoding.timbre.variance) / frames
        return {
            "nll": masked_mean(gaussian_nll(target, reconstruction, self.noise_variance).mean(-1), counts),
            "mse": masked_mean((target - reconstruction).square().mean(-1), counts),
            "kl_timbre": masked_mean(timbre[:, None].expand_as(counts), counts) / bins,
            "kl_variation": masked_mean(kl_to_standard_normal(encoding.variation.mean, encoding.variation.variance), counts) / bins,
            "kl_pitch": masked_mean(kl_to_standard_normal(encoding.pitch.mean, encoding.pitch.variance), counts) / bins,
        }

    def _total(self, terms: dict[str, Tensor], weight: float) -> Tensor:
        divergence = self.kl.timbre * terms["kl_timbre"] + self.kl.variation * terms["kl_variation"] + self.kl.pitch * terms["kl_pitch"]
        return terms["nll"] + weight * divergence

    def _noise(self, draws: Tensor, frames: int) -> Latents:
        """Each sound's noise follows from its own draw: the same whatever the batch, the process or the resumption."""
        c = self.model.config
        sizes = (c.timbre_dim, frames * c.variation_dim, frames * c.pitch_dim)
        rows = torch.stack([torch.randn(sum(sizes), generator=torch.Generator().manual_seed(int(draw))) for draw in draws.tolist()]).to(self.device)
        timbre, variation, pitch = rows.split(sizes, dim=1)
        return Latents(timbre, variation.reshape(len(draws), frames, -1), pitch.reshape(len(draws), frames, -1))

    def on_fit_start(self) -> None:
        self.started = time.monotonic()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.earlier_seconds = float(checkpoint.get("neiro", {}).get("info", {}).get("training_seconds", 0.0))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        info: dict[str, Any] = {"command": " ".join(["python -m training.train", *sys.argv[1:]]), "torch": str(torch.__version__)}
        info |= {"epoch": int(self.current_epoch), "step": int(self.global_step), "kl": dataclasses.asdict(self.kl)}
        info["training_seconds"] = round(self.earlier_seconds + time.monotonic() - self.started, 1)
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            info |= {"data": str(data.directory), "seed": int(data.seed), "selection": data.selection, "segment_seconds": data.segment_seconds}
        checkpoint["neiro"] = describe(self.features.config, self.model.config, info)


def random_stretch(counts: Tensor, noise: Tensor) -> Tensor:
    """A random stretch of the counted frames, at least a quarter of them.

    counts : (batch, frames);  noise : (batch, ≥ 2), standard normal, the source of chance
    """
    uniform = torch.special.ndtr(noise[:, -2:])
    total = counts.sum(1)
    length = (total * (0.25 + 0.75 * uniform[:, 0])).clamp_min(1)
    start = (total - length) * uniform[:, 1]
    order = counts.cumsum(1) - 1
    inside = (order >= start[:, None].floor()) & (order < (start + length)[:, None].ceil())
    return counts & inside
