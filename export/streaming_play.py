"""A model that streams, played in torch as the runtime plays it: many sounds at once, all frames in one call."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.latents import Latents, TimbreVAE
from training.recurrent import lengthened


def live_features(config: FeatureConfig) -> FeatureExtractor:
    """The frames the runtime makes: with the running level, whatever the model was trained with."""
    return FeatureExtractor(replace(config, normalisation="running"))


def play(model: TimbreVAE, spectra: Spectra, rate: float) -> tuple[Latents, Tensor]:
    """Latents (batch, frames, D) and log-amplitude (batch, frames, bins) of each frame, streamed from silence.

    rate : smallest update weight of the running means, 1/frames
    """
    late = model.lookahead
    envelope, fine = lengthened(spectra.envelope, late), lengthened(spectra.fine, late)
    z, _ = model.stream_encode(envelope, fine, torch.tensor(rate), model.encoder_state(len(envelope)))
    decoded, _ = model.stream_decode(z, model.decoder_state(len(envelope)))
    return Latents(**{name: value[:, late:] for name, value in z.items()}), decoded[:, late:]
