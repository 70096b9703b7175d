"""A small S3 model and spectra for it."""

from __future__ import annotations

import torch
from torch import Tensor

from training.models.mixture import MixtureConfig, MixtureVAE

NAMES = ("flute", "harp", "viola")
SMALL = MixtureConfig(
    bins=129,
    mel_bands=20,
    filters=12,
    hidden=14,
    latent_dim=5,
    frames=11,
    instruments=NAMES,
    lowest_pitch=60,
    pitches=7,
    floor_db=-60,
    log_floor=1e-3,
)
FRAMES = 30


def model_of(config: MixtureConfig = SMALL) -> MixtureVAE:
    """With batch-norm statistics that are not those of a fresh model."""
    torch.manual_seed(4)
    model = MixtureVAE(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for buffer, low, high in ((module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 1.5)):
                assert buffer is not None
                buffer.uniform_(low, high)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def spectra(batch: int = 2, frames: int = FRAMES, seed: int = 5) -> Tensor:
    """Log-amplitudes with loud and silent places."""
    generator = torch.Generator().manual_seed(seed)
    loud = (
        torch.randn(batch, frames, SMALL.bins, generator=generator).exp()
        * torch.rand(batch, frames, 1, generator=generator).round()
    )
    return torch.log(loud + SMALL.log_floor)
