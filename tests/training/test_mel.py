"""The mel scale of S3: bands read mean power, and what comes back is what went in."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.decibels import DB_PER_NEPER
from training.models.mel import MelScale


def scale(**changes: float) -> MelScale:
    sizes = {
        "bins": 1025,
        "sample_rate": 22050,
        "log_floor": 1e-4,
        "bands": 128,
        "low_hz": 27.0,
        "high_hz": 11000.0,
        "floor_db": -80.0,
    }
    return MelScale(**{**sizes, "ceiling_db": 40.0, **changes})  # type: ignore[arg-type]


def test_a_band_reads_the_mean_power_of_its_bins() -> None:
    mel = scale()
    power = torch.rand(3, 1025, dtype=torch.float64)
    expected = 10 * torch.log10(power @ mel.bank.double().T)
    found = mel.double()(torch.log(power.sqrt() + 1e-4))
    torch.testing.assert_close(found, 2 * (expected + 80) / 120 - 1, atol=1e-6, rtol=0)
    torch.testing.assert_close(mel.bank.sum(1), torch.ones(128, dtype=torch.float64), atol=1e-6, rtol=0)


@given(level_db=st.floats(-50, 35))
@settings(max_examples=20, deadline=None)
def test_a_flat_spectrum_comes_back_as_it_was(level_db: float) -> None:
    mel = scale()
    flat = torch.full((1, 1, 1025), np.log(10 ** (level_db / 20) + 1e-4), dtype=torch.float32)
    torch.testing.assert_close(mel(flat), torch.full((1, 1, 128), 2 * (level_db + 80) / 120 - 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(mel.log_amplitude(mel(flat)), flat, atol=2e-3, rtol=0)


def test_silence_and_what_is_too_loud_are_clipped() -> None:
    mel = scale()
    silence, loud = torch.full((1, 1025), np.log(1e-4)), torch.full((1, 1025), 9.0)
    assert (mel(silence) == -1).all()
    assert (mel(loud) == 1).all()
    torch.testing.assert_close(mel.log_amplitude(torch.full((1, 128), -1.0)), silence, atol=1e-2, rtol=0)


def test_a_partial_stays_where_it_was() -> None:
    """The loudest bin of a spectrum and of what comes back from mel are within a band of each other, as a level in dB
    shows.
    """
    mel = scale()
    for bin_ in (30, 100, 400):
        partial = torch.full((1, 1025), np.log(1e-4))
        partial[0, bin_] = np.log(10)
        back = mel.log_amplitude(mel(partial))[0]
        assert abs(int(back.argmax()) - bin_) <= 0.03 * bin_ + 1
        assert float(back.max()) * DB_PER_NEPER < 20 + 1e-3
