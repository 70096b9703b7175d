"""S3, the Gaussian-mixture VAE (Luo 2019): timbre and pitch of a note of one second, one latent of each per sound.

The prior of z^t is a mixture of one Gaussian per instrument, that of z^p one per pitch, with learned means. What the
paper leaves out (layer sizes, batch norm, fixed variances, the pitch classifier) is as in the authors' published code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.features import RecipeError
from training.losses import log_responsibilities
from training.models.latents import Encoding, Latents, Posterior
from training.models.mel import MelScale
from training.recurrent import State

WINDOWS_AT_ONCE = 64  # of the streaming recomputation, to bound its memory


@dataclass(frozen=True)
class MixtureConfig:
    """Sizes and scales. The defaults are the paper's; `bins`, `sample_rate` and `log_floor` follow from the
    features.
    """

    bins: int = 1025
    sample_rate: int = 22050  # Hz
    log_floor: float = 1e-5  # of the features' logarithm
    mel_bands: int = 256
    low_hz: float = 27.0
    high_hz: float = 11000.0
    frames: int = 43  # of one sound; longer ones are cropped, shorter ones end in silence
    filters: int = 512
    kernel: int = 3  # frames
    hidden: int = 512
    latent_dim: int = 16  # of each of the two latents
    instruments: tuple[str, ...] = ()  # components of the timbre prior; empty: those of the data set
    lowest_pitch: int = 24  # MIDI note of the first component of the pitch prior
    pitches: int = 82
    timbre_sigma: float = 1.0  # standard deviation of every component, fixed
    pitch_sigma: float = math.exp(-2)
    means_gain: float = 1.0  # times Xavier's, how far apart the means of both priors start
    floor_db: float = -100.0  # becomes −1
    ceiling_db: float = 60.0  # becomes +1; dB over the sound's average amplitude, so high is a single partial

    def __post_init__(self) -> None:
        sizes = ("mel_bands", "filters", "hidden", "latent_dim", "kernel", "pitches")
        for name in sizes:
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}={getattr(self, name)} must be at least 1")
        if self.frames <= 2 * (self.kernel - 1):
            raise RecipeError(
                f"frames={self.frames} must exceed {2 * (self.kernel - 1)}, what two convolutions of "
                f"kernel={self.kernel} use up"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise RecipeError(
                f"low_hz={self.low_hz:g}, high_hz={self.high_hz:g} must rise within 0 … {self.sample_rate / 2:g} Hz "
                "(half the rate)"
            )
        if not self.floor_db < self.ceiling_db:
            raise RecipeError(f"floor_db={self.floor_db:g} must lie below ceiling_db={self.ceiling_db:g}")
        if min(self.timbre_sigma, self.pitch_sigma, self.means_gain) <= 0:
            raise RecipeError(
                f"timbre_sigma={self.timbre_sigma:g}, pitch_sigma={self.pitch_sigma:g} and "
                f"means_gain={self.means_gain:g} must be above 0"
            )
        if not 0 <= self.lowest_pitch <= 127 or self.lowest_pitch + self.pitches > 128:
            raise RecipeError(
                f"lowest_pitch={self.lowest_pitch} and pitches={self.pitches} must lie within MIDI notes 0 … 127"
            )
        object.__setattr__(self, "instruments", tuple(str(name) for name in self.instruments))

    @property
    def inner_frames(self) -> int:
        """What two convolutions leave of the sound's frames."""
        return self.frames - 2 * (self.kernel - 1)


class ChunkEncoder(nn.Module):
    """Two convolutions over time with the mel bands as channels, then mean and log-variance of one latent."""

    def __init__(self, config: MixtureConfig) -> None:
        super().__init__()
        c = config
        self.convolutions = nn.Sequential(
            nn.Conv1d(c.mel_bands, c.filters, c.kernel),
            nn.BatchNorm1d(c.filters),
            nn.ReLU(),
            nn.Conv1d(c.filters, c.filters, c.kernel),
            nn.BatchNorm1d(c.filters),
            nn.ReLU(),
        )
        self.hidden = nn.Sequential(
            nn.Linear(c.filters * c.inner_frames, c.hidden), nn.BatchNorm1d(c.hidden), nn.ReLU()
        )
        self.mean = nn.Linear(c.hidden, c.latent_dim)
        self.log_variance = nn.Linear(c.hidden, c.latent_dim)

    def forward(self, mel: Tensor) -> Posterior:
        """mel : (batch, frames, bands)."""
        h = self.hidden(self.convolutions(mel.transpose(1, 2)).flatten(1))
        return Posterior(self.mean(h), self.log_variance(h).exp())


