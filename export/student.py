"""A causal student of S3: a small recurrent encoder that has learnt to answer, frame by frame, with the latents of the window that ends there.

It needs no window and a fraction of the products; how near it comes is measured and reported (`export.causal_mixture`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from export.fidelity import live_features
from export.graphs_mixture import NewestDecoder
from training.features import FeatureConfig
from training.models.latents import Encoding, Latents, Posterior
from training.models.mixture import MixtureVAE
from training.recurrent import RecurrentStack, State

HIDDEN, LAYERS = 256, 2
BATCH = 16  # sequences a step
EXAMINED = 128  # sequences


class StudentVAE(nn.Module):
    """GRU encoder over mel frames with the teacher's scale and newest-frame decoder. It streams only: a whole sound is what the last frame says.

    mean, spread : (2·latent_dim,), of the teacher's latents, which the head gives less the one and in units of the other
    """

    mean: Tensor
    spread: Tensor

    KIND: ClassVar[str] = "mixture_vae_student"
    lookahead = 0

    def __init__(self, teacher: MixtureVAE, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.config, self.latent_sizes = teacher.config, dict(teacher.latent_sizes)
        self.scale, self.decoder = teacher.scale, NewestDecoder(teacher).requires_grad_(False)
        self.stack = RecurrentStack(teacher.config.mel_bands, hidden, LAYERS)
        self.head = nn.Linear(hidden, sum(self.latent_sizes.values()))
        self.register_buffer("mean", torch.zeros(self.head.out_features))
        self.register_buffer("spread", torch.ones(self.head.out_features))

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding:
        """The latents at the last frame, (batch, D), certain of themselves."""
        z, _ = self.stream_encode(envelope, fine, envelope.new_tensor(0), self.encoder_state(len(envelope)))
        last = {name: value[:, -1] for name, value in z.items()}
        return Encoding({name: Posterior(value, torch.zeros_like(value)) for name, value in last.items()}, Latents(**last))

    def decode(self, latents: Latents) -> Tensor:
        """The newest frame, (batch, 1, bins)."""
        return self.stream_decode(Latents(**{name: value[:, None] for name, value in latents.items()}), {})[0]

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        return {name: (size,) for name, size in self.latent_sizes.items()}

    def encoder_state(self, batch: int) -> State:
        return self.stack.initial_state(batch)

    def decoder_state(self, batch: int) -> State:
        return {}

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """Latents per frame, (batch, frames, D).  rate : not used"""
        z, state = self.follow(self.scale(envelope + fine), state)
        return Latents(**dict(zip(self.latent_sizes, z.split(list(self.latent_sizes.values()), -1), strict=True))), state

    def follow(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Both latents side by side.  mel : (batch, frames, bands);  returns (batch, frames, 2·latent_dim)."""
        h, state = self.stack(mel, state)
        return self.head(h) * self.spread + self.mean, state

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        mel = self.decoder.mel(torch.cat([latents.timbre, latents.pitch], -1))
        return self.scale.log_amplitude(mel), state


class StudentLessons:
    """Two sounds in a row, from silence, so that windows also hold two notes; silent frames left out, as the runtime leaves them out.

    mel : (sequences, frames, bands), scaled mel frames;  wanted : (sequences, frames, 2·D), the teacher's latents of the window that ends at each
    """

    learning_rate = 3e-3

    def __init__(self, teacher: MixtureVAE, features: FeatureConfig, audio: Tensor, held_out: Tensor, seed: int = 0) -> None:
        """audio, held_out : (sounds, samples), float32"""
        torch.manual_seed(seed)
        self.student = StudentVAE(teacher)
        self.mel, self.wanted = _lessons(teacher, features, audio, seed)
        self._examined = _lessons(teacher, features, held_out[:EXAMINED], seed)
        every = self.wanted.flatten(0, 1)
        self.student.mean.copy_(every.mean(0))
        self.student.spread.copy_(every.std(0).clamp_min(1e-4))

    def taught(self) -> list[nn.Parameter]:
        return [*self.student.stack.parameters(), *self.student.head.parameters()]

    def batches(self, random: torch.Generator) -> Iterator[Tensor]:
        yield from torch.randperm(len(self.mel), generator=random).split(BATCH)

    def loss(self, rows: Tensor) -> Tensor:
        return self._missed(self.mel[rows], self.wanted[rows])

    @torch.no_grad()
    def examine(self) -> float:
        return float(self._missed(*self._examined))

    def _missed(self, mel: Tensor, wanted: Tensor) -> Tensor:
        """Of the latents, in their spread, and of what the decoder makes of them."""
        student = self.student
        found, _ = student.follow(mel, student.encoder_state(len(mel)))
        with torch.no_grad():
            painted = student.decoder.mel(wanted)
        latent = ((found - wanted) / student.spread).square().mean()
        output = (student.decoder.mel(found) - painted).square().mean() / painted.var().clamp_min(1e-6)
        return latent + output


@torch.no_grad()
def _lessons(teacher: MixtureVAE, features: FeatureConfig, audio: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    live = live_features(features)
    notes = []
    for part in audio.split(BATCH):
        spectra = live(part)
        notes += [row[counts] for row, counts in zip(spectra.log_amplitude, spectra.sounding, strict=True) if counts.any()]
    order = torch.randperm(len(notes), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [torch.cat([notes[i], notes[j]]) for i, j in zip(order, order[1:] + order[:1], strict=True)]
    length = max(len(row) for row in rows)
    mels, latents = [], []
    for row in rows:
        log_amplitude = row[torch.arange(length).clamp(max=len(row) - 1)][None]  # a short one holds its last frame
        z, _ = teacher.stream_encode(log_amplitude, torch.zeros_like(log_amplitude), torch.tensor(0.0), teacher.encoder_state(1))
        mels.append(teacher.scale(log_amplitude))
        latents.append(torch.cat([z.timbre, z.pitch], -1))
    return torch.cat(mels), torch.cat(latents)
