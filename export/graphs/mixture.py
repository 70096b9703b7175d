"""The streaming graphs of S3: the latents of the last second at every hop, without computing that second again.

A convolution over the window's frames gives, but for its newest output, what it gave a hop ago; so the encoder keeps
those outputs, each as its distance from what silence gives: zeros then stand for silence before the start. Of the
decoded second only the newest frame is needed, and that is what the last taps of the transposed convolutions make of
the last inner frame. Both are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.graphs.perturbation import DECODER_ROWS, LinearStep, StackStep
from training.models.mel import MelScale
from training.models.mixture import ChunkEncoder, MixtureVAE
from training.recurrent import RecurrentStack


class SlidingStep(nn.Module):
    """One latent's encoder, one frame: (distance of the mel frames from silence, *states) → (mean, *next states).
    Frames lie side by side.
    """

    rest: Tensor
    inner_rest: Tensor

    def __init__(self, encoder: ChunkEncoder, silence: Tensor) -> None:
        """silence : (bands,), the mel frame of silence."""
        super().__init__()
        first, second = (
            _batch_normed(*_as_product(encoder.convolutions[i]), encoder.convolutions[i + 1]) for i in (0, 3)
        )
        window = _batch_normed(*_as_product(encoder.hidden[0], first[1].shape[0]), encoder.hidden[1])
        self.first, rest = _beside(first, silence.double())
        self.second, inner_rest = _beside(second, rest)
        self.window, _ = _beside(window, inner_rest)
        self.mean = LinearStep(encoder.mean.weight, encoder.mean.bias)
        self.register_buffer("rest", rest.float(), persistent=False)
        self.register_buffer("inner_rest", inner_rest.float(), persistent=False)
        self.filters = len(rest)
        self.state_sizes = {"first": second[0].shape[0] - self.filters, "second": window[0].shape[0] - self.filters}

    def forward(self, mel: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = torch.cat([first, torch.relu(self.first(mel)) - self.rest], 1)
        second = torch.cat([second, torch.relu(self.second(first)) - self.inner_rest], 1)
        return self.mean(torch.relu(self.window(second))), first[:, self.filters :], second[:, self.filters :]


class SlidingEncoder(nn.Module):
    """(envelope, fine, rate, *states) → (*latents, *next states); shapes as in `realtime.bundle`. There is no running
    mean: rate is not read.
    """

    def __init__(self, model: MixtureVAE) -> None:
        super().__init__()
        c = model.config
        self.scale, self.bands = model.scale, c.mel_bands
        silence = torch.full((c.mel_bands,), -1.0)
        encoders = {"timbre": model.timbre_encoder, "pitch": model.pitch_encoder}
        steps = {name: SlidingStep(encoders[name], silence) for name in model.latent_sizes}
        self.steps = nn.ModuleDict(steps)
        self.state_shapes = {"mel": (1, (c.kernel - 1) * c.mel_bands)}
        self.state_shapes |= {
            f"{name}.{part}": (1, size) for name, step in steps.items() for part, size in step.state_sizes.items()
        }
        self.input_shapes = {"envelope": (1, c.bins), "fine": (1, c.bins), "rate": (1,)}
        self.output_shapes = {name: (1, size) for name, size in model.latent_sizes.items()}

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.state_shapes, states, strict=True))
        # Every port is read, or it would not be there.
        mel = torch.cat([state["mel"], self.scale(envelope + fine) + 1 + 0 * rate], 1)
        values, following = [], [mel[:, self.bands :]]
        for name, step in self.steps.items():
            value, first, second = step(mel, state[f"{name}.first"], state[f"{name}.second"])
            values.append(value)
            following += [first, second]
        return (*values, *following)


class StudentEncoder(nn.Module):
    """The same from a recurrent student (see `export.causal.student`): its layers' hidden vectors are the state."""

    def __init__(self, scale: MelScale, stack: RecurrentStack, head: nn.Linear, latent_sizes: dict[str, int]) -> None:
        super().__init__()
        self.scale, self.stack, self.head = scale, StackStep(stack), LinearStep(head.weight, head.bias)
        self.state_shapes = {key: (1, size) for key, size in self.stack.state_sizes.items()}
        bins = scale.bank.shape[1]
        self.input_shapes = {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)}
        self.output_shapes = {name: (1, size) for name, size in latent_sizes.items()}

    def forward(self, envelope: Tensor, fine: Tensor, rate: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        # Every port is read, or it would not be there.
        h, following = self.stack(self.scale(envelope + fine) + 0 * rate, list(states))
        return (*self.head(h).split([size for _, size in self.output_shapes.values()], dim=-1), *following)


class StudentDecoder(nn.Module):
    """(timbre, pitch, *states) → (log_amplitude, *next states) of the same, for two sets of latents at once."""

    def __init__(
        self, scale: MelScale, first: LinearStep, stack: RecurrentStack, output: nn.Linear, latent_sizes: dict[str, int]
    ) -> None:
        """first : brings the latents, side by side, to what the stack reads"""
        super().__init__()
        self.scale = scale
        self.first = first
        self.stack = StackStep(stack)
        self.output = LinearStep(output.weight, output.bias)
        self.state_shapes = {key: (DECODER_ROWS, size) for key, size in self.stack.state_sizes.items()}
        self.input_shapes = {name: (DECODER_ROWS, size) for name, size in latent_sizes.items()}
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, scale.bank.shape[1])}

    def forward(self, timbre: Tensor, pitch: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, following = self.stack(self.first(torch.cat([timbre, pitch], -1)), list(states))
        return (self.scale.log_amplitude(torch.tanh(self.output(h))), *following)


class NewestDecoder(nn.Module):
    """(timbre, pitch) → (log_amplitude,), two sets of latents at once: the decoded window's last frame. No state."""

    def __init__(self, model: MixtureVAE) -> None:
        super().__init__()
        c, full, up = model.config, model.decoder.full, model.decoder.convolutions
        last = torch.arange(c.filters) * c.inner_frames + c.inner_frames - 1  # the last inner frame of every filter
        weights = [
            _batch_normed(*_as_product(full[0]), full[1]),
            _batch_normed(*_as_product(full[3]), full[4], last),
            _batch_normed(*_last_tap(up[0]), up[1]),
            _last_tap(up[3]),
        ]
        self.layers = nn.ModuleList(LinearStep(weight.T.float(), bias.float()) for weight, bias in weights)
        self.scale = model.scale
        self.state_shapes: dict[str, tuple[int, ...]] = {}
        self.input_shapes = {name: (DECODER_ROWS, size) for name, size in model.latent_sizes.items()}
        self.output_shapes = {"log_amplitude": (DECODER_ROWS, c.bins)}

    def forward(self, timbre: Tensor, pitch: Tensor) -> tuple[Tensor, ...]:
        return (self.scale.log_amplitude(self.mel(torch.cat([timbre, pitch], -1))),)

    def mel(self, z: Tensor) -> Tensor:
        """z : (..., 2·latent_dim);  returns (..., bands), the scaled mel frame."""
        for layer in self.layers[:-1]:
            z = torch.relu(layer(z))
        return torch.tanh(self.layers[-1](z))


Product = tuple[Tensor, Tensor]  # weight (in, out), bias (out,), float64


def _as_product(layer: nn.Module, filters: int = 0) -> Product:
    """A convolution, or a full layer, as a product with its input frames side by side.

    filters : of a full layer that reads flattened (filters, frames), how many; 0 where it reads a plain vector
    """
    assert isinstance(layer, nn.Conv1d | nn.Linear)
    assert layer.bias is not None
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Linear) and filters:
        weight = weight.unflatten(1, (filters, -1))
    if weight.dim() == 3:  # (out, in, frames)
        weight = weight.permute(0, 2, 1).flatten(1)
    return weight.T, layer.bias.detach().double()


def _last_tap(layer: nn.Module) -> Product:
    """What a transposed convolution makes its last frame with."""
    assert isinstance(layer, nn.ConvTranspose1d)
    assert layer.bias is not None
    return layer.weight[:, :, -1].detach().double(), layer.bias.detach().double()


def _batch_normed(weight: Tensor, bias: Tensor, norm: nn.Module, kept: Tensor | None = None) -> Product:
    """The product with the batch normalisation after it, as it is in use.  kept : the outputs to keep, None: all."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight, bias = weight * gain, (bias - norm.running_mean.double()) * gain + norm.bias.detach().double()
    return (weight, bias) if kept is None else (weight[:, kept], bias[kept])


def _beside(product: Product, rest: Tensor) -> tuple[LinearStep, Tensor]:
    """The product of distances from `rest` (in one frame), and what it gives, after ReLU, where nothing but `rest`
    comes in.
    """
    weight, bias = product
    constant = bias + rest.repeat(len(weight) // len(rest)) @ weight
    return LinearStep(weight.T.float(), constant.float()), torch.relu(constant)


def streaming_products(modules: Sequence[nn.Module]) -> int:
    """Parameters that a hop reads, of these graphs together."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
