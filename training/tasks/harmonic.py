"""Training of the harmonic VAE: the evidence lower bound of S1, its decoder told the pitch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.features import FeatureConfig, Spectra
from training.losses import cyclical_weight, gaussian_nll, kl_to_standard_normal, masked_mean
from training.models.harmonic import Control, HarmonicConfig, HarmonicVAE, fitted
from training.models.latents import Encoding
from training.plots import preview_rows
from training.tasks.base import Batch, MatmulPrecision, VAETask
from training.tasks.perturbation import KLWeights, random_stretch


class HarmonicTask(VAETask):
    """Train the harmonic VAE.

    Parameters
    ----------
    model, features : sizes and frames; `model.sample_rate`, `window_samples` and `log_floor` follow from the frames
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    noise_variance : σ² of the likelihood
    kl : weights of the three KL terms
    kl_rise_epochs : the KL weights rise from 0 to 1 over so many epochs
    preview_epochs, float32_matmul : see `VAETask`
    """

    def __init__(
        self,
        model: HarmonicConfig,
        features: FeatureConfig,
        learning_rate: float = 2e-3,
        decay_per_epoch: float = 0.96,
        noise_variance: float = 0.5,
        kl: KLWeights | None = None,
        kl_rise_epochs: int = 4,
        preview_epochs: int = 0,
        float32_matmul: MatmulPrecision = "highest",
    ) -> None:
        super().__init__(
            features,
            learning_rate=learning_rate,
            decay_per_epoch=decay_per_epoch,
            preview_epochs=preview_epochs,
            float32_matmul=float32_matmul,
        )
        self.model: HarmonicVAE = HarmonicVAE(fitted(model, features))
        self.noise_variance, self.kl, self.kl_rise_epochs = noise_variance, kl or KLWeights(), kl_rise_epochs

    @property
    def pitch_hop_samples(self) -> int:
        return self.features.config.hop_samples

    @torch.no_grad()
    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        spectra = self.features(batch["audio"])
        z = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        control = self._control(spectra, batch)
        swapped = self.model.decode(z.with_(timbre=z.timbre.flip(0)), control)
        return preview_rows(spectra.log_amplitude, self.model.decode(z, control), swapped)

    def about(self) -> dict[str, Any]:
        return {"kl": dataclasses.asdict(self.kl)}

    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        spectra = self.features(batch["audio"])
        counts = spectra.sounding
        if not training:
            encoding = self.model.encode(spectra.envelope, spectra.fine, counts)
            return self._bound(spectra, batch, encoding, 1.0)
        noise = self.noise(batch, counts.shape[1])
        pooled = random_stretch(counts, noise.timbre)
        encoding = self.model.encode(spectra.envelope, spectra.fine, counts, noise, pooled)
        weight = cyclical_weight(self.current_epoch, cycle_epochs=10**9, ramp=self.kl_rise_epochs / 10**9)
        return self._bound(spectra, batch, encoding, weight)

    def _bound(self, spectra: Spectra, batch: Batch, encoding: Encoding, kl_weight: float) -> dict[str, Tensor]:
        """Per frame and bin, averaged over the frames that count: likelihood, squared error, the divergences, and their
        sum.
        """
        target, counts = spectra.log_amplitude, spectra.sounding
        drawn = self.model.decode(encoding.latents, self._control(spectra, batch))
        frames, bins = counts.sum(1).clamp_min(1), target.shape[-1]
        terms = {
            "nll": masked_mean(gaussian_nll(target, drawn, self.noise_variance).mean(-1), counts),
            "mse": masked_mean((target - drawn).square().mean(-1), counts),
        }
        loss = terms["nll"]
        for name, posterior in encoding.posteriors.items():
            divergence = kl_to_standard_normal(posterior.mean, posterior.variance)
            if divergence.dim() == 1:  # one latent per sound
                divergence = (divergence / frames)[:, None].expand_as(counts)
            terms[f"kl_{name}"] = masked_mean(divergence, counts) / bins
            loss = loss + kl_weight * getattr(self.kl, name) * terms[f"kl_{name}"]
        return terms | {"loss": loss}

    def _control(self, spectra: Spectra, batch: Batch) -> Control:
        hop = self.features.config.hop_samples
        return self.model.control(spectra.log_amplitude, batch["f0_hz"], batch["confidence"], hop)
