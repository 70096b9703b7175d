"""Training of the harmonic VAE: the evidence lower bound of S1, its decoder told the pitch."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.manifest import DataError
from training.features import FeatureConfig, Spectra
from training.losses import cyclical_weight, gaussian_nll, kl_to_standard_normal, masked_mean
from training.models.harmonic import Control, HarmonicConfig, HarmonicVAE, Voice, fitted
from training.models.latents import Encoding, Latents
from training.plots import preview_rows
from training.tasks.base import Batch, MatmulPrecision, VAETask
from training.tasks.perturbation import KLWeights, random_stretch

LOUD_LOG, FLOOR_LOG = math.log(10), math.log(1000)  # 20 and 60 dB
CONTRAST_SHARPNESS = 8.0  # of squared distances, which are about 2 D between draws of the prior


class HarmonicTask(VAETask):
    """Train the harmonic VAE.

    Parameters
    ----------
    model, features : sizes and frames; `model.sample_rate`, `window_samples` and `log_floor` follow from the frames
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    noise_variance : σ² of the likelihood
    kl : weights of the three KL terms
    kl_rise_epochs : the KL weights rise from 0 to 1 over so many epochs
    exchange : share of the examples that are decoded with z^t of their neighbour in the batch, another sound of the
        same instrument (the data's `group` 2 or 4); half of these also with its mean z^p. So z^t tells the instrument,
        not the note, and a preset made of other notes fits.
    contrast : weight of a term that draws z^t of one instrument together and of different ones apart, within a batch of
        pairs (InfoNCE, van den Oord 2018, on squared distances)
    transfer : weight of a term that plays each group's pairs on one another (the data's `group` 4): z^t and mean z^p of
        a pair's second sound, z^v, pitch, voicing and loudness of the other pair's first one, beside the first sound
        itself, which is at the same pitch: squared difference of their mean envelopes
    compiled : compile the spectrum (needs a C++ compiler), which is several times as fast
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
        exchange: float = 0.0,
        contrast: float = 0.0,
        transfer: float = 0.0,
        compiled: bool = False,
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
        self.exchange, self.contrast, self.transfer = exchange, contrast, transfer
        self._spectrum = fast_spectrum(self.model) if compiled else self.model.spectrum

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
        return {
            "kl": dataclasses.asdict(self.kl),
            "exchange": self.exchange,
            "contrast": self.contrast,
            "transfer": self.transfer,
        }

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
        if not (self.exchange or self.contrast or self.transfer):
            return self._bound(spectra, batch, encoding, weight)
        group = 4 if self.transfer else 2
        if len(counts) % group:
            raise DataError(
                f"a batch of {len(counts)} sounds is not of groups of {group}; set data.group={group} and a batch_size "
                "that it divides"
            )
        chance = torch.special.ndtr(noise.variation[:, 0, 0])  # uniform, from the example's own seed
        exchanged = dataclasses.replace(encoding, latents=self._exchange(encoding.latents, counts, chance))
        terms = self._bound(spectra, batch, exchanged, weight)
        terms["contrast"] = contrast(encoding.posteriors["timbre"].mean, batch["instrument"])
        loss = terms["loss"] + self.contrast * terms["contrast"]
        if self.transfer:
            terms["transfer"] = self._transfer(spectra, batch, encoding.latents)
            loss = loss + self.transfer * terms["transfer"]
        return terms | {"loss": loss}

    def _transfer(self, spectra: Spectra, batch: Batch, z: Latents) -> Tensor:
        """Of the pairs whose first sounds share a pitch; 0 if there are none."""
        first = torch.arange(0, len(z.timbre), 2, device=z.timbre.device)
        other = first ^ 2  # the first sound of the other pair, whose performance is played
        pitch = batch["pitch"]
        alike = ((pitch[first] == pitch[other]) & (pitch[first] >= 0)).to(z.timbre.dtype)
        control = Control(*(part[other] for part in self._control(spectra, batch)))
        frames = control.f0.shape[1]
        told = z.averaged(spectra.sounding).pitch[first + 1, None].expand(-1, frames, -1)
        played = Latents(timbre=z.timbre[first + 1], variation=z.variation[other], pitch=told)
        drawn = self._spectrum(self.model.voice(played, control), control)
        found = self._mean_envelope(drawn, spectra.sounding[other])
        wanted = self._mean_envelope(spectra.log_amplitude[first], spectra.sounding[first])
        return masked_mean((found - wanted).square().mean(-1), alike)

    def _mean_envelope(self, log_amplitude: Tensor, counts: Tensor) -> Tensor:
        """Over the loud frames, floored, level removed, (batch, bins): what `benchmarks.envelope` compares."""
        level = log_amplitude.amax(-1)
        loud = counts & (level >= torch.where(counts, level, -torch.inf).amax(1, keepdim=True) - LOUD_LOG)
        floored = torch.maximum(log_amplitude, level[..., None] - FLOOR_LOG)
        weight = loud[..., None].to(floored.dtype)
        mean = (floored * weight).sum(1) / weight.sum(1).clamp_min(1)
        envelope, _ = self.features.split(mean)
        return envelope - envelope.mean(-1, keepdim=True)

    def _exchange(self, z: Latents, counts: Tensor, chance: Tensor) -> Latents:
        """chance : (batch,), 0 … 1"""
        other = torch.arange(len(chance), device=chance.device) ^ 1
        pitch = z.averaged(counts).pitch[other]
        timbre = torch.where((chance < self.exchange)[:, None], z.timbre[other], z.timbre)
        told = (chance < self.exchange / 2)[:, None, None]
        return z.with_(timbre=timbre, pitch=torch.where(told, pitch[:, None], z.pitch))

    def _bound(self, spectra: Spectra, batch: Batch, encoding: Encoding, kl_weight: float) -> dict[str, Tensor]:
        """Per frame and bin, averaged over the frames that count: likelihood, squared error, the divergences, and their
        sum.
        """
        target, counts = spectra.log_amplitude, spectra.sounding
        control = self._control(spectra, batch)
        drawn = self._spectrum(self.model.voice(encoding.latents, control), control)
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
        hop, sounding = self.features.config.hop_samples, spectra.sounding
        return self.model.control(spectra.log_amplitude, batch["f0_hz"], batch["confidence"], sounding, hop)


