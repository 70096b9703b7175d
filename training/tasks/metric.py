"""Training of S2: the evidence lower bound and the contrastive losses on pairs (Tanaka 2021)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.build.cutting import UNLABELLED
from training.data.contract import TrainingSet
from training.data.manifest import DataError
from training.features import FeatureConfig
from training.losses import contrastive_sums, exponential_nll, kl_to_standard_normal, masked_mean
from training.models.metric import MetricConfig, MetricVAE
from training.plots import preview
from training.tasks.base import Batch, MatmulPrecision, VAETask


class MetricTask(VAETask):
    """Train the metric-learning VAE (Tanaka 2021). α = β = 0 is the "vanilla" VAE it is compared with, which needs no
    labels.

    The total (eq. 11) is divided by the number of bins of a minibatch, sounds × frames × bins, which changes no ratio.
    The contrastive sums grow with the square of the frames, the bound with the frames: half as long a segment wants α
    and β twice as large.

    Parameters
    ----------
    model, features : sizes and frames; `model.bins` and `model.log_floor` follow from the features
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    alpha, beta : weights of the contrastive losses of pitch and of timbre
    mask_silence : leave frames that do not sound out of all sums; the paper sums over all frames, zero padding too
    balanced_pairs : pair up sounds of one batch that share pitch or timbre where there are such, up to a third of the
        pairs each; the paper draws pairs at random, of which hardly any share anything
    preview_epochs, float32_matmul : see `VAETask`
    """

    def __init__(
        self,
        model: MetricConfig,
        features: FeatureConfig,
        learning_rate: float = 1e-3,
        decay_per_epoch: float = 1.0,
        alpha: float = 0.2,
        beta: float = 0.2,
        mask_silence: bool = False,
        balanced_pairs: bool = False,
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
        self.model: MetricVAE = MetricVAE(dataclasses.replace(model, bins=features.bins, log_floor=features.log_floor))
        self.alpha, self.beta = alpha, beta
        self.mask_silence, self.balanced_pairs = mask_silence, balanced_pairs

    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        return preview(self.model, self.features, batch["audio"])

    def about(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "mask_silence": self.mask_silence,
            "balanced_pairs": self.balanced_pairs,
        }

    def _refuse_unsuitable(self, found: TrainingSet) -> None:
        """Refuse data that cannot tell same from different, too."""
        super()._refuse_unsuitable(found)
        if not (self.alpha or self.beta):
            return
        sounds = found.of_split("train")
        if self.alpha and found.phrases:
            raise DataError(
                f"the phrases of {found.phrases} change their pitch, alpha={self.alpha:g} needs one of each; leave "
                "data.sequences out"
            )
        if self.alpha and not np.isfinite(sounds.pitch).all():
            count = int((~np.isfinite(sounds.pitch)).sum())
            raise DataError(
                f"{count} of {len(sounds)} training sounds have no pitch, alpha={self.alpha:g} needs it of all; choose "
                "others by data.pitches"
            )
        if self.beta and (sounds.instrument == UNLABELLED).any():
            count = int((sounds.instrument == UNLABELLED).sum())
            raise DataError(
                f"{count} of {len(sounds)} training sounds have no instrument, beta={self.beta:g} needs it of all; "
                "label them, or set beta 0"
            )
        if self.beta and len(np.unique(sounds.instrument)) < 2:
            raise DataError(
                f"all training sounds are of {sounds.instrument[0]}, beta={self.beta:g} needs two instruments or more; "
                "add some, or set beta 0"
            )

    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        spectra = self.features(batch["audio"])
        frames, bins = spectra.log_amplitude.shape[1:]
        counts = spectra.sounding if self.mask_silence else torch.ones_like(spectra.sounding)
        encoding = self.model.encode(
            spectra.envelope, spectra.fine, counts, self.noise(batch, frames) if training else None
        )
        kappa = self.model.power(encoding.latents)
        unit = counts.numel() * bins  # sounds × frames × bins
        terms = {
            "nll": (exponential_nll(self.model.observed(spectra.log_amplitude), kappa) * counts[..., None]).sum() / unit
        }
        for name, posterior in encoding.posteriors.items():
            terms[f"kl_{name}"] = (kl_to_standard_normal(posterior.mean, posterior.variance) * counts).sum() / unit
        loss = sum(terms.values(), start=torch.zeros((), device=kappa.device))
        labels = {"pitch": (self.alpha, batch["pitch"]), "timbre": (self.beta, batch["instrument"])}
        same = {name: label[:, None] == label[None] for name, (_, label) in labels.items()}
        pairs = pair_up(same["pitch"], same["timbre"], batch["draw"], balanced=self.balanced_pairs)
        for name, (weight, _) in labels.items():
            sums = contrastive_sums(encoding.latents[name], counts, pairs, same[name][pairs[:, 0], pairs[:, 1]])
            terms[f"contrast_{name}"] = (sums.sum() / unit).to(kappa.dtype)
            loss = loss + weight * terms[f"contrast_{name}"]
        with torch.no_grad():
            difference = spectra.log_amplitude - self.model.log_amplitude_of(kappa)
            terms["mse"] = masked_mean(difference.square().mean(-1), spectra.sounding)
        return terms | {"loss": loss}


def pair_up(same_pitch: Tensor, same_timbre: Tensor, draws: Tensor, *, balanced: bool) -> Tensor:
    """Disjoint pairs of a minibatch's sounds, at random; of an odd number one stays alone.

    same_pitch, same_timbre : (batch, batch), bool, whether two sounds share pitch or timbre
    draws : (batch,), the sounds' own draws: the only source of chance
    balanced : first up to a third of the pairs from sounds that share the pitch, then as many from those that share the
        timbre

    Returns
    -------
    Tensor, (batch // 2, 2), rows of the batch
    """
    generator = torch.Generator().manual_seed(int(draws.sum()) % 2**62)
    left = torch.randperm(len(draws), generator=generator).tolist()
    pairs: list[tuple[int, int]] = []
    for same in (same_pitch, same_timbre) if balanced else ():
        table = same.tolist()
        for _ in range(-(-len(draws) // 6)):
            found = next(((i, j) for k, i in enumerate(left) for j in left[k + 1 :] if table[i][j]), None)
            if found is None:
                break
            pairs.append(found)
            left = [i for i in left if i not in found]
    pairs += zip(left[0::2], left[1::2], strict=False)
    return torch.tensor(pairs, dtype=torch.long, device=draws.device).reshape(-1, 2)
