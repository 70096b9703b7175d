"""S2, the metric-learning VAE (Tanaka 2021, sections 2.1 and 3.2): timbre and pitch of every frame of a sound.

Both latents come from one encoder that reads the power spectrogram. What makes them differ is the contrastive loss
of `training.losses`; the model itself treats them alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.features import FeatureConfig, RecipeError
from training.models.encoders import GaussianHead, check_lookahead
from training.models.latents import Encoding, Latents, Posterior
from training.recurrent import State, beside_past, lengthened


@dataclass(frozen=True)
class MetricConfig:
    """Sizes and options. The defaults are the paper's; options marked * are ours (docs/architecture.md)."""

    bins: int = 513
    latent_dim: int = 16  # of each latent
    hidden: int = 300
    encoder_layers: int = 3
    decoder_hidden: int = 300
    shared: int = 256  # width of the layer that the four heads read
    dropout: float = 0.3  # after every layer of the encoder, in training only
    bidirectional: bool = True
    log_floor: float = FeatureConfig.log_floor  # turns the log-amplitude into power and back
    lookahead: int = 0  # * causal: how many frames later the encoder answers, having heard so many more

    def __post_init__(self) -> None:
        for name in ("bins", "latent_dim", "hidden", "encoder_layers", "decoder_hidden", "shared"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}={getattr(self, name)} must be at least 1")
        check_lookahead(self.lookahead, self.bidirectional)
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"dropout={self.dropout} must lie in 0 … 1, 1 excluded")
        if self.log_floor <= 0:
            raise RecipeError(f"log_floor={self.log_floor} must be above 0")


