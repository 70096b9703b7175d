"""Recurrent parts whose state is an argument: no mode flags, no hidden buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class RecurrentStack(nn.Module):
    """GRU layers of which the last also reads a condition (Tanaka 2022, fig. 2).

    Causal stacks stream: calling with chunks and the returned state equals calling with the whole. Bidirectional ones
    read whole sounds only; their state is accepted and returned for one interface, and starts at zero every time.
    """

    def __init__(self, input_size: int, hidden: int, layers: int, *, condition_size: int = 0, bidirectional: bool = False) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers={layers}: a stack needs at least 2, the last one reads the condition")
        self.hidden, self.directions = hidden, 2 if bidirectional else 1
        self.width = hidden * self.directions
        self.body = nn.GRU(input_size, hidden, layers - 1, batch_first=True, bidirectional=bidirectional)
        self.head = nn.GRU(self.width + condition_size, hidden, 1, batch_first=True, bidirectional=bidirectional)
        for name, parameter in self.named_parameters():
            if "weight" in name:  # PyTorch's default starts so small that the decoder sits at the mean spectrum for over a hundred steps
                for gate in parameter.detach().chunk(3):
                    (nn.init.orthogonal_ if "_hh_" in name else nn.init.xavier_uniform_)(gate)

    def initial_state(self, batch: int) -> State:
        reference = next(self.parameters())
        layers = self.body.num_layers * self.directions
        return {"body": reference.new_zeros(layers, batch, self.hidden), "head": reference.new_zeros(self.directions, batch, self.hidden)}

    def forward(self, x: Tensor, state: State, condition: Tensor | None = None) -> tuple[Tensor, State]:
        """x : (batch, frames, input_size);  condition : (batch, frames, condition_size);  returns (batch, frames, width)."""
        y, body = self.body(x, state["body"])
        if condition is not None:
            y = torch.cat([y, condition], dim=-1)
        y, head = self.head(y, state["head"])
        return y, {"body": body, "head": head}


def cumulative_mean(x: Tensor, counts: Tensor) -> Tensor:
    """Mean of the counted frames so far, for whole sounds.

    x : (batch, frames, dimensions);  counts : (batch, frames), 1 where a frame counts, 0 where not
    """
    weight = counts[..., None].to(x.dtype)
    return (x * weight).cumsum(1) / weight.cumsum(1).clamp_min(1)


def running_mean(x: Tensor, state: State, rate: Tensor) -> tuple[Tensor, State]:
    """The streaming form of `cumulative_mean`: equal to it until 1/rate frames have passed, forgetting from then on.

    x : (batch, frames, dimensions);  state : mean (batch, dimensions), count (batch, 1);  rate : scalar, smallest update weight
    """
    mean, count, means = state["mean"], state["count"], []
    for frame in x.unbind(1):
        count = count + 1
        mean = mean + torch.maximum(1 / count, rate) * (frame - mean)
        means.append(mean)
    return torch.stack(means, 1), {"mean": mean, "count": count}
