"""The harmonic model's decoder, one hop per call: as heard and as edited with spectra, and for keys without."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from export.graphs.perturbation import DECODER_ROWS, GruStep, LinearStep
from realtime.kinds import CONTROLS, VOICES
from training.models.harmonic import Control, HarmonicVAE, Voice

HEARD_HZ = (8.0, 20000.0)  # what lies beyond is told as these; a graph that was just reset is told 0


def _linear(layer: nn.Module) -> LinearStep:
    assert isinstance(layer, nn.Linear)
    return LinearStep(layer.weight, layer.bias)


class VoiceStep(nn.Module):
    """(*latents, f0, voicing, loudness, memory) → (envelope, offsets, noise, inharmonicity, next memory), for so many
    rows that do not hear each other; shapes as in `realtime.kinds`.
    """

    def __init__(self, model: HarmonicVAE, rows: int = VOICES) -> None:
        super().__init__()
        self.model = model
        self.input_map, self.memory = _linear(model.decoder_input[0]), GruStep(model.decoder_memory, 0)
        self.hidden_map, self.output_map = _linear(model.decoder_output[0]), _linear(model.decoder_output[2])
        self.input_shapes = {name: (rows, size) for name, size in model.latent_sizes.items()}
        self.input_shapes |= dict.fromkeys(CONTROLS, (rows, 1))
        self.output_shapes = {name: (rows, size) for name, size in model.voice_sizes.items()}
        self.state_shapes = {"memory": (rows, model.config.decoder_hidden)}

    def voice(self, latents: tuple[Tensor, ...], control: Control, memory: Tensor) -> tuple[Voice, Tensor]:
        """Everything (rows, size)."""
        x = silu(self.input_map(torch.cat([*latents, self.model.told(control)[:, 0]], -1)))
        memory = self.memory(x, memory)
        drawn = self.output_map(silu(self.hidden_map(torch.cat([memory, x], -1))))
        return self.model.drawn(drawn[:, None]), memory

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        count = len(self.model.latent_sizes)
        f0, voicing, loudness, memory = inputs[count:]
        f0 = f0.clamp(*HEARD_HZ)
        voice, following = self.voice(inputs[:count], Control(f0, f0, voicing, loudness), memory)
        return (*_flat(voice), following)


class HarmonicStreamingDecoder(VoiceStep):
    """The same for two sets of latents at once, and the spectrum of each, its partials where `centre_f0` puts them."""

    def __init__(self, model: HarmonicVAE) -> None:
        super().__init__(model, DECODER_ROWS)
        self.input_shapes["centre_f0"] = (DECODER_ROWS, 1)
        self.output_shapes["log_amplitude"] = (DECODER_ROWS, model.config.bins)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        count = len(self.model.latent_sizes)
        f0, voicing, loudness, centre_f0, memory = inputs[count:]
        control = Control(f0.clamp(*HEARD_HZ), centre_f0.clamp(*HEARD_HZ), voicing, loudness)
        voice, following = self.voice(inputs[:count], control, memory)
        return (*_flat(voice), self.model.spectrum(voice, control)[:, 0], following)


def _flat(voice: Voice) -> tuple[Tensor, ...]:
    return voice.envelope[:, 0], voice.offsets[:, 0], voice.noise[:, 0], voice.inharmonicity