class LstmStack(nn.Module):
    """LSTM layers, each followed by leaky ReLU and dropout. Causal ones stream; see
    `training.recurrent.RecurrentStack`.
    """

    def __init__(
        self, input_size: int, hidden: int, layers: int, *, dropout: float = 0.0, bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.hidden, self.directions = hidden, 2 if bidirectional else 1
        self.width = hidden * self.directions
        sizes = [input_size, *[self.width] * (layers - 1)]
        self.layers = nn.ModuleList(
            [nn.LSTM(size, hidden, batch_first=True, bidirectional=bidirectional) for size in sizes]
        )
        self.activation, self.dropout = nn.LeakyReLU(), nn.Dropout(dropout)
        for name, parameter in self.named_parameters():
            # As in `RecurrentStack`: from PyTorch's small default, learning the harmonics takes twice as long.
            if "weight" in name:
                for gate in parameter.detach().chunk(4):
                    (nn.init.orthogonal_ if "_hh_" in name else nn.init.xavier_uniform_)(gate)

    def initial_state(self, batch: int) -> State:
        zeros = next(self.parameters()).new_zeros(self.directions, batch, self.hidden)
        return {f"layer{i}.{part}": zeros for i in range(len(self.layers)) for part in ("hidden", "cell")}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x : (batch, frames, input_size);  returns (batch, frames, width)."""
        following: State = {}
        for i, layer in enumerate(self.layers):
            y, (hidden, cell) = layer(x, (state[f"layer{i}.hidden"], state[f"layer{i}.cell"]))
            following |= {f"layer{i}.hidden": hidden, f"layer{i}.cell": cell}
            x = self.dropout(self.activation(y))
        return x, following


class MetricVAE(nn.Module):
    KIND: ClassVar[str] = "metric_vae"

    def __init__(self, config: MetricConfig) -> None:
        super().__init__()
        self.config = c = config
        self.latent_sizes = {"timbre": c.latent_dim, "pitch": c.latent_dim}
        self.encoder = LstmStack(c.bins, c.hidden, c.encoder_layers, dropout=c.dropout, bidirectional=c.bidirectional)
        self.shared = nn.Linear(self.encoder.width * (2 if c.lookahead else 1), c.shared)
        self.heads = nn.ModuleDict({name: GaussianHead(c.shared, size) for name, size in self.latent_sizes.items()})
        self.decoder = LstmStack(2 * c.latent_dim, c.decoder_hidden, 1, bidirectional=c.bidirectional)
        self.output = nn.Linear(self.decoder.width, c.bins)

    @property
    def lookahead(self) -> int:
        return self.config.lookahead

    def head(self, name: str) -> GaussianHead:
        head = self.heads[name]
        assert isinstance(head, GaussianHead)
        return head

    def observed(self, log_amplitude: Tensor) -> Tensor:
        """The level-normalised power spectrogram X that `log_amplitude` tells of: what the encoder reads and the
        decoder gives the mean of.
        """
        return (torch.exp(log_amplitude) - self.config.log_floor).clamp_min(0).square()

    def features_of(self, h: Tensor) -> Tensor:
        """What the heads read of the encoder's last layer."""
        return nn.functional.leaky_relu(self.shared(h))

    def power_of(self, raw: Tensor) -> Tensor:
        """κ, from what the last layer gives; never further below one than the features resolve, so that x / κ stays
        finite.
        """
        return nn.functional.softplus(raw) + self.config.log_floor**2

    def log_amplitude_of(self, power: Tensor) -> Tensor:
        """Floored logarithm as the features make it, of the amplitude that has this power."""
        return torch.log(power.sqrt() + self.config.log_floor)

    # Whole sounds ---------------------------------------------------------------------------------------------------

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding:
        """Posteriors of whole sounds (eq. 5), one per frame, silent ones too.

        envelope, fine : (batch, frames, bins);  counts : (batch, frames), not used: every frame stands for itself
        noise : standard normal draws; None takes the means
        """
        x = lengthened(self.observed(envelope + fine), self.lookahead)
        h, _ = self._followed(x, self.encoder_state(len(counts)))
        h = h[:, self.lookahead :]
        posteriors: dict[str, Posterior] = {name: self.head(name)(h) for name in self.latent_sizes}
        values = {name: posterior.sample(noise[name] if noise else None) for name, posterior in posteriors.items()}
        return Encoding(posteriors, Latents(**values))

    def power(self, latents: Latents) -> Tensor:
        """Mean power κ_θ(Z) of whole sounds (eq. 2), (batch, frames, bins)."""
        h, _ = self.decoder(self.joined(latents), self.decoder_state(len(latents.pitch)))
        return self.power_of(self.output(h))

    def decode(self, latents: Latents) -> Tensor:
        """Log-amplitude of whole sounds, (batch, frames, bins)."""
        return self.log_amplitude_of(self.power(latents))

    def joined(self, latents: Latents) -> Tensor:
        """What the decoder reads: both latents side by side."""
        return torch.cat([latents[name] for name in self.latent_sizes], -1)

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        """Of the standard normal draws of one sound."""
        return {name: (frames, size) for name, size in self.latent_sizes.items()}

    # Streaming: any number of frames a call, state in and out ---------------------------------------------------------

    def encoder_state(self, batch: int) -> State:
        state = self.encoder.initial_state(batch)
        return state | (
            {"past": self.output.weight.new_zeros(batch, self.lookahead, self.encoder.width)} if self.lookahead else {}
        )

    def _followed(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """What the heads read of power spectra (batch, frames, bins), about `lookahead` frames earlier, and the next
        state.
        """
        h, following = self.encoder(x, state)
        if self.lookahead:
            h, following["past"] = beside_past(h, state["past"])
        return self.features_of(h), following

    def decoder_state(self, batch: int) -> State:
        return self.decoder.initial_state(batch)

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents of the next frames.  rate : not used, no latent is a mean over time"""
        h, state = self._followed(self.observed(envelope + fine), state)
        return Latents(**{name: self.head(name).mean(h) for name in self.latent_sizes}), state

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        """Log-amplitude of the next frames."""
        h, state = self.decoder(self.joined(latents), state)
        return self.log_amplitude_of(self.power_of(self.output(h))), state
