"""A causal student of S3: recurrent layers that give the latents of the note being played, frame by frame.

It needs no window and knows a note from its first frames. Its distance from the teacher is measured and reported.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from export.causal.lessons import PairLessons
from training.features import FeatureConfig
from training.models.latents import Encoding, Latents, Posterior
from training.models.mixture import MixtureVAE
from training.recurrent import RecurrentStack, State

HIDDEN, LAYERS = 256, 2


class StudentVAE(nn.Module):
    """GRU encoder and decoder on the teacher's mel scale. It only streams: a sound's latents are its last frame's.

    mean, spread : (2·latent_dim,), mean and standard deviation of the teacher's latents; the head's output is
        normalised by them
    """

    KIND: ClassVar[str] = "mixture_vae_student"
    lookahead = 0
    mean: Tensor
    spread: Tensor

    def __init__(self, teacher: MixtureVAE, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.config, self.latent_sizes, self.scale = teacher.config, dict(teacher.latent_sizes), teacher.scale
        width, bands = sum(self.latent_sizes.values()), teacher.config.mel_bands
        self.stack = RecurrentStack(bands, hidden, LAYERS)
        self.head = nn.Linear(hidden, width)
        self.decoder_stack = RecurrentStack(width, hidden, LAYERS)
        self.output = nn.Linear(hidden, bands)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding:
        """The latents at the last frame, (batch, D), certain of themselves."""
        z, _ = self.stream_encode(envelope, fine, envelope.new_tensor(0), self.encoder_state(len(envelope)))
        last = {name: value[:, -1] for name, value in z.items()}
        return Encoding(
            {name: Posterior(value, torch.zeros_like(value)) for name, value in last.items()}, Latents(**last)
        )

    def decode(self, latents: Latents) -> Tensor:
        """As many frames as the teacher's window has, (batch, frames, bins), from silence."""
        held = Latents(**{name: value[:, None].expand(-1, self.config.frames, -1) for name, value in latents.items()})
        return self.stream_decode(held, self.decoder_state(len(latents.timbre)))[0]

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        return {name: (size,) for name, size in self.latent_sizes.items()}

    def encoder_state(self, batch: int) -> State:
        return self.stack.initial_state(batch)

    def decoder_state(self, batch: int) -> State:
        return self.decoder_stack.initial_state(batch)

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents per frame, (batch, frames, D).  rate : not used"""
        h, state = self.stack(self.scale(envelope + fine), state)
        z = self.head(h) * self.spread + self.mean
        return Latents(
            **dict(zip(self.latent_sizes, z.split(list(self.latent_sizes.values()), -1), strict=True))
        ), state

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        """Log-amplitude of the next frames."""
        z = (torch.cat([latents[name] for name in self.latent_sizes], -1) - self.mean) / self.spread
        h, state = self.decoder_stack(z, state)
        return self.scale.log_amplitude(torch.tanh(self.output(h))), state


class StudentLessons(PairLessons):
    """A fresh student; sounds as in `export.causal.lessons`."""

    def __init__(
        self, teacher: MixtureVAE, features: FeatureConfig, audio: Tensor, held_out: Tensor, seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        super().__init__(teacher, StudentVAE(teacher), features, audio, held_out)
        every = torch.cat(list(self._teach(self._held_out).values()), -1)
        self.student.mean.copy_(every.mean(0))
        self.student.spread.copy_(every.std(0).clamp_min(1e-4))

    def trainable(self) -> list[nn.Parameter]:
        """All but the teacher's scale."""
        return [value for name, value in self.student.named_parameters() if not name.startswith("scale.")]
