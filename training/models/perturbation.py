"""S1, the random-perturbation VAE (Tanaka 2022, section III and IV-B): timbre, variation and pitch of a sound.

Timbre z^t is one vector per sound, variation z^v and pitch z^p one per frame. Timbre and variation read the spectral
envelope f(X), pitch reads the fine structure g(X); the perturbations are made by `training.perturb`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from training.features import RecipeError, cepstral_matrices
from training.recurrent import RecurrentStack, State, cumulative_mean, running_mean

LATENTS = ("timbre", "variation", "pitch")


@dataclass(frozen=True)
class PerturbationConfig:
    """Sizes and options. The defaults are the paper's; options marked * are ours (DESIGN §6)."""

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

    def __post_init__(self) -> None:
        sizes = {"timbre_dim": self.timbre_dim, "variation_dim": self.variation_dim, "pitch_dim": self.pitch_dim, "hidden": self.hidden}
        for name, size in (sizes | {"decoder_hidden": self.decoder_hidden or 1}).items():
            if size < 1:
                raise RecipeError(f"{name}={size} must be at least 1")
        if self.layers < 2:
            raise RecipeError(f"layers={self.layers} must be at least 2: the last layer reads the condition")
        if not 0 <= self.envelope_coefficients < self.bins:
            raise RecipeError(f"envelope_coefficients={self.envelope_coefficients} must lie in 0 … {self.bins - 1}")


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian; timbre (batch, D), variation and pitch (batch, frames, D)."""

    mean: Tensor
    variance: Tensor

    def sample(self, noise: Tensor | None) -> Tensor:
        """Reparameterised with standard normal `noise`; the mean if there is none."""
        return self.mean if noise is None else self.mean + self.variance.sqrt() * noise


@dataclass(frozen=True)
class Latents:
    """z^t (batch, D) or, streaming, (batch, frames, D); z^v and z^p (batch, frames, D)."""

    timbre: Tensor
    variation: Tensor
    pitch: Tensor


@dataclass(frozen=True)
class Encoding:
    """Posteriors of one sound, and the values drawn from them."""

    timbre: Posterior
    variation: Posterior
    pitch: Posterior
    latents: Latents


class GaussianHead(nn.Module):
    """Two linear maps to mean and variance, the latter through softplus (section IV-B).

    Means start spread out and variances small, so that the decoder hears the latents through the noise from the first step.
    """

    def __init__(self, width: int, dimensions: int) -> None:
        super().__init__()
        self.mean = nn.Linear(width, dimensions)
        self.variance = nn.Linear(width, dimensions)
        with torch.no_grad():
            self.mean.weight.mul_(4)
        nn.init.constant_(self.variance.bias, -4.0)

    def forward(self, h: Tensor) -> Posterior:
        return Posterior(self.mean(h), nn.functional.softplus(self.variance(h)) + 1e-6)


class CepstralInput(nn.Module):
    """The first coefficients of the envelope's real cepstrum, as one fixed matrix.

    An envelope made by a cepstral cut at K has no more than K degrees of freedom, so nothing is lost.
    """

    matrix: Tensor

    def __init__(self, bins: int, coefficients: int) -> None:
        super().__init__()
        gain = torch.full((coefficients,), 4.0, dtype=torch.float64)  # brings the coefficients near unit variance
        gain[0] = 1.0
        self.register_buffer("matrix", (cepstral_matrices(bins, coefficients)[0] * gain).float(), persistent=False)

    def forward(self, envelope: Tensor) -> Tensor:
        return envelope @ self.matrix


class PerturbationVAE(nn.Module):
    def __init__(self, config: PerturbationConfig) -> None:
        super().__init__()
        self.config = c = config
        self.envelope_input = CepstralInput(c.bins, c.envelope_coefficients) if c.envelope_coefficients else nn.Identity()
        envelope_width = c.envelope_coefficients or c.bins
        pitch_condition = c.timbre_dim + c.variation_dim if c.pitch_encoder == "conditional" else 0
        self.timbre_stack = RecurrentStack(envelope_width, c.hidden, c.layers, bidirectional=c.bidirectional)
        self.variation_stack = RecurrentStack(envelope_width, c.hidden, c.layers, condition_size=c.timbre_dim, bidirectional=c.bidirectional)
        self.pitch_stack = RecurrentStack(c.bins, c.hidden, c.layers, condition_size=pitch_condition, bidirectional=c.bidirectional)
        self.timbre_head = GaussianHead(self.timbre_stack.width, c.timbre_dim)
        self.variation_head = GaussianHead(self.variation_stack.width, c.variation_dim)
        self.pitch_head = GaussianHead(self.pitch_stack.width, c.pitch_dim)
        latent_width = c.timbre_dim + c.variation_dim + c.pitch_dim
        self.decoder_stack = RecurrentStack(latent_width, c.decoder_hidden or c.hidden, c.layers, bidirectional=c.bidirectional)
        self.output = nn.Linear(self.decoder_stack.width, c.bins)

    # Whole sounds ---------------------------------------------------------------------------------------------------

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None, pooled: Tensor | None = None) -> Encoding:
        """Posteriors of whole sounds (equations 7 to 9 and 15).

        envelope, fine : (batch, frames, bins);  counts : (batch, frames), 1 on frames that belong to the sound
        noise : standard normal draws; None takes the means
        pooled : (batch, frames), the frames z^t is averaged over; None means `counts`
        """
        batch, frames = counts.shape
        compact = self.envelope_input(envelope)
        weight = (counts if pooled is None else pooled)[..., None].to(envelope.dtype)
        h, _ = self.timbre_stack(compact, self.timbre_stack.initial_state(batch))
        timbre = self.timbre_head((h * weight).sum(1) / weight.sum(1).clamp_min(1))
        z_t = timbre.sample(noise.timbre if noise else None)
        tiled = z_t[:, None].expand(-1, frames, -1)

        h, _ = self.variation_stack(compact, self.variation_stack.initial_state(batch), tiled)
        variation = self.variation_head(h)
        variation = Posterior(self.centre(variation.mean, counts), variation.variance)
        z_v = variation.sample(noise.variation if noise else None)

        condition = torch.cat([tiled, z_v], -1) if self.config.pitch_encoder == "conditional" else None
        h, _ = self.pitch_stack(fine, self.pitch_stack.initial_state(batch), condition)
        pitch = self.pitch_head(h)
        return Encoding(timbre, variation, pitch, Latents(z_t, z_v, pitch.sample(noise.pitch if noise else None)))

    def centre(self, variation: Tensor, counts: Tensor) -> Tensor:
        """z^v minus its running mean, where the model is so configured; whole sounds."""
        return variation - cumulative_mean(variation, counts) if self.config.centred_variation else variation

    def decode(self, latents: Latents) -> Tensor:
        """Mean log-amplitude μ_θ(Z) of whole sounds (eq. 1), (batch, frames, bins)."""
        frames = latents.variation.shape[1]
        tiled = latents.timbre[:, None].expand(-1, frames, -1)
        return self.stream_decode(Latents(tiled, latents.variation, latents.pitch), self.decoder_state(tiled.shape[0]))[0]

    # Streaming: any number of frames a call, state in and out ---------------------------------------------------------

    def encoder_state(self, batch: int) -> State:
        state: State = {}
        for name in LATENTS:
            stack: RecurrentStack = getattr(self, f"{name}_stack")
            state |= {f"{name}.{key}": value for key, value in stack.initial_state(batch).items()}
        return state | {
            "timbre.mean": self.output.weight.new_zeros(batch, self.timbre_stack.width),
            "timbre.count": self.output.weight.new_zeros(batch, 1),
            "variation.mean": self.output.weight.new_zeros(batch, self.config.variation_dim),
            "variation.count": self.output.weight.new_zeros(batch, 1),
        }

    def decoder_state(self, batch: int) -> State:
        return self.decoder_stack.initial_state(batch)

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents of the next frames; z^t is the running mean, so it has a value per frame.

        rate : scalar, the smallest update weight of the running means (1/frames)
        """
        part = {name: {key.split(".")[1]: value for key, value in state.items() if key.startswith(name)} for name in LATENTS}
        compact = self.envelope_input(envelope)
        h, timbre_state = self.timbre_stack(compact, part["timbre"])
        pooled, timbre_mean = running_mean(h, part["timbre"], rate)
        z_t = self.timbre_head.mean(pooled)

        h, variation_state = self.variation_stack(compact, part["variation"], z_t)
        z_v = self.variation_head.mean(h)
        centre, variation_mean = running_mean(z_v, part["variation"], rate)
        if self.config.centred_variation:
            z_v = z_v - centre

        condition = torch.cat([z_t, z_v], -1) if self.config.pitch_encoder == "conditional" else None
        h, pitch_state = self.pitch_stack(fine, part["pitch"], condition)
        following = {"timbre": timbre_state | timbre_mean, "variation": variation_state | variation_mean, "pitch": pitch_state}
        flat = {f"{name}.{key}": value for name, states in following.items() for key, value in states.items()}
        return Latents(z_t, z_v, self.pitch_head.mean(h)), flat

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        """Mean log-amplitude of the next frames; here z^t has a value per frame."""
        h, state = self.decoder_stack(torch.cat([latents.timbre, latents.variation, latents.pitch], -1), state)
        return self.output(h), state
