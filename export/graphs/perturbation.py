"""The modules that become ONNX graphs: one hop per call with explicit state, and whole sounds.

The streaming steps are written as plain matrix products, `x @ W`, so that quantisation finds every one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.harmonic import HarmonicVAE
from training.models.latents import Latents, TimbreVAE
from training.models.perturbation import PerturbationVAE
from training.recurrent import RecurrentStack, update_weight

DECODER_ROWS = 2  # the latents as they are, and the latents as edited


class LinearStep(nn.Module):
    """`nn.Linear` as a product and a sum."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().T.contiguous())
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class GruStep(nn.Module):
    """One causal GRU layer, one frame (the equations of `torch.nn.GRU`)."""

    def __init__(self, gru: nn.GRU, layer: int) -> None:
        super().__init__()
        self.hidden = gru.hidden_size
        self.input_map = LinearStep(getattr(gru, f"weight_ih_l{layer}"), getattr(gru, f"bias_ih_l{layer}"))
        self.hidden_map = LinearStep(getattr(gru, f"weight_hh_l{layer}"), getattr(gru, f"bias_hh_l{layer}"))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        from_input, from_hidden = self.input_map(x), self.hidden_map(h)
        reset_in, update_in, new_in = from_input.split(self.hidden, dim=-1)
        reset_h, update_h, new_h = from_hidden.split(self.hidden, dim=-1)
        update = torch.sigmoid(update_in + update_h)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_h) * new_h)
        return new + update * (h - new)


class StackStep(nn.Module):
    """A causal `RecurrentStack`, one frame.

    state_sizes : name → width of each state: a hidden vector per layer, and, of a stack that looks ahead, what the last
        layer's predecessor gave for the frames since, side by side
    """

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        if stack.directions != 1:
            raise ValueError("a bidirectional stack does not stream; make it causal first")
        self.layers = nn.ModuleList(
            [*(GruStep(stack.body, layer) for layer in range(stack.body.num_layers)), GruStep(stack.head, 0)]
        )
        self.width, self.lookahead = stack.width, stack.lookahead
        self.state_sizes = {f"layer{i}": stack.hidden for i in range(len(self.layers))}
        if stack.lookahead:
            self.state_sizes["past"] = stack.lookahead * stack.width

    def forward(self, x: Tensor, states: list[Tensor], condition: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """states, and the next ones in the answer, in the order of `state_sizes`."""
        following, past = [], []
        for i, (layer, h) in enumerate(zip(self.layers, states[: len(self.layers)], strict=True)):
            if i == len(self.layers) - 1:
                if self.lookahead:
                    x, late = beside_past_step(x, states[-1], self.width)
                    past = [late]
                x = x if condition is None else torch.cat([x, condition], dim=-1)
            x = layer(x, h)
            following.append(x)
        return x, following + past


def beside_past_step(y: Tensor, past: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """One frame of `training.recurrent.beside_past`.  y : (batch, width)
    past : (batch, k·width), the oldest first.
    """
    both = torch.cat([past, y], dim=-1)
    return torch.cat([both[:, :width], y], dim=-1), both[:, width:]


class StreamingEncoder(nn.Module):
    """(envelope, fine, rate, *states) → (*latents, *next states) of S1's encoders; shapes as in `realtime.kinds`."""

    def __init__(self, model: PerturbationVAE | HarmonicVAE) -> None:
        super().__init__()
        self.envelope_input, self.fine_input = model.envelope_input, model.fine_input
        self.conditions = {name: model.conditions(name) for name in model.latent_sizes}
        self.stacks = nn.ModuleDict({name: StackStep(model.stack(name)) for name in model.latent_sizes})
        self.means = nn.ModuleDict(
            {name: LinearStep(model.head(name).mean.weight, model.head(name).mean.bias) for name in model.latent_sizes}
        )
        self.centred = model.config.centred_variation and "variation" in model.latent_sizes
        self.lookahead = model.lookahead
        self.state_shapes = {
            f"{name}.{key}": (1, size)
            for name in model.latent_sizes
            for key, size in self._stack(name).state_sizes.items()
        }
        self.state_shapes["count"] = (1, 1)
        if "timbre" in model.latent_sizes:
            self.state_shapes["timbre.mean"] = (1, model.stack("timbre").width)
        if self.centred:
            self.state_shapes["variation.mean"] = (1, model.config.variation_dim)
        bins = model.config.bins
        self.input_shapes = {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)}
        self.output_shapes = {name: (1, size) for name, size in model.latent_sizes.items()}

    def _stack(self, name: str) -> StackStep:
        stack = self.stacks[name]
        assert isinstance(stack, StackStep)
        return stack

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.state_shapes, states, strict=True))
        following = {"count": state["count"] + 1}
        weight = update_weight(following["count"], rate, self.lookahead)
        compact, structure = self.envelope_input(envelope), self.fine_input(fine)
        values: dict[str, Tensor] = {}
        for name in self.output_shapes:
            told = [values[other] for other in self.conditions[name]]
            condition = torch.cat(told, dim=-1) if told else None
            h = self._step(name, structure if name == "pitch" else compact, condition, state, following)
            if name == "timbre":
                following["timbre.mean"] = h = state["timbre.mean"] + weight * (h - state["timbre.mean"])
            values[name] = self.means[name](h)
            if name == "variation" and self.centred:
                following["variation.mean"] = state["variation.mean"] + weight * (
                    values[name] - state["variation.mean"]
                )
                values[name] = values[name] - following["variation.mean"]
        return (*values.values(), *(following[name] for name in self.state_shapes))

    def _step(
        self, name: str, x: Tensor, condition: Tensor | None, state: dict[str, Tensor], following: dict[str, Tensor]
    ) -> Tensor:
        keys = [f"{name}.{key}" for key in self._stack(name).state_sizes]
        y, states = self.stacks[name](x, [state[key] for key in keys], condition)
        following |= dict(zip(keys, states, strict=True))
        return y


