"""What every system encodes a sound to: posteriors and values of timbre, variation and pitch, or of some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from training.recurrent import State

LATENTS = ("timbre", "variation", "pitch")


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian: (batch, D) for a latent with one value per sound, (batch, frames, D) for one per frame.

    At least float32, whatever precision autocast ran the layers before it in: divergences and draws are too fine for
    less.
    """

    mean: Tensor
    variance: Tensor

    def __post_init__(self) -> None:
        for name in ("mean", "variance"):
            value = getattr(self, name)
            if value.dtype in (torch.bfloat16, torch.float16):
                object.__setattr__(self, name, value.float())

    def sample(self, noise: Tensor | None) -> Tensor:
        """Reparameterised with standard normal `noise`; the mean if there is none."""
        return self.mean if noise is None else self.mean + self.variance.sqrt() * noise


class Latents(dict[str, Tensor]):
    """Values by name, of the latents a model has: (batch, D) where there is one per sound, (batch, frames, D) where one
    per frame.
    """

    def __init__(
        self, timbre: Tensor | None = None, variation: Tensor | None = None, pitch: Tensor | None = None
    ) -> None:
        values = zip(LATENTS, (timbre, variation, pitch), strict=True)
        super().__init__({name: value for name, value in values if value is not None})

    @property
    def timbre(self) -> Tensor:
        return self["timbre"]

    @property
    def variation(self) -> Tensor:
        return self["variation"]

    @property
    def pitch(self) -> Tensor:
        return self["pitch"]

    def with_(self, **values: Tensor) -> Latents:
        """The same with some values replaced."""
        return Latents(**{**self, **values})

    def averaged(self, counts: Tensor) -> Latents:
        """One vector per sound, (batch, D): per-frame values averaged over the frames that count, (batch, frames)."""
        weight = counts[..., None].to(next(iter(self.values())).dtype)
        total = weight.sum(1).clamp_min(1)
        return Latents(
            **{
                name: value if value.dim() == 2 else (value * weight[:, : value.shape[1]]).sum(1) / total
                for name, value in self.items()
            }
        )


@dataclass(frozen=True)
class Encoding:
    """Posteriors of one batch of sounds, and the values drawn from them."""

    posteriors: dict[str, Posterior]
    latents: Latents

    @property
    def timbre(self) -> Posterior:
        return self.posteriors["timbre"]

    @property
    def variation(self) -> Posterior:
        return self.posteriors["variation"]

    @property
    def pitch(self) -> Posterior:
        return self.posteriors["pitch"]


class EncodingModel(Protocol):
    """What every system can do: encode sounds, whole or streaming.

    Inputs are the spectra of `training.features`: envelope + fine is the log-amplitude. Causal models also stream, any
    number of frames a call, with a state of fixed shape made by `encoder_state`; what `stream_encode` gives at frame t
    is about frame t − `lookahead`. `latent_sizes` lists the latents in the order of `LATENTS`.
    """

    KIND: ClassVar[str]
    config: Any
    latent_sizes: dict[str, int]

    @property
    def lookahead(self) -> int: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding: ...
    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]: ...
    def encoder_state(self, batch: int) -> State: ...
    def decoder_state(self, batch: int) -> State: ...
    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]: ...


class TimbreVAE(EncodingModel, Protocol):
    """A system that draws spectra from its latents alone: what knobs, plots, the papers' evaluation and export ask for.

    `decode` may give fewer frames than went in (a model of fixed length).
    """

    def decode(self, latents: Latents) -> Tensor: ...
    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]: ...


def one_per_sound(model: EncodingModel) -> set[str]:
    """The latents that have one value per sound, not one per frame."""
    return {name for name, shape in model.noise_shapes(1).items() if len(shape) == 1}


def tiled(value: Tensor, frames: int) -> Tensor:
    """(batch, D) repeated for every frame; per-frame values as they are."""
    return value[:, None].expand(-1, frames, -1) if value.dim() == 2 else value


def noise_values(model: EncodingModel, frames: int) -> int:
    """How many standard normal numbers one sound of so many frames takes."""
    return sum(int(torch.Size(shape).numel()) for shape in model.noise_shapes(frames).values())


def drawn_noise(draw: int, values: int) -> Tensor:
    """The standard normal noise of one sound, (values,), which follows from its draw alone."""
    return torch.randn(values, generator=torch.Generator().manual_seed(draw))


def shaped_noise(model: EncodingModel, rows: Tensor, frames: int) -> Latents:
    """Noise of a batch, (batch, `noise_values`), as one tensor per latent."""
    shapes = model.noise_shapes(frames)
    parts = rows.split([int(torch.Size(shape).numel()) for shape in shapes.values()], dim=1)
    return Latents(
        **{name: part.reshape(len(rows), *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    )


def seeded_noise(model: EncodingModel, draws: list[int], frames: int, device: torch.device) -> Latents:
    """Standard normal noise that follows from each sound's own draw: the same whatever the batch, the process or the
    resumption.
    """
    values = noise_values(model, frames)
    return shaped_noise(model, torch.stack([drawn_noise(draw, values) for draw in draws]).to(device), frames)


def parameters_of(model: EncodingModel) -> int:
    assert isinstance(model, nn.Module)
    return sum(parameter.numel() for parameter in model.parameters())