class ChunkDecoder(nn.Module):
    """Both latents back to a scaled mel spectrogram: two full layers, two transposed convolutions, tanh."""

    def __init__(self, config: MixtureConfig) -> None:
        super().__init__()
        c = config
        flat = c.filters * c.inner_frames
        self.full = nn.Sequential(
            nn.Linear(2 * c.latent_dim, c.hidden),
            nn.BatchNorm1d(c.hidden),
            nn.ReLU(),
            nn.Linear(c.hidden, flat),
            nn.BatchNorm1d(flat),
            nn.ReLU(),
            nn.Unflatten(1, (c.filters, c.inner_frames)),
        )
        self.convolutions = nn.Sequential(
            nn.ConvTranspose1d(c.filters, c.filters, c.kernel),
            nn.BatchNorm1d(c.filters),
            nn.ReLU(),
            nn.ConvTranspose1d(c.filters, c.mel_bands, c.kernel),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """z : (batch, 2·latent_dim);  returns (batch, frames, bands)."""
        return self.convolutions(self.full(z)).transpose(1, 2)


class MixtureVAE(nn.Module):
    KIND: ClassVar[str] = "mixture_vae"

    def __init__(self, config: MixtureConfig) -> None:
        super().__init__()
        if len(config.instruments) < 2:
            raise RecipeError(
                f"instruments={list(config.instruments)} must name at least 2: the timbre prior has a component for "
                "each"
            )
        self.config = c = config
        self.latent_sizes = {"timbre": c.latent_dim, "pitch": c.latent_dim}
        self.scale = MelScale(
            bins=c.bins,
            sample_rate=c.sample_rate,
            log_floor=c.log_floor,
            bands=c.mel_bands,
            low_hz=c.low_hz,
            high_hz=c.high_hz,
            floor_db=c.floor_db,
            ceiling_db=c.ceiling_db,
        )
        self.timbre_encoder, self.pitch_encoder = ChunkEncoder(c), ChunkEncoder(c)
        self.decoder = ChunkDecoder(c)
        self.timbre_means = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(len(c.instruments), c.latent_dim), c.means_gain)
        )
        self.pitch_means = nn.Parameter(nn.init.xavier_uniform_(torch.empty(c.pitches, c.latent_dim), c.means_gain))
        self.pitch_classifier = nn.Linear(c.latent_dim, c.pitches)

    # Whole sounds ---------------------------------------------------------------------------------------------------

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding:
        """Posteriors of sounds from their first `frames` frames, silence after the end. All of them count, as in the
        paper.

        envelope, fine : (batch, frames, bins);  counts : (batch, frames), not used
        noise : standard normal draws; None takes the means
        """
        return self.encode_mel(self.mel(envelope + fine), noise)

    def mel(self, log_amplitude: Tensor) -> Tensor:
        """The scaled mel spectrogram that the model reads and rebuilds: (batch, frames, bins) to (batch,
        `config.frames`, bands).
        """
        frames = self.config.frames
        mel = self.scale(log_amplitude[:, :frames])
        return nn.functional.pad(mel, (0, 0, 0, frames - mel.shape[1]), value=-1.0)

    def encode_mel(self, mel: Tensor, noise: Latents | None = None) -> Encoding:
        posteriors = {"timbre": self.timbre_encoder(mel), "pitch": self.pitch_encoder(mel)}
        values = Latents(
            **{name: posterior.sample(noise[name] if noise else None) for name, posterior in posteriors.items()}
        )
        return Encoding(posteriors, values)

    def decode(self, latents: Latents) -> Tensor:
        """Log-amplitude, (batch, `config.frames`, bins)."""
        return self.scale.log_amplitude(self.decode_mel(latents))

    def decode_mel(self, latents: Latents) -> Tensor:
        return self.decoder(torch.cat([latents.timbre, latents.pitch], -1))

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        """Of the standard normal draws of one sound."""
        return {name: (size,) for name, size in self.latent_sizes.items()}

    # The mixtures -----------------------------------------------------------------------------------------------------

    def instrument_log_probability(self, timbre: Tensor) -> Tensor:
        """log p(instrument | z^t) under the mixture with equal weights.  timbre : (batch, D);  returns (batch,
        instruments).
        """
        return log_responsibilities(timbre, self.timbre_means, self.config.timbre_sigma**2)

    def component(self, instrument: int, pitch: int) -> Latents:
        """The means of one instrument's and one pitch's component, (1, D).  pitch : MIDI note."""
        return Latents(
            timbre=self.timbre_means[instrument][None], pitch=self.pitch_means[pitch - self.config.lowest_pitch][None]
        )

    # Streaming: the latents of the window that ends at each frame, computed anew ------------------------------------

    lookahead = 0

    def encoder_state(self, batch: int) -> State:
        """The mel frames heard before, as their distance from silence: zeros are silence before the start."""
        return {"heard": self.timbre_means.new_zeros(batch, self.config.frames - 1, self.config.mel_bands)}

    def decoder_state(self, batch: int) -> State:
        return {}

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents per frame, (batch, frames, D), each of the last `config.frames` frames up to it.

        rate : not used, there is no running mean
        """
        heard = torch.cat([state["heard"], self.scale(envelope + fine) + 1], 1)
        windows = (heard - 1).unfold(1, self.config.frames, 1).transpose(2, 3)
        windows = windows.flatten(0, 1)  # (batch·frames, window, bands)
        parts = [self.encode_mel(part).latents for part in windows.split(WINDOWS_AT_ONCE)]
        shape = (len(envelope), envelope.shape[1], -1)
        latents = Latents(
            **{name: torch.cat([part[name] for part in parts]).reshape(shape) for name in self.latent_sizes}
        )
        return latents, {"heard": heard[:, envelope.shape[1] :]}

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        """Log-amplitude of the newest frame of each window, (batch, frames, bins)."""
        z = Latents(**{name: value.flatten(0, 1) for name, value in latents.items()})
        newest = [
            self.decode_mel(Latents(timbre=timbre, pitch=pitch))[:, -1]
            for timbre, pitch in zip(z.timbre.split(WINDOWS_AT_ONCE), z.pitch.split(WINDOWS_AT_ONCE), strict=True)
        ]
        mel = torch.cat(newest).reshape(*latents.timbre.shape[:2], -1)
        return self.scale.log_amplitude(mel), state
