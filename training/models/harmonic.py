"""A synthesizer inside the VAE: encoders and latents of S1 (Tanaka 2022), a decoder of harmonics and noise (DDSP).

As in DDSP (Engel 2020) the pitch is not drawn, it is given: f0, voicing and loudness come from the analysis of the
sound, and the decoder says only how loud each harmonic is and what noise there is beside them. Its mean log-amplitude,
with ε the log floor, is

    μ_k = ½ log( v² Σ_h A_h² W²(f_k − f_h) + N_k² + ε² )     A_h = exp(H(f_h) + o_h)     f_h = h · f0 · √(1 + B h²)

W is the window's main lobe, H a smooth envelope, o_h offsets of the first partials, N a smooth noise envelope, B the
inharmonicity, v the voicing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from training.features import FeatureConfig, RecipeError
from training.models.encoders import FactorEncoders, check_lookahead
from training.models.latents import LATENTS, Latents, tiled
from training.recurrent import State, cumulative_mean

PITCH_WAVES = 8  # sines and cosines that tell the decoder the pitch, from 8 octaves to 3/4 of a semitone
MOST_INHARMONICITY = 0.02
START_INHARMONICITY = -7.0  # logit, B = 2e-5
START_NOISE = -3.0  # natural log, of the mean amplitude
MIDDLE_HZ = 440.0
WARP_HZ = 700.0  # frequencies are warped as in the mel scale
LOBE_BINS = 2.0  # half the width of a Hann window's main lobe
CENTRE_SECONDS = 512 / 44100  # age of the pitch that the tracker tells
UNVOICED, VOICED = 0.4, 0.7  # confidence at which nothing and everything is a harmonic
LOUDNESS_MEAN = 4.0
SMALLEST_POWER = 1e-6  # so that silence has a loudness
MOST_LOG = 10.0  # of an amplitude, so that no draw overflows


@dataclass(frozen=True)
class HarmonicConfig:
    """Sizes and options. `lookahead`, `bidirectional`, … are those of the encoders (`PerturbationConfig`)."""

    sample_rate: int = 44100
    window_samples: int = 2048
    log_floor: float = 1e-2
    timbre_dim: int = 32
    variation_dim: int = 8
    pitch_dim: int = 8
    hidden: int = 128
    decoder_hidden: int = 192
    layers: int = 2
    bidirectional: bool = False
    centred_variation: bool = True
    envelope_coefficients: int = 100
    fine_bands: int = 48  # the pitch encoder reads the strength of the fine structure in so many bands
    envelope_cosines: int = 64  # of H
    offsets: int = 32  # partials that have one of their own
    noise_cosines: int = 24  # of N
    centred_loudness: bool = False  # the decoder is told how loud it is beside the mean so far, not how loud
    lookahead: int = 0
    pitch_encoder: Literal["independent", "conditional"] = "independent"
    factors: tuple[str, ...] = LATENTS  # the latents it has, timbre among them
    one_timbre: bool = False  # z^t is one vector, learned, whatever is heard: the model of one instrument (DDSP)

    @property
    def bins(self) -> int:
        return self.window_samples // 2 + 1

    def __post_init__(self) -> None:
        for name in ("timbre_dim", "variation_dim", "pitch_dim", "hidden", "decoder_hidden", "fine_bands"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("envelope_cosines", "offsets", "noise_cosines"):
            if not 1 <= getattr(self, name) <= self.bins:
                raise RecipeError(f"{name}={getattr(self, name)} must lie in 1 … {self.bins} (bins)")
        if self.layers < 2:
            raise RecipeError(f"layers={self.layers} must be at least 2: the last layer reads the condition")
        check_lookahead(self.lookahead, self.bidirectional)
        strange = [name for name in self.factors if name not in LATENTS]
        if strange or "timbre" not in self.factors:
            raise RecipeError(f"factors={list(self.factors)} must be timbre, and any of variation and pitch")
        object.__setattr__(self, "factors", tuple(name for name in LATENTS if name in self.factors))


class Control(NamedTuple):
    """What the analysis tells the decoder of each frame, all (batch, frames).

    f0 : Hz, the pitch now;  centre_f0 : Hz, the pitch at the frame's middle, where its partials lie
    voicing : 0 … 1
    loudness : natural log of the A-weighted level of the level-normalised spectrum, about 0 on average, or minus its
        running mean (`centred_loudness`)
    """

    f0: Tensor
    centre_f0: Tensor
    voicing: Tensor
    loudness: Tensor


class Voice(NamedTuple):
    """What the decoder draws of each frame.

    envelope : (batch, frames, envelope_cosines), of H;  offsets : (batch, frames, offsets), o_h
    noise : (batch, frames, noise_cosines), of N
    inharmonicity : (batch, frames), B
    """

    envelope: Tensor
    offsets: Tensor
    noise: Tensor
    inharmonicity: Tensor


class FineBands(nn.Module):
    """Root mean square of the fine structure in bands: how clear its partials are, and where, whatever its pitch."""

    matrix: Tensor

    def __init__(self, bins: int, bands: int, sample_rate: int) -> None:
        super().__init__()
        place = warped(torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)) * (bands - 1)
        weight = (1 - (place[:, None] - torch.arange(bands)).abs()).clamp_min(0)
        weight = torch.where(weight.sum(0) > 0, weight, torch.full_like(weight, 1 / bins))
        self.register_buffer("matrix", (weight / weight.sum(0)).float(), persistent=False)

    def forward(self, fine: Tensor) -> Tensor:
        return (fine.square() @ self.matrix + 1e-6).sqrt()


class HarmonicVAE(FactorEncoders):
    KIND: ClassVar[str] = "harmonic_vae"

    cosines: Tensor
    frequency: Tensor
    weighting: Tensor

    def __init__(self, config: HarmonicConfig) -> None:
        c = config
        sizes = {"timbre": c.timbre_dim, "variation": c.variation_dim, "pitch": c.pitch_dim}
        sizes = {name: sizes[name] for name in c.factors}
        super().__init__(config, sizes, FineBands(c.bins, c.fine_bands, c.sample_rate), c.fine_bands)
        self.config: HarmonicConfig = config
        width, told = c.decoder_hidden, sum(sizes.values()) + 3 + 2 * PITCH_WAVES
        self.decoder_input = nn.Sequential(nn.Linear(told, width), nn.SiLU())
        self.decoder_memory = nn.GRU(width, width, 1, batch_first=True)
        self.decoder_output = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, sum(self.voice_sizes.values()))
        )
        frequency = torch.linspace(0, c.sample_rate / 2, c.bins, dtype=torch.float64)
        self.register_buffer("frequency", frequency.float(), persistent=False)
        most = max(c.envelope_cosines, c.noise_cosines)
        self.register_buffer("cosines", cosines_at(frequency, most, c.sample_rate).float(), persistent=False)
        self.register_buffer("weighting", a_weighting(frequency).float(), persistent=False)
        if c.one_timbre:
            self._hold_timbre()

    def _hold_timbre(self) -> None:
        """The encoder of z^t stays, as every graph and state expects it; behind it nothing but a bias is left."""
        head = self.head("timbre")
        for parameter in (*self.stack("timbre").parameters(), *head.parameters()):
            parameter.requires_grad_(False)
        nn.init.zeros_(head.mean.weight)
        nn.init.normal_(head.mean.bias).requires_grad_(True)

    # Analysis

    def control(
        self, log_amplitude: Tensor, f0: Tensor, confidence: Tensor, sounding: Tensor, hop_samples: int
    ) -> Control:
        """log_amplitude : (batch, frames, bins);  sounding : (batch, frames), 1 on frames that count
        f0, confidence : (batch, frames), as `training.dsp.f0` tracks them
        """
        c = self.config
        late = self.centre_hops(hop_samples)
        centre = torch.cat([f0[:, :1].expand(-1, late), f0[:, : f0.shape[1] - late]], 1) if late else f0
        loudness = 0.5 * torch.log(self.weighted_level(log_amplitude).square() + SMALLEST_POWER) - LOUDNESS_MEAN
        if c.centred_loudness:
            loudness = loudness - cumulative_mean(loudness[..., None], sounding)[..., 0]
        voicing = ((confidence - UNVOICED) / (VOICED - UNVOICED)).clamp(0, 1)
        return Control(f0, centre, voicing, loudness)

    def centre_hops(self, hop_samples: int) -> int:
        """So many hops ago the pitch was that of a frame's middle."""
        c = self.config
        return max(0, round((c.window_samples / 2 - CENTRE_SECONDS * c.sample_rate) / hop_samples))

    def weighted_level(self, log_amplitude: Tensor) -> Tensor:
        """A-weighted level, linear, (…, bins) → (…): the root of the summed power of the level-normalised spectrum."""
        amplitude = (torch.exp(log_amplitude) - self.config.log_floor).clamp_min(0)
        return (amplitude * self.weighting).square().sum(-1).sqrt()

    # Decoding

    def decode(self, latents: Latents, control: Control) -> Tensor:
        """Mean log-amplitude μ of whole sounds, (batch, frames, bins)."""
        return self.spectrum(self.voice(latents, control), control)

    def voice(self, latents: Latents, control: Control) -> Voice:
        """What whole sounds are made of."""
        frames = control.f0.shape[1]
        each = Latents(**{name: tiled(value, frames) for name, value in latents.items()})
        return self.stream_voice(each, control, self.decoder_state(len(control.f0)))[0]

    def decoder_state(self, batch: int) -> State:
        reference = next(self.parameters())
        return {"memory": reference.new_zeros(1, batch, self.config.decoder_hidden)}

    def stream_voice(self, latents: Latents, control: Control, state: State) -> tuple[Voice, State]:
        """What shall sound in the next frames; z^t has a value per frame here."""
        x = torch.cat([*(latents[name] for name in self.latent_sizes), self.told(control)], -1)
        x = self.decoder_input(x)
        memory, following = self.decoder_memory(x, state["memory"])
        return self.drawn(self.decoder_output(torch.cat([memory, x], -1))), {"memory": following}

    @property
    def voice_sizes(self) -> dict[str, int]:
        """How many numbers the decoder draws of each part of a `Voice`."""
        c = self.config
        sizes = {"envelope": c.envelope_cosines, "offsets": c.offsets, "noise": c.noise_cosines}
        return sizes | {"inharmonicity": 1}

    def drawn(self, output: Tensor) -> Voice:
        """output : (batch, frames, numbers), the decoder's last layer's"""
        envelope, offsets, noise, bend = output.split(list(self.voice_sizes.values()), -1)
        return Voice(envelope, offsets, noise, MOST_INHARMONICITY * torch.sigmoid(bend[..., 0] + START_INHARMONICITY))

    def told(self, control: Control) -> Tensor:
        """What the decoder reads of a control, (batch, frames, numbers)."""
        octave = torch.log2(control.f0 / MIDDLE_HZ)[..., None]
        angle = octave * (2 * math.pi * 2.0 ** torch.arange(PITCH_WAVES, device=octave.device) / 8)
        plain = torch.stack([octave[..., 0] / 2, control.voicing, control.loudness], -1)
        return torch.cat([plain, torch.sin(angle), torch.cos(angle)], -1)

    def spectrum(self, voice: Voice, control: Control) -> Tensor:
        """μ, (batch, frames, bins)."""
        c = self.config
        envelope = voice.envelope @ self.cosines[: c.envelope_cosines]
        noise = noise_level(self, voice)
        offsets = nn.functional.pad(voice.offsets, (1, 1))  # those of harmonic 0 and of all beyond the last are 0
        ratio = self.frequency / control.centre_f0[..., None]
        stretch = 4 * voice.inharmonicity[..., None]
        order = ratio * torch.sqrt(2 / (1 + torch.sqrt(1 + stretch * ratio.square())))  # f_order = the bin's frequency
        below, power = torch.floor(order), torch.zeros_like(order)
        for harmonic in (below, below + 1):  # others' main lobes do not reach so far, from two bins of f0 on
            h = harmonic.clamp_min(1)
            partial = control.centre_f0[..., None] * h * torch.sqrt(1 + 0.25 * stretch * h.square())
            lobe = main_lobe((self.frequency - partial) * (c.window_samples / c.sample_rate))
            lobe = lobe * (harmonic >= 1)
            own = offsets.gather(-1, h.clamp(max=c.offsets + 1).long())
            power = power + (torch.exp((envelope + own).clamp(max=MOST_LOG)) * lobe).square()
        power = control.voicing[..., None].square() * power + torch.exp(2 * noise.clamp(max=MOST_LOG))
        return 0.5 * torch.log(power + c.log_floor**2)


