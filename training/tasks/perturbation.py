"""Training of S1: the evidence lower bound under random perturbation (Tanaka 2022)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.features import FeatureConfig, Spectra, shift_pitch
from training.losses import cyclical_weight, gaussian_nll, kl_to_standard_normal, masked_mean
from training.models.latents import Encoding
from training.models.perturbation import PerturbationConfig, PerturbationVAE
from training.plots import preview
from training.tasks.base import Batch, MatmulPrecision, VAETask


@dataclass(frozen=True)
class KLWeights:
    """Weight of each latent's KL divergence. The paper has 1 everywhere; larger means less information."""

    timbre: float = 1.0
    variation: float = 1.0
    pitch: float = 1.0


class PerturbationTask(VAETask):
    """Train the random-perturbation VAE (Tanaka 2022).

    Parameters
    ----------
    model, features : sizes and frames; `model.bins` follows from the window
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    noise_variance : σ² of the likelihood (eq. 1)
    kl : weights of the three KL terms
    kl_cycle_epochs, kl_rest, kl_ramp : cyclical annealing: every cycle the KL weight is 0 for the first `kl_rest`, then
        rises to 1 over `kl_ramp`
    random_pooling : average z^t over a random stretch of the sound, so that any stretch of it tells the timbre (for
        live use)
    preview_epochs, float32_matmul : see `VAETask`
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
        float32_matmul: MatmulPrecision = "highest",
    ) -> None:
        super().__init__(
            features,
            learning_rate=learning_rate,
            decay_per_epoch=decay_per_epoch,
            preview_epochs=preview_epochs,
            float32_matmul=float32_matmul,
        )
        self.model: PerturbationVAE = PerturbationVAE(dataclasses.replace(model, bins=features.bins))
        self.noise_variance, self.random_pooling = noise_variance, random_pooling
        self.kl, self.kl_cycle_epochs, self.kl_rest, self.kl_ramp = kl or KLWeights(), kl_cycle_epochs, kl_rest, kl_ramp

    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        return preview(self.model, self.features, batch["audio"])

    def about(self) -> dict[str, Any]:
        return {"kl": dataclasses.asdict(self.kl)}

    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        if not training:
            spectra = self.features(batch["audio"])
            encoding = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding)
            return self._bound(spectra.log_amplitude, encoding, spectra.sounding, 1.0)
        spectra = self.perturbed(batch)
        noise = self.noise(batch, spectra.sounding.shape[1])
        pooled = random_stretch(spectra.sounding, noise.timbre) if self.random_pooling else None
        encoding = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding, noise, pooled)
        weight = cyclical_weight(
            self.current_epoch, cycle_epochs=self.kl_cycle_epochs, rest=self.kl_rest, ramp=self.kl_ramp
        )
        return self._bound(spectra.log_amplitude, encoding, spectra.sounding, weight)

    def perturbed(self, batch: Batch) -> Spectra:
        """X with f(X) for its envelope and g(X) for its fine structure (section III-C)."""
        clean = self.features.amplitudes(batch["audio"])
        shifted = dataclasses.replace(clean, amplitude=shift_pitch(clean.amplitude, batch["semitones"]))
        envelope, _ = self.features.split(self.features.log_amplitude(shifted))
        distorted = self.features.amplitudes(batch["distorted"])
        _, fine = self.features.split(self.features.log_amplitude(distorted))
        return Spectra(self.features.log_amplitude(clean), envelope, fine, clean.sounding)

    def _bound(self, target: Tensor, encoding: Encoding, counts: Tensor, kl_weight: float) -> dict[str, Tensor]:
        """Per frame and bin, averaged over the frames that count: likelihood, squared error, the divergences, and their
        sum.
        """
        reconstruction = self.model.decode(encoding.latents)
        frames, bins = counts.sum(1).clamp_min(1), target.shape[-1]
        terms = {
            "nll": masked_mean(gaussian_nll(target, reconstruction, self.noise_variance).mean(-1), counts),
            "mse": masked_mean((target - reconstruction).square().mean(-1), counts),
        }
        loss = terms["nll"]
        for name, posterior in encoding.posteriors.items():
            divergence = kl_to_standard_normal(posterior.mean, posterior.variance)
            if divergence.dim() == 1:  # one latent per sound
                divergence = (divergence / frames)[:, None].expand_as(counts)
            terms[f"kl_{name}"] = masked_mean(divergence, counts) / bins
            loss = loss + kl_weight * getattr(self.kl, name) * terms[f"kl_{name}"]
        return terms | {"loss": loss}


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
