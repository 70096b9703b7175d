"""The bidirectional original, streamed the only honest way: a window of the last frames is worked through again at
every hop.

It is the ceiling of what streaming can give, and costs as many times the work as the window has frames. Until a window
is full it is as long as the sound.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from export.graphs.perturbation import DECODER_ROWS
from training.models.latents import Encoding, Latents, one_per_sound, tiled
from training.recurrent import State

MOST_FRAMES = 1000


class WindowedVAE(nn.Module):
    """Answers, for each frame, what the original says of it when the window that ends `lookahead` frames later is all
    it hears.

    The decoder hears the latents of as many frames, those that there is one of per sound as they are now.
    """

    KIND: ClassVar[str] = "windowed"

    def __init__(self, original: Any, frames: int, lookahead: int = 0) -> None:
        super().__init__()
        if not lookahead + 2 <= frames <= MOST_FRAMES:
            raise ValueError(
                f"a window of {frames} frames with a lookahead of {lookahead}: it needs {lookahead + 2} … "
                f"{MOST_FRAMES} frames"
            )
        self.original, self.frames, self.lookahead = original.eval(), frames, lookahead
        self.config, self.latent_sizes = original.config, dict(original.latent_sizes)
        self.steady = one_per_sound(original)

    def encode(self, envelope: Tensor, fine: Tensor, counts: Tensor, noise: Latents | None = None) -> Encoding:
        encoding: Encoding = self.original.encode(envelope, fine, counts, noise)
        return encoding

    def decode(self, latents: Latents) -> Tensor:
        decoded: Tensor = self.original.decode(latents)
        return decoded

    def noise_shapes(self, frames: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = self.original.noise_shapes(frames)
        return shapes

    # Streaming. The state is what was heard, however much: a reference for the graphs below, which keep a window of
    # fixed size. ------

    def encoder_state(self, batch: int) -> State:
        return {name: next(self.parameters()).new_zeros(batch, 0, self.config.bins) for name in ("envelope", "fine")}

    def decoder_state(self, batch: int) -> State:
        return {name: next(self.parameters()).new_zeros(batch, 0, size) for name, size in self.latent_sizes.items()}

    def stream_encode(self, envelope: Tensor, fine: Tensor, rate: Tensor, state: State) -> tuple[Latents, State]:
        """rate : not used, the timbre is the window's"""
        heard = {"envelope": torch.cat([state["envelope"], envelope], 1), "fine": torch.cat([state["fine"], fine], 1)}
        before = state["envelope"].shape[1]
        answers = []
        for end in range(before + 1, heard["envelope"].shape[1] + 1):
            window = slice(max(0, end - self.frames), end)
            x, y = heard["envelope"][:, window], heard["fine"][:, window]
            z = self.original.encode(x, y, torch.ones_like(x[..., 0]))
            answers.append(newest(z.latents, self.lookahead))
        kept = {name: value[:, -(self.frames - 1) :] for name, value in heard.items()}
        return Latents(**{name: torch.stack([z[name] for z in answers], 1) for name in self.latent_sizes}), kept

    def stream_decode(self, latents: Latents, state: State) -> tuple[Tensor, State]:
        heard = {name: torch.cat([state[name], latents[name]], 1) for name in self.latent_sizes}
        before = next(iter(state.values())).shape[1]
        decoded = []
        for end in range(before + 1, next(iter(heard.values())).shape[1] + 1):
            window = slice(max(0, end - self.frames), end)
            decoded.append(self.decoded_last({name: value[:, window] for name, value in heard.items()}))
        return torch.stack(decoded, 1), {name: value[:, -(self.frames - 1) :] for name, value in heard.items()}

    def decoded_last(self, window: dict[str, Tensor]) -> Tensor:
        """The window's last frame, (batch, bins).  window : name → (batch, frames, D)"""
        z = Latents(**{name: value[:, -1] if name in self.steady else value for name, value in window.items()})
        decoded: Tensor = self.original.decode(z)
        return decoded[:, -1]


def newest(z: Latents, lookahead: int) -> Latents:
    """Latents (batch, D) of the frame `lookahead` before the window's last; of its first frame while it is shorter."""
    each = {
        name: value if value.dim() == 2 else torch.cat([value[:, :1].expand(-1, lookahead, -1), value], 1)
        for name, value in z.items()
    }
    return Latents(**{name: value if value.dim() == 2 else value[:, -1 - lookahead] for name, value in each.items()})


class WindowedEncoder(nn.Module):
    """(envelope, fine, rate, *states) → (*latents, *next states). States: the window, and how many frames fill it."""

    def __init__(self, model: WindowedVAE) -> None:
        super().__init__()
        self.model = model
        bins = model.config.bins
        self.input_shapes = {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)}
        self.output_shapes = {name: (1, size) for name, size in model.latent_sizes.items()}
        self.state_shapes = {"envelope": (1, model.frames, bins), "fine": (1, model.frames, bins), "count": (1, 1)}

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        kept, filled, count = _taken_in([envelope, fine], states, self.model.frames)
        z = self.model.original.encode(*filled, torch.ones_like(filled[0][..., 0])).latents
        answer = newest(z, self.model.lookahead)
        first = next(iter(answer))
        answer[first] = answer[first] + 0 * rate  # every port is read, or it would not be there
        return (*answer.values(), *kept, count)


class WindowedDecoder(nn.Module):
    """(*latents, *states) → (log_amplitude, *next states), for two sets of latents at once."""

    def __init__(self, model: WindowedVAE) -> None:
        super().__init__()
        self.model = model
        self.input_shapes = {name: (DECODER_ROWS, size) for name, size in model.latent_sizes.items()}
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, model.config.bins)}
        self.windowed = [name for name in model.latent_sizes if name not in model.steady]
        self.state_shapes = {name: (DECODER_ROWS, model.frames, model.latent_sizes[name]) for name in self.windowed} | {
            "count": (DECODER_ROWS, 1)
        }

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        sizes = len(self.model.latent_sizes)
        given = dict(zip(self.model.latent_sizes, inputs[:sizes], strict=True))
        kept, filled, count = _taken_in([given[name] for name in self.windowed], inputs[sizes:], self.model.frames)
        z = Latents(**given).with_(**dict(zip(self.windowed, filled, strict=True)))
        frames = filled[0].shape[1]
        decoded = self.model.original.decode(Latents(**{name: tiled(value, frames) for name, value in z.items()}))
        return (decoded[:, -1], *kept, count)


def _taken_in(
    values: list[Tensor], states: tuple[Tensor, ...], frames: int
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The windows with the newest frame at their end, the filled part of each, and the new count.

    values : (batch, D) each;  states : a window (batch, frames, D) each, then the count (batch, 1)
    """
    count = (states[-1] + 1).clamp_max(frames)
    kept = [torch.cat([window[:, 1:], value[:, None]], 1) for window, value in zip(states, values, strict=False)]
    start = frames - count[0, 0].long()
    return kept, [window[:, start:] for window in kept], count
