"""A causal student of S3: a small recurrent encoder that has learnt to answer, frame by frame, with the latents of the window that ends there.

It needs no window and a fraction of the products; how near it comes is measured and reported (`export.causal_mixture`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from export.graphs_mixture import NewestDecoder
from training.features import Spectra
from training.models.latents import Encoding, Latents, Posterior
from training.models.mixture import MixtureVAE
from training.recurrent import RecurrentStack, State

HIDDEN, LAYERS = 256, 2
BATCH = 16  # sequences a step
LEARNING_RATE = 3e-3
CLIP = 1.0  # of the gradient's norm


class StudentVAE(nn.Module):
    """GRU encoder over mel frames with the teacher's scale and newest-frame decoder. It streams only: a whole sound is what the last frame says."""

    KIND: ClassVar[str] = "mixture_vae_student"
    lookahead = 0

    def __init__(self, teacher: MixtureVAE, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.config, self.latent_sizes = teacher.config, dict(teacher.latent_sizes)
        self.scale, self.decoder = teacher.scale, NewestDecoder(teacher).requires_grad_(False)
        self.stack = RecurrentStack(teacher.config.mel_bands, hidden, LAYERS)
        self.head = nn.Linear(hidden, sum(self.latent_sizes.values()))

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
        return self.head(h), state

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        mel = self.decoder.mel(torch.cat([latents.timbre, latents.pitch], -1))
        return self.scale.log_amplitude(mel), state


@torch.no_grad()
def lessons(teacher: MixtureVAE, sounds: Sequence[Spectra], seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """What to learn from: mel frames (batch, frames, bands) and the teacher's latents of the window that ends at each, (batch, frames, 2·D).

    Two sounds in a row, from silence, so that windows also hold two notes; silent frames left out, as the runtime leaves them out.

    sounds : batches of calibration spectra, with the running level
    """
    notes = [(envelope + fine)[counts] for sound in sounds for envelope, fine, counts in zip(sound.envelope, sound.fine, sound.sounding, strict=True)]
    notes = [note for note in notes if len(note)]
    order = torch.randperm(len(notes), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [torch.cat([notes[i], notes[j]]) for i, j in zip(order, order[1:] + order[:1], strict=True)]
    length = max(len(row) for row in rows)
    mels, latents = [], []
    for row in rows:
        log_amplitude = row[torch.arange(length).clamp(max=len(row) - 1)][None]  # a short one holds its last frame
        z, _ = teacher.stream_encode(log_amplitude, torch.zeros_like(log_amplitude), torch.tensor(0.0), teacher.encoder_state(1))
        mels.append(teacher.scale(log_amplitude))
        latents.append(torch.cat([z.timbre, z.pitch], -1))
    return list(zip(torch.cat(mels).split(BATCH), torch.cat(latents).split(BATCH), strict=True))


def distil(teacher: MixtureVAE, sounds: Sequence[Spectra], minutes: float, *, passes: int = 1, seed: int = 0) -> StudentVAE:
    """Train a student on the teacher's latents and on its decoder's newest frame, for so many minutes, and at least `passes` over the sounds.

    sounds : batches of calibration spectra, with the running level
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    batches = lessons(teacher.eval(), sounds, seed)
    student = StudentVAE(teacher)
    every = torch.cat([z.flatten(0, 1) for _, z in batches])
    mean, spread = every.mean(0), every.std(0).clamp_min(1e-4)
    optimizer = torch.optim.Adam([*student.stack.parameters(), *student.head.parameters()], lr=LEARNING_RATE)
    random = torch.Generator().manual_seed(seed)
    done, total, passed = 0.0, 60 * minutes, 0
    while done < 1 or passed < passes:
        passed += 1
        for index in torch.randperm(len(batches), generator=random).tolist():
            mel, wanted = batches[index]
            _step(student, mel, wanted, mean, spread, optimizer)
        done = min(1.0, (time.monotonic() - started) / total) if total > 0 else 1.0
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * max(0.02, 1 - done)
    with torch.no_grad():
        student.head.weight.mul_(spread[:, None])
        student.head.bias.mul_(spread).add_(mean)
    return student.eval()


def _step(student: StudentVAE, mel: Tensor, wanted: Tensor, mean: Tensor, spread: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """While it learns, the head gives latents of zero mean and unit variance."""
    found, _ = student.follow(mel, student.encoder_state(len(mel)))
    with torch.no_grad():
        painted = student.decoder.mel(wanted)
    latent = (found - (wanted - mean) / spread).square().mean()
    output = (student.decoder.mel(found * spread + mean) - painted).square().mean() / painted.var().clamp_min(1e-6)
    optimizer.zero_grad()
    (latent + output).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(student.parameters(), CLIP)
    optimizer.step()
