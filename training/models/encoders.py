"""Encoders of timbre, variation and pitch (Tanaka 2022, sections III and IV-B), shared by the systems that have them.

Timbre z^t is one vector per sound, variation z^v and pitch z^p one per frame. Timbre and variation read the spectral
envelope f(X), pitch reads the fine structure g(X).
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from training.features import RecipeError, cepstral_matrices
from training.models.latents import LATENTS, Encoding, Latents, Posterior, tiled
from training.recurrent import RecurrentStack, State, cumulative_mean, running_mean

MOST_LOOKAHEAD = 64


class EncoderConfig(Protocol):
    """What the encoders ask of a system's configuration; see `training.models.perturbation.PerturbationConfig`."""

    @property
    def bins(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def bidirectional(self) -> bool: ...
    @property
    def pitch_encoder(self) -> Literal["independent", "conditional"]: ...
    @property
    def centred_variation(self) -> bool: ...
    @property
    def envelope_coefficients(self) -> int: ...
    @property
    def lookahead(self) -> int: ...


def check_lookahead(frames: int, bidirectional: bool) -> None:
    """Raises RecipeError where a model cannot look so far ahead."""
    if not 0 <= frames <= MOST_LOOKAHEAD:
        raise RecipeError(f"lookahead={frames} must lie in 0 … {MOST_LOOKAHEAD} frames")
    if frames and bidirectional:
        raise RecipeError(
            f"lookahead={frames} is for causal models; a bidirectional one hears the whole sound: leave it out"
        )


class GaussianHead(nn.Module):
    """Two linear maps to mean and variance, the latter through softplus (section IV-B).

    Means start spread out and variances small, so that the decoder hears the latents through the noise from the first
    step.
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


class FactorEncoders(nn.Module):
    """The encoding half of a system; a subclass adds the decoder.

    Parameters
    ----------
    config : EncoderConfig
    latent_sizes : dimensions by name, in the order of `LATENTS`
    fine_input : what the pitch encoder reads of the fine structure; None: all of it, bin by bin
    fine_width : how many values that are
    """

    def __init__(
        self,
        config: EncoderConfig,
        latent_sizes: dict[str, int],
        fine_input: nn.Module | None = None,
        fine_width: int | None = None,
    ) -> None:
        super().__init__()
        c, self.latent_sizes = config, latent_sizes
        self._encoder = config
        self.envelope_input = (
            CepstralInput(c.bins, c.envelope_coefficients) if c.envelope_coefficients else nn.Identity()
        )
        self.fine_input = fine_input or nn.Identity()
        for name in latent_sizes:
            width = (fine_width or c.bins) if name == "pitch" else c.envelope_coefficients or c.bins
            condition = sum(self.latent_sizes[other] for other in self.conditions(name))
            stack = RecurrentStack(
                width,
                c.hidden,
                c.layers,
                condition_size=condition,
                bidirectional=c.bidirectional,
                lookahead=c.lookahead,
            )
            self.add_module(f"{name}_stack", stack)
        for name in latent_sizes:
            self.add_module(f"{name}_head", GaussianHead(self.stack(name).width, self.latent_sizes[name]))

    @property
    def lookahead(self) -> int:
        return self._encoder.lookahead

    def stack(self, name: str) -> RecurrentStack:
        """The encoder of one latent."""
        stack = self.get_submodule(f"{name}_stack")
        assert isinstance(stack, RecurrentStack)
        return stack

    def head(self, name: str) -> GaussianHead:
        head = self.get_submodule(f"{name}_head")
        assert isinstance(head, GaussianHead)
        return head

    def conditions(self, name: str) -> tuple[str, ...]:
        """The latents whose values the last layer of this one's encoder reads."""
        if name == "pitch" and self._encoder.pitch_encoder == "independent":
            return ()
        return tuple(other for other in self.latent_sizes if LATENTS.index(other) < LATENTS.index(name))

    # Whole sounds ---------------------------------------------------------------------------------------------------

    def encode(
        self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None, pooled: Tensor | None = None
    ) -> Encoding:
        """Posteriors of whole sounds (equations 7 to 9 and 15).

        envelope, fine : (batch, frames, bins);  counts : (batch, frames), 1 on frames that belong to the sound
        noise : standard normal draws; None takes the means
        pooled : (batch, frames), the frames z^t is averaged over; None means `counts`
        """
        frames = counts.shape[1]
        compact, structure = self.envelope_input(envelope), self.fine_input(fine)
        posteriors, values = {}, Latents()
        for name in self.latent_sizes:
            told = [tiled(values[other], frames) for other in self.conditions(name)]
            h = self.stack(name).whole(structure if name == "pitch" else compact, torch.cat(told, -1) if told else None)
            if name == "timbre":
                weight = (counts if pooled is None else pooled)[..., None].to(h.dtype)
                h = (h * weight).sum(1) / weight.sum(1).clamp_min(1)
            posterior = self.head(name)(h)
            if name == "variation":
                posterior = Posterior(self.centre(posterior.mean, counts), posterior.variance)
            posteriors[name] = posterior
            values[name] = posterior.sample(noise[name] if noise else None)
        return Encoding(posteriors, values)

    def centre(self, variation: Tensor, counts: Tensor) -> Tensor:
        """z^v minus its running mean, where the model is so configured; whole sounds."""
        return variation - cumulative_mean(variation, counts) if self._encoder.centred_variation else variation

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        """Of the standard normal draws of one sound."""
        return {name: (size,) if name == "timbre" else (frames, size) for name, size in self.latent_sizes.items()}

    # Streaming: any number of frames a call, state in and out ---------------------------------------------------------

    def encoder_state(self, batch: int) -> State:
        state: State = {}
        reference = next(self.parameters())
        for name in self.latent_sizes:
            state |= {f"{name}.{key}": value for key, value in self.stack(name).initial_state(batch).items()}
        for name in self._averaged():
            state[f"{name}.mean"] = reference.new_zeros(batch, self._averaged()[name])
            state[f"{name}.count"] = reference.new_zeros(batch, 1)
        return state

    def _averaged(self) -> dict[str, int]:
        """The latents that keep a running mean, and of how many dimensions."""
        sizes = {"timbre": self.stack("timbre").width} if "timbre" in self.latent_sizes else {}
        return sizes | ({"variation": self.latent_sizes["variation"]} if "variation" in self.latent_sizes else {})

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents of the next frames (of those `lookahead` frames earlier); z^t is the running mean, so it has a value
        per frame.

        rate : scalar, the smallest update weight of the running means (1/frames)
        """
        compact, structure = self.envelope_input(envelope), self.fine_input(fine)
        following: State = {}
        values = Latents()
        for name in self.latent_sizes:
            part = {key.split(".")[1]: value for key, value in state.items() if key.startswith(f"{name}.")}
            told = [values[other] for other in self.conditions(name)]
            h, after = self.stack(name)(
                structure if name == "pitch" else compact, part, torch.cat(told, -1) if told else None
            )
            if name == "timbre":
                h, mean = running_mean(h, part, rate, self.lookahead)
                after |= mean
            z = self.head(name).mean(h)
            if name == "variation":
                centre, mean = running_mean(z, part, rate, self.lookahead)
                after |= mean
                z = z - centre if self._encoder.centred_variation else z
            values[name] = z
            following |= {f"{name}.{key}": value for key, value in after.items()}
        return values, following
