"""Log-amplitude spectra to a scaled mel spectrogram and back, as fixed matrices."""

from __future__ import annotations

import librosa
import numpy as np
import torch
from torch import Tensor, nn

from training.decibels import DB_PER_NEPER, power_of

LEAST_POWER = 1e-16  # the square root's slope ends here


class MelScale(nn.Module):
    """Forward: log-amplitude → power → mean power of each mel band, in dB → clipped and scaled to −1 … +1.

    The bands are librosa's triangles, each scaled to sum to one, so that a band reads the mean power of its bins, in dB
    over the average amplitude that the features bring every sound to. A level below `floor_db` reads −1, above
    `ceiling_db` +1.

    Back: every bin takes the level between those of the neighbouring band centres, linear in Hz, those outside the
    outermost centre's. The shape within a band is lost; the level is not, so the result is on the scale of the
    log-amplitude it came from.

    Both products are written as `linear`, which the export's quantiser leaves in float32: power spans ten decades.
    """

    bank: Tensor
    spread: Tensor

    def __init__(
        self,
        *,
        bins: int,
        sample_rate: int,
        log_floor: float,
        bands: int,
        low_hz: float,
        high_hz: float,
        floor_db: float,
        ceiling_db: float,
    ) -> None:
        super().__init__()
        bank = librosa.filters.mel(sr=sample_rate, n_fft=2 * (bins - 1), n_mels=bands, fmin=low_hz, fmax=high_hz)
        centres = librosa.mel_frequencies(bands + 2, fmin=low_hz, fmax=high_hz)[1:-1]
        empty = np.flatnonzero(bank.sum(1) == 0)  # bands narrower than a bin read the nearest one
        bank[empty, np.round(centres[empty] / sample_rate * 2 * (bins - 1)).astype(int)] = 1
        frequencies = np.linspace(0, sample_rate / 2, bins)
        spread = np.stack([np.interp(frequencies, centres, row) for row in np.eye(bands)], 1)
        self.register_buffer("bank", torch.from_numpy(bank / bank.sum(1, keepdims=True)).float(), persistent=False)
        self.register_buffer("spread", torch.from_numpy(spread).float(), persistent=False)
        self.log_floor, self.floor_db, self.ceiling_db = log_floor, floor_db, ceiling_db

    def forward(self, log_amplitude: Tensor) -> Tensor:
        """log_amplitude : (..., bins), natural logarithm, floored;  returns (..., bands), −1 … +1."""
        power = (log_amplitude.exp() - self.log_floor).clamp_min(0).square()
        band = nn.functional.linear(power, self.bank)
        decibel = 10 * torch.log10(band.clamp_min(power_of(self.floor_db)))
        return (2 * (decibel - self.floor_db) / (self.ceiling_db - self.floor_db) - 1).clamp(max=1.0)

    def log_amplitude(self, mel: Tensor) -> Tensor:
        """mel : (..., bands), −1 … +1;  returns (..., bins), natural logarithm, floored as the features'."""
        decibel = self.floor_db + (mel + 1) * ((self.ceiling_db - self.floor_db) / 2)
        power = torch.exp(nn.functional.linear(decibel, self.spread) * (2 / DB_PER_NEPER))
        silence = power_of(self.floor_db)  # what reads −1 is nothing at all
        return torch.log((power - silence).clamp_min(LEAST_POWER).sqrt() + self.log_floor)