class StreamingDecoder(nn.Module):
    """(*latents, *states) → (log_amplitude, *next states) of S1, for two sets of latents at once."""

    def __init__(self, model: PerturbationVAE) -> None:
        super().__init__()
        self.stack = StackStep(model.decoder_stack)
        self.output = LinearStep(model.output.weight, model.output.bias)
        self.latents = len(model.latent_sizes)
        self.state_shapes = {key: (DECODER_ROWS, size) for key, size in self.stack.state_sizes.items()}
        self.input_shapes = {name: (DECODER_ROWS, size) for name, size in model.latent_sizes.items()}
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, model.config.bins)}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        y, following = self.stack(torch.cat(inputs[: self.latents], dim=-1), list(inputs[self.latents :]))
        return (self.output(y), *following)


class OfflineEncoder(nn.Module):
    """(envelope, fine), each (1, frames, bins) → posterior means, (1, D) per sound or (1, frames, D) per frame.

    frames : a fixed number, or None for any
    """

    def __init__(self, model: TimbreVAE, frames: int | None = None) -> None:
        super().__init__()
        self.model = model
        length: int | str = frames or "frames"
        self.input_shapes = dict.fromkeys(("envelope", "fine"), (1, length, model.config.bins))
        shapes = model.noise_shapes(1)
        self.output_shapes = {
            name: (1, size) if len(shapes[name]) == 1 else (1, length, size)
            for name, size in model.latent_sizes.items()
        }

    def forward(self, envelope: Tensor, fine: Tensor) -> tuple[Tensor, ...]:
        z = self.model.encode(envelope, fine, torch.ones_like(envelope[..., 0])).latents
        return tuple(z.values())


class OfflineDecoder(nn.Module):
    """Latents as `OfflineEncoder` gives them → log_amplitude (1, frames, bins)."""

    def __init__(self, model: TimbreVAE, frames: int | None = None) -> None:
        super().__init__()
        self.model = model
        length: int | str = frames or "frames"
        self.input_shapes = OfflineEncoder(model, frames).output_shapes
        self.output_shapes = {"log_amplitude": (1, length, model.config.bins)}

    def forward(self, *latents: Tensor) -> Tensor:
        return self.model.decode(Latents(**dict(zip(self.input_shapes, latents, strict=True))))
