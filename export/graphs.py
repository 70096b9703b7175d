"""The modules that become ONNX graphs: one hop per call with explicit state, and whole sounds.

The streaming steps are written as plain matrix products, `x @ W`, so that quantisation finds every one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.perturbation import Latents, PerturbationVAE
from training.recurrent import RecurrentStack

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
    """A causal `RecurrentStack`, one frame; a state of shape (batch, hidden) per layer."""

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        if stack.directions != 1:
            raise ValueError("a bidirectional stack does not stream; make it causal first")
        self.layers = nn.ModuleList([*(GruStep(stack.body, layer) for layer in range(stack.body.num_layers)), GruStep(stack.head, 0)])

    def forward(self, x: Tensor, states: list[Tensor], condition: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        following = []
        for i, (layer, h) in enumerate(zip(self.layers, states, strict=True)):
            if condition is not None and i == len(self.layers) - 1:
                x = torch.cat([x, condition], dim=-1)
            x = layer(x, h)
            following.append(x)
        return x, following


class StreamingEncoder(nn.Module):
    """(envelope, fine, rate, *states) → (timbre, variation, pitch, *next states); shapes as in `realtime.bundle`."""

    def __init__(self, model: PerturbationVAE) -> None:
        super().__init__()
        self.envelope_input = model.envelope_input
        self.timbre, self.variation, self.pitch = (StackStep(getattr(model, f"{name}_stack")) for name in ("timbre", "variation", "pitch"))
        self.timbre_mean, self.variation_mean, self.pitch_mean = (
            LinearStep(head.mean.weight, head.mean.bias) for head in (model.timbre_head, model.variation_head, model.pitch_head)
        )
        self.centred = model.config.centred_variation
        self.conditional = model.config.pitch_encoder == "conditional"
        stacks = {"timbre": model.timbre_stack, "variation": model.variation_stack, "pitch": model.pitch_stack}
        self.state_shapes = {f"{name}.layer{i}": (1, stack.hidden) for name, stack in stacks.items() for i in range(len(getattr(self, name).layers))}
        self.state_shapes |= {"count": (1, 1), "timbre.mean": (1, model.timbre_stack.width)}
        if self.centred:
            self.state_shapes["variation.mean"] = (1, model.config.variation_dim)
        bins = model.config.bins
        self.input_shapes = {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)}
        self.output_shapes = {
            "timbre": (1, model.config.timbre_dim),
            "variation": (1, model.config.variation_dim),
            "pitch": (1, model.config.pitch_dim),
        }

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.state_shapes, states, strict=True))
        following = {"count": state["count"] + 1}
        weight = torch.maximum(1 / following["count"], rate)
        compact = self.envelope_input(envelope)

        h = self._step("timbre", compact, None, state, following)
        following["timbre.mean"] = state["timbre.mean"] + weight * (h - state["timbre.mean"])
        z_t = self.timbre_mean(following["timbre.mean"])

        z_v = self.variation_mean(self._step("variation", compact, z_t, state, following))
        if self.centred:
            following["variation.mean"] = state["variation.mean"] + weight * (z_v - state["variation.mean"])
            z_v = z_v - following["variation.mean"]

        condition = torch.cat([z_t, z_v], dim=-1) if self.conditional else None
        z_p = self.pitch_mean(self._step("pitch", fine, condition, state, following))
        return (z_t, z_v, z_p, *(following[name] for name in self.state_shapes))

    def _step(self, name: str, x: Tensor, condition: Tensor | None, state: dict[str, Tensor], following: dict[str, Tensor]) -> Tensor:
        stack: StackStep = getattr(self, name)
        keys = [f"{name}.layer{i}" for i in range(len(stack.layers))]
        y, states = stack(x, [state[key] for key in keys], condition)
        following |= dict(zip(keys, states, strict=True))
        return y


class StreamingDecoder(nn.Module):
    """(timbre, variation, pitch, *states) → (log_amplitude, *next states), for two sets of latents at once."""

    def __init__(self, model: PerturbationVAE) -> None:
        super().__init__()
        self.stack = StackStep(model.decoder_stack)
        self.output = LinearStep(model.output.weight, model.output.bias)
        c = model.config
        self.state_shapes = {f"layer{i}": (DECODER_ROWS, model.decoder_stack.hidden) for i in range(len(self.stack.layers))}
        self.input_shapes = {
            "timbre": (DECODER_ROWS, c.timbre_dim),
            "variation": (DECODER_ROWS, c.variation_dim),
            "pitch": (DECODER_ROWS, c.pitch_dim),
        }
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, c.bins)}

    def forward(self, timbre: Tensor, variation: Tensor, pitch: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, following = self.stack(torch.cat([timbre, variation, pitch], dim=-1), list(states))
        return (self.output(y), *following)


class OfflineEncoder(nn.Module):
    """(envelope, fine), each (1, frames, bins) → timbre (1, D), variation and pitch (1, frames, D)."""

    def __init__(self, model: PerturbationVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, envelope: Tensor, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.model.encode(envelope, fine, torch.ones_like(envelope[..., 0])).latents
        return z.timbre, z.variation, z.pitch


class OfflineDecoder(nn.Module):
    """timbre (1, D), variation and pitch (1, frames, D) → log_amplitude (1, frames, bins)."""

    def __init__(self, model: PerturbationVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, timbre: Tensor, variation: Tensor, pitch: Tensor) -> Tensor:
        return self.model.decode(Latents(timbre, variation, pitch))
