"""From sound to what the harmonic model's decoder is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.dsp.f0 import track_pitch
from training.features import FeatureExtractor, Spectra
from training.models.harmonic import Control, HarmonicVAE
from training.models.latents import EncodingModel, Latents

FAINTEST = 1e-4  # of a level-normalised frame; what lies below it says nothing of the level


@dataclass(frozen=True, eq=False)
class Heard:
    """Sounds as they are analysed.

    level : (batch, frames), linear, the A-weighted level of every frame; 0 where nothing was heard yet
    """

    spectra: Spectra
    control: Control
    level: Tensor


class Decoder(Protocol):
    """Draws latents as log-amplitude spectra, whole sounds."""

    def decode(self, latents: Latents) -> Tensor:
        """Mean log-amplitude, (batch, frames, bins)."""


@dataclass(frozen=True, eq=False)
class SoundDecoder:
    """The harmonic model's decoder, told what some sounds tell it: latents may be edited, the performance stays."""

    model: HarmonicVAE
    control: Control

    def decode(self, latents: Latents) -> Tensor:
        return self.model.decode(latents, self.control)


def decoder_for(model: EncodingModel, features: FeatureExtractor, audio: Tensor) -> Decoder:
    """What decodes latents of these sounds, (batch, samples): the model itself, if it need not be told the pitch."""
    if isinstance(model, HarmonicVAE):
        return SoundDecoder(model, control_of(model, features, audio).control)
    decoder: Decoder = model  # type: ignore[assignment]  # every other system's decodes latents alone
    return decoder


@torch.no_grad()
def control_of(model: HarmonicVAE, features: FeatureExtractor, audio: Tensor) -> Heard:
    """audio : (batch, samples), full scale 1; what is left of a hop at the end is not heard."""
    config = features.config
    audio = audio[:, : audio.shape[1] // config.hop_samples * config.hop_samples].float()
    amplitudes = features.amplitudes(audio)
    spectra = features(audio)
    tracks = [track_pitch(sound.cpu().numpy(), config.sample_rate, config.hop_samples) for sound in audio]
    f0, confidence = (
        torch.stack([torch.from_numpy(getattr(track, name)) for track in tracks]).to(audio.device)
        for name in ("f0_hz", "confidence")
    )
    control = model.control(spectra.log_amplitude, f0, confidence, spectra.sounding, config.hop_samples)
    relative = features.linear(spectra.log_amplitude).mean(-1)
    level = torch.where(relative > FAINTEST, amplitudes.amplitude.mean(-1) / relative.clamp_min(1e-9), 0.0)
    return Heard(spectra, control, level * model.weighted_level(spectra.log_amplitude))
