"""Spectra of noise, for tests of models and graphs."""

from __future__ import annotations

import torch

from training.features import Spectra


def noise(frames: int, seed: int, bins: int) -> Spectra:
    generator = torch.Generator().manual_seed(seed)
    envelope, fine = (0.5 * torch.randn(1, frames, bins, generator=generator) for _ in range(2))
    return Spectra(envelope + fine, envelope, fine, torch.ones(1, frames, dtype=torch.bool))