def contrast(timbre: Tensor, instrument: Tensor) -> Tensor:
    """How surely a sound's neighbour in its pair is told from the batch's other sounds, by the distances of their z^t.

    timbre : (batch, D), pairs side by side;  instrument : (batch,); other sounds of the same one do not count
    """
    count, size = timbre.shape
    distance = (timbre[:, None] - timbre[None]).square().sum(-1)
    place = torch.arange(count, device=timbre.device)
    same = (instrument[:, None] == instrument[None]) & (place[:, None] ^ 1 != place[None])
    logits = (-distance * (CONTRAST_SHARPNESS / size)).masked_fill(same, -torch.inf)
    return nn.functional.cross_entropy(logits, place ^ 1)


def fast_spectrum(model: HarmonicVAE) -> Callable[[Voice, Control], Tensor]:
    """The model's `spectrum` compiled; the plain one, with one sentence, where nothing can be compiled."""
    compiled = torch.compile(model.spectrum)
    try:
        c, control = model.config, Control(*(torch.full((2, 3), value) for value in (440.0, 440.0, 1.0, 0.0)))
        sizes = (c.envelope_cosines, c.offsets, c.noise_cosines)
        envelope, offsets, noise = (torch.zeros(2, 3, size, requires_grad=True) for size in sizes)
        with torch.enable_grad():
            compiled(Voice(envelope, offsets, noise, torch.zeros(2, 3)), control).sum().backward()
    except Exception as error:  # whatever a missing compiler raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"training without compiled parts, several times slower ({reason})", file=sys.stderr)
        return model.spectrum
    return compiled
