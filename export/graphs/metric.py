"""S2's streaming graphs: LSTM layers as plain matrix products, one hop per call.

For whole sounds see `export.graphs.perturbation`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.graphs.perturbation import DECODER_ROWS, LinearStep, beside_past_step
from training.models.metric import LstmStack, MetricVAE


class LstmStep(nn.Module):
    """One causal LSTM layer, one frame (the equations of `torch.nn.LSTM`)."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.input_map = LinearStep(lstm.get_parameter("weight_ih_l0"), lstm.get_parameter("bias_ih_l0"))
        self.hidden_map = LinearStep(lstm.get_parameter("weight_hh_l0"), lstm.get_parameter("bias_hh_l0"))

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the next hidden and cell."""
        enter, forget, new, leave = (self.input_map(x) + self.hidden_map(hidden)).chunk(4, dim=-1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class LstmStackStep(nn.Module):
    """A causal `LstmStack`, one frame; states of shape (batch, hidden): hidden and cell of each layer in turn."""

    def __init__(self, stack: LstmStack) -> None:
        super().__init__()
        if stack.directions != 1:
            raise ValueError("a bidirectional stack does not stream; make it causal first")
        self.layers = nn.ModuleList([LstmStep(layer) for layer in stack.layers if isinstance(layer, nn.LSTM)])
        self.activation = stack.activation
        self.state_names = [f"layer{i}.{part}" for i in range(len(self.layers)) for part in ("hidden", "cell")]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, list[Tensor]]:
        following: list[Tensor] = []
        for layer, hidden, cell in zip(self.layers, states[0::2], states[1::2], strict=True):
            hidden, cell = layer(x, hidden, cell)
            following += [hidden, cell]
            x = self.activation(hidden)
        return x, following


class MetricStreamingEncoder(nn.Module):
    """(envelope, fine, rate, *states) → (timbre, pitch, *next states); shapes as in `realtime.bundle`."""

    def __init__(self, model: MetricVAE) -> None:
        super().__init__()
        self.model = model  # for its fixed functions; every product is a step of our own
        self.stack = LstmStackStep(model.encoder)
        self.shared = LinearStep(model.shared.weight, model.shared.bias)
        self.means = nn.ModuleDict(
            {name: LinearStep(model.head(name).mean.weight, model.head(name).mean.bias) for name in model.latent_sizes}
        )
        bins = model.config.bins
        self.input_shapes = {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)}
        self.output_shapes = {name: (1, size) for name, size in model.latent_sizes.items()}
        self.state_shapes = dict.fromkeys(self.stack.state_names, (1, model.encoder.hidden))
        self.layers = len(self.stack.state_names)
        if model.lookahead:
            self.state_shapes["past"] = (1, model.lookahead * model.encoder.width)

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x = self.model.observed(envelope + fine) + 0 * rate  # every port is read, or it would not be there
        h, following = self.stack(x, *states[: self.layers])
        if self.model.lookahead:
            h, past = beside_past_step(h, states[-1], self.model.encoder.width)
            following = [*following, past]
        h = nn.functional.leaky_relu(self.shared(h))
        return (*(self.means[name](h) for name in self.output_shapes), *following)


class MetricStreamingDecoder(nn.Module):
    """(timbre, pitch, *states) → (log_amplitude, *next states), for two sets of latents at once."""

    def __init__(self, model: MetricVAE) -> None:
        super().__init__()
        self.model = model
        self.stack = LstmStackStep(model.decoder)
        self.output = LinearStep(model.output.weight, model.output.bias)
        self.input_shapes = {name: (DECODER_ROWS, size) for name, size in model.latent_sizes.items()}
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, model.config.bins)}
        self.state_shapes = dict.fromkeys(self.stack.state_names, (DECODER_ROWS, model.decoder.hidden))

    def forward(self, timbre: Tensor, pitch: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, following = self.stack(torch.cat([timbre, pitch], dim=-1), *states)
        return (self.model.log_amplitude_of(self.model.power_of(self.output(h))), *following)