def noise_level(model: HarmonicVAE, voice: Voice) -> Tensor:
    """log N, (batch, frames, bins)."""
    return voice.noise @ model.cosines[: model.config.noise_cosines] + START_NOISE


def main_lobe(distance: Tensor) -> Tensor:
    """Amplitude of a Hann window's main lobe, 1 in its middle.  distance : in bins"""
    d = distance.abs().clamp(max=LOBE_BINS)
    angle, rest = math.pi * d, 1 - d.square()
    middle, shoulder = angle < 1e-3, rest.abs() < 1e-3
    sinc = torch.sin(angle) / torch.where(middle, torch.ones_like(angle), angle)
    lobe = torch.where(middle, torch.ones_like(d), sinc) / torch.where(shoulder, torch.full_like(rest, 1e-3), rest)
    return torch.where(shoulder, torch.full_like(rest, 0.5), lobe)


def warped(frequency: Tensor) -> Tensor:
    """Hz → 0 … 1 at half the sample rate (the last entry's), as the mel scale warps."""
    mel = torch.log1p(frequency / WARP_HZ)
    return mel / mel[-1]


def cosines_at(frequency: Tensor, count: int, sample_rate: int) -> Tensor:
    """(count, *frequencies): the cosines that envelopes are made of, at any frequencies in Hz."""
    place = torch.log1p(frequency / WARP_HZ) / math.log1p(sample_rate / 2 / WARP_HZ)
    number = torch.arange(count, dtype=place.dtype).reshape(-1, *[1] * place.dim())
    return torch.cos(math.pi * number * place)


def a_weighting(frequency: Tensor) -> Tensor:
    """Linear gain at frequencies in Hz, 1 at 1 kHz (IEC 61672)."""
    f = frequency.square()
    gain = 12194.0**2 * f.square()
    gain = gain / ((f + 20.6**2) * ((f + 107.7**2) * (f + 737.9**2)).sqrt() * (f + 12194.0**2))
    return gain * 1.2589


def fitted(config: HarmonicConfig, features: FeatureConfig) -> HarmonicConfig:
    """The same for these frames."""
    same = {name: getattr(features, name) for name in ("sample_rate", "window_samples", "log_floor")}
    return dataclasses.replace(config, **same)
