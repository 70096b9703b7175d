"""The two halves of the instrument for hosts that want latents: sound to latents and level, and back. One hop per call,
explicit state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.fused.analysis import Analysis
from export.hosts.resynthesis import Resynthesis
from realtime.bundle import Features
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.dsp.fourier import bin_weights
from realtime.dsp.spectrum import frame_scale
from realtime.hop.smoothing import timbre_rate
from realtime.outputs.resynth.resynth import HIGHEST_LOG

LOWEST_DB = -120.0  # the level of silence


class EncodeStep(nn.Module):
    """(audio (batch, hop_samples), *states) → (latents and level (batch, D + 1), *next states).

    The latents are those of the runtime: below the silence threshold they stay as they are. The last channel is the
    frame's level (RMS) in dB, 0 = full scale, LOWEST_DB in silence, so that what is decoded is as loud as what was
    heard.

    lookahead_hops : how many hops later the encoder answers; the level then waits for it
    """

    weight: Tensor
    rate: Tensor

    def __init__(self, features: Features, encoder: Any, lookahead_hops: int = 0) -> None:
        super().__init__()
        self.encoder, self.analysis, self.hop = encoder, Analysis(features), features.hop_samples
        self.register_buffer("weight", power_weights(features), persistent=False)
        self.register_buffer("rate", torch.tensor([timbre_rate(features.hop_seconds)]), persistent=False)
        self.sizes = [shape[1] for shape in encoder.output_shapes.values()]
        self.input_shapes = {"audio": (1, features.hop_samples)}
        self.output_shapes = {"latents": (1, sum(self.sizes) + 1)}
        own: dict[str, tuple[int, ...]] = {
            "past": (1, features.window_samples - features.hop_samples),
            "latents": (1, sum(self.sizes)),
        }
        own["levels"] = (1, lookahead_hops)  # dB above silence
        self.state_shapes = own | self.analysis.state_shapes
        self.state_shapes |= {f"encoder.{name}": tuple(shape) for name, shape in encoder.state_shapes.items()}

    def forward(
        self,
        audio: Tensor,
        past: Tensor,
        latents: Tensor,
        levels: Tensor,
        level: Tensor,
        count: Tensor,
        *states: Tensor,
    ) -> tuple[Tensor, ...]:
        samples = torch.cat([past, audio], 1)
        frame, now = self.analysis(samples, {"level": level, "count": count})
        answer = self.encoder(frame.envelope, frame.fine, self.rate, *states)
        outputs = len(self.sizes)
        latents = torch.where(frame.sounding, torch.cat(answer[:outputs], 1), latents)
        following = [torch.where(frame.sounding, new, old) for new, old in zip(answer[outputs:], states, strict=True)]
        decibels = DB_PER_NEPER * torch.log(rms(frame.amplitude, self.weight).clamp_min(1e-20))
        levels = torch.cat([levels, torch.where(frame.sounding, (decibels - LOWEST_DB).clamp_min(0), 0.0)], 1)
        answers = torch.cat([latents, levels[:, :1] + LOWEST_DB], 1)
        return (answers, samples[:, self.hop :], latents, levels[:, 1:], now["level"], now["count"], *following)


class DecodeStep(nn.Module):
    """(latents and level (batch, D + 1), *states) → (audio (batch, hop_samples), *next states), `delay_samples`
    later.
    """

    weight: Tensor

    def __init__(self, features: Features, decoder: Any) -> None:
        super().__init__()
        self.decoder, self.resynthesis = decoder, Resynthesis(features)
        self.log_floor, self.delay_samples = features.log_floor, self.resynthesis.delay_samples
        self.register_buffer("weight", power_weights(features), persistent=False)
        self.lowest = (
            features.log_floor * float(self.weight.sum()) ** 0.5
        )  # weaker spectra are the floor's noise, not to be lifted
        self.sizes = [shape[1] for shape in decoder.input_shapes.values()]
        self.input_shapes = {"latents": (1, sum(self.sizes) + 1)}
        self.output_shapes = {"audio": (1, features.hop_samples)}
        rows = {
            f"decoder.{name}": (1, *shape[1:]) for name, shape in decoder.state_shapes.items()
        }  # a decoder's rows know nothing of each other
        self.state_shapes: dict[str, tuple[int, ...]] = {**self.resynthesis.state_shapes, **rows}

    def forward(self, latents: Tensor, phase: Tensor, overlap: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        *values, decibels = latents.split([*self.sizes, 1], 1)
        log_amplitude, *following = self.decoder(*values, *states)
        shape = (torch.exp(log_amplitude.clamp_max(HIGHEST_LOG)) - self.log_floor).clamp_min(0)
        level = torch.where(decibels > LOWEST_DB, torch.exp(decibels.clamp(LOWEST_DB, 0.0) / DB_PER_NEPER), 0.0)
        amplitude = shape * level / rms(shape, self.weight).clamp_min(self.lowest)
        audio, phase, overlap = self.resynthesis(amplitude, phase, overlap)
        return (audio, phase, overlap, *following)


class Packed(nn.Module):
    """A step whose states lie side by side in one tensor: (*inputs, states (batch, size)) → (*outputs, next states
    (batch, size)).

    step : a module with `input_shapes`, `output_shapes` and `state_shapes`, the first axis of all being the batch
    """

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step
        self.outputs = len(step.output_shapes)
        self.names = list(step.state_shapes)
        self.shapes = [tuple(shape) for shape in step.state_shapes.values()]
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        batch = tensors[-1].shape[0]
        states = [
            part.reshape(batch, *shape[1:])
            for part, shape in zip(tensors[-1].split(self.sizes, 1), self.shapes, strict=True)
        ]
        answer = self.step(*tensors[:-1], *states)
        return (
            *answer[: self.outputs],
            torch.cat([state.reshape(state.shape[0], -1) for state in answer[self.outputs :]], 1),
        )

    def example(self) -> tuple[Tensor, ...]:
        return (*(torch.zeros(shape) for shape in self.step.input_shapes.values()), torch.zeros(1, sum(self.sizes)))


def power_weights(features: Features) -> Tensor:
    """Of every bin's squared amplitude in the frame's mean square (Parseval), the window's effect taken out.
    (bins,)
    """
    samples, scale = features.window_samples, frame_scale(features)
    weight = bin_weights(samples) / (scale.amplitude**2 * samples * float(scale.window @ scale.window))
    return torch.from_numpy(weight).float()


def rms(amplitude: Tensor, weight: Tensor) -> Tensor:
    """(batch, bins) → (batch, 1)"""
    return torch.sqrt((amplitude * amplitude * weight).sum(1, keepdim=True))
