"""S1, the random-perturbation VAE (Tanaka 2022, section III and IV-B): timbre, variation and pitch of a sound.

Timbre z^t is one vector per sound, variation z^v and pitch z^p one per frame. Timbre and variation read the spectral
envelope f(X), pitch reads the fine structure g(X); the perturbations are made by `training.perturb`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from training.features import RecipeError
from training.models.encoders import FactorEncoders, check_lookahead
from training.models.latents import LATENTS, Latents, tiled
from training.recurrent import RecurrentStack, State


@dataclass(frozen=True)
class PerturbationConfig:
    """Sizes and options. The defaults are the paper's; options marked * are ours (docs/architecture.md)."""

    bins: int = 2049
    timbre_dim: int = 64
    variation_dim: int = 64
    pitch_dim: int = 32
    hidden: int = 800
    decoder_hidden: int | None = None  # None: as `hidden`
    layers: int = 3
    bidirectional: bool = True
    pitch_encoder: Literal["independent", "conditional"] = "independent"
    centred_variation: bool = False  # * subtract z^v's running mean: what is constant must live in z^t
    envelope_coefficients: int = 0  # * read the envelope as that many cepstral coefficients; 0: bin by bin
    factors: tuple[str, ...] = LATENTS  # two of the three make the paper's ablations (table II)
    lookahead: int = 0  # * causal: how many frames later the encoders answer, having heard so many more

    def __post_init__(self) -> None:
        sizes = {
            "timbre_dim": self.timbre_dim,
            "variation_dim": self.variation_dim,
            "pitch_dim": self.pitch_dim,
            "hidden": self.hidden,
        }
        for name, size in (sizes | {"decoder_hidden": self.decoder_hidden or 1}).items():
            if size < 1:
                raise RecipeError(f"{name}={size} must be at least 1")
        if self.layers < 2:
            raise RecipeError(f"layers={self.layers} must be at least 2: the last layer reads the condition")
        check_lookahead(self.lookahead, self.bidirectional)
        if not 0 <= self.envelope_coefficients < self.bins:
            raise RecipeError(f"envelope_coefficients={self.envelope_coefficients} must lie in 0 … {self.bins - 1}")
        object.__setattr__(self, "factors", tuple(name for name in LATENTS if name in self.factors))
        if "pitch" not in self.factors or len(self.factors) < 2:
            raise RecipeError(f"factors={list(self.factors)} must be pitch and at least one of timbre and variation")


class PerturbationVAE(FactorEncoders):
    KIND: ClassVar[str] = "perturbation_vae"

    def __init__(self, config: PerturbationConfig) -> None:
        sizes = {"timbre": config.timbre_dim, "variation": config.variation_dim, "pitch": config.pitch_dim}
        super().__init__(config, {name: sizes[name] for name in config.factors})
        self.config = c = config
        self.decoder_stack = RecurrentStack(
            sum(self.latent_sizes.values()), c.decoder_hidden or c.hidden, c.layers, bidirectional=c.bidirectional
        )
        self.output = nn.Linear(self.decoder_stack.width, c.bins)

    def decode(self, latents: Latents) -> Tensor:
        """Mean log-amplitude μ_θ(Z) of whole sounds (eq. 1), (batch, frames, bins)."""
        batch, frames = latents.pitch.shape[:2]
        each = Latents(**{name: tiled(value, frames) for name, value in latents.items()})
        return self.stream_decode(each, self.decoder_state(batch))[0]

    def decoder_state(self, batch: int) -> State:
        return self.decoder_stack.initial_state(batch)

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        """Mean log-amplitude of the next frames; here z^t has a value per frame."""
        h, state = self.decoder_stack(torch.cat([latents[name] for name in self.latent_sizes], -1), state)
        return self.output(h), state
