"""Recurrent parts whose state is an argument: no mode flags, no hidden buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class RecurrentStack(nn.Module):
    """GRU layers of which the last also reads a condition (Tanaka 2022, fig. 2).

    Causal stacks stream: calling with chunks and the returned state equals calling with the whole. Bidirectional ones
    read whole sounds only; their state is accepted and returned for one interface, and starts at zero every time.
    With `lookahead` = k what comes out at frame t is about frame t − k: the last layer reads what the others gave for
    that frame beside what they give now, so its map is as wide as that of a bidirectional stack.
    """

    def __init__(
        self,
        input_size: int,
        hidden: int,
        layers: int,
        *,
        condition_size: int = 0,
        bidirectional: bool = False,
        lookahead: int = 0,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers={layers}: a stack needs at least 2, the last one reads the condition")
        if lookahead and bidirectional:
            raise ValueError(f"lookahead={lookahead}: a bidirectional stack hears the whole sound anyway")
        self.hidden, self.directions, self.lookahead = hidden, 2 if bidirectional else 1, lookahead
        self.width = hidden * self.directions
        self.body = nn.GRU(input_size, hidden, layers - 1, batch_first=True, bidirectional=bidirectional)
        self.head = nn.GRU(
            self.width * (2 if lookahead else 1) + condition_size,
            hidden,
            1,
            batch_first=True,
            bidirectional=bidirectional,
        )
        for name, parameter in self.named_parameters():
            # PyTorch's default starts so small that the decoder stays at the mean spectrum for over a hundred steps
            if "weight" in name:
                for gate in parameter.detach().chunk(3):
                    (nn.init.orthogonal_ if "_hh_" in name else nn.init.xavier_uniform_)(gate)

    def initial_state(self, batch: int) -> State:
        reference = next(self.parameters())
        layers = self.body.num_layers * self.directions
        state = {
            "body": reference.new_zeros(layers, batch, self.hidden),
            "head": reference.new_zeros(self.directions, batch, self.hidden),
        }
        return state | ({"past": reference.new_zeros(batch, self.lookahead, self.width)} if self.lookahead else {})

    def forward(self, x: Tensor, state: State, condition: Tensor | None = None) -> tuple[Tensor, State]:
        """x : (batch, frames, input_size);  condition : (batch, frames, condition_size);  returns (batch, frames,
        width).
        """
        y, body = self.body(x, state["body"])
        following: State = {"body": body}
        if self.lookahead:
            y, following["past"] = beside_past(y, state["past"])
        if condition is not None:
            y = torch.cat([y, condition], dim=-1)
        y, following["head"] = self.head(y, state["head"])
        return y, following

    def whole(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Of whole sounds, what comes out about each frame; the sound's last frame stands for what would follow it."""
        if condition is not None and self.lookahead:
            condition = torch.cat([condition[:, :1].expand(-1, self.lookahead, -1), condition], 1)
        return self(lengthened(x, self.lookahead), self.initial_state(len(x)), condition)[0][:, self.lookahead :]


def beside_past(y: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """What was given k frames ago beside what is given now, (batch, frames, 2·width), and the new past.  past : (batch,
    k, width)
    """
    late = torch.cat([past, y], 1)
    frames = y.shape[1]
    return torch.cat([late[:, :frames], y], -1), late[:, frames:]


def lengthened(x: Tensor, frames: int) -> Tensor:
    """The last frame repeated so many times more.  x : (batch, frames, …)"""
    return torch.cat([x, x[:, -1:].expand(-1, frames, -1)], 1) if frames else x


def cumulative_mean(x: Tensor, counts: Tensor) -> Tensor:
    """Mean of the counted frames so far, for whole sounds.

    x : (batch, frames, dimensions);  counts : (batch, frames), 1 where a frame counts, 0 where not
    """
    weight = counts[..., None].to(x.dtype)
    return (x * weight).cumsum(1) / weight.cumsum(1).clamp_min(1)


def running_mean(x: Tensor, state: State, rate: Tensor, lookahead: int = 0) -> tuple[Tensor, State]:
    """The streaming form of `cumulative_mean`: equal to it until 1/rate frames have passed, forgetting from then on.

    x : (batch, frames, dimensions);  state : mean (batch, dimensions), count (batch, 1)
    rate : scalar, smallest update weight
    lookahead : the first so many frames are about nothing yet and do not count
    """
    mean, count, means = state["mean"], state["count"], []
    for frame in x.unbind(1):
        count = count + 1
        mean = mean + update_weight(count, rate, lookahead) * (frame - mean)
        means.append(mean)
    return torch.stack(means, 1), {"mean": mean, "count": count}


def update_weight(count: Tensor, rate: Tensor, lookahead: int = 0) -> Tensor:
    """Of the newest of `count` frames in a running mean; the first `lookahead` of them are about nothing and leave no
    trace.
    """
    return torch.maximum(1 / ((count - lookahead).clamp_min(1) if lookahead else count), rate)
