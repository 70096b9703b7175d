"""The transforms inside the fused graph are NumPy's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.fused.fourier import Fourier, signal_of, spectrum_of


@given(half=st.integers(1, 300), given_share=st.floats(0, 1), wanted_share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_thin_products_are_the_transform(half: int, given_share: float, wanted_share: float, seed: int) -> None:
    """Of any even length, from its beginning, to its beginning: NumPy's."""
    samples, rng = 2 * half, np.random.default_rng(seed)
    given_samples, wanted = (1 + int(share * (samples - 1)) for share in (given_share, wanted_share))
    x = rng.standard_normal((3, given_samples))
    spectrum = np.fft.rfft(x, samples)
    scale_of = np.abs(spectrum).max()
    found = spectrum_of(samples, given_samples)(torch.from_numpy(x).float()).numpy()
    assert np.abs(found[:, 0] + 1j * found[:, 1] - spectrum).max() < 3e-6 * scale_of
    parts = torch.from_numpy(np.stack([spectrum.real, spectrum.imag], 1)).float()
    assert (
        np.abs(signal_of(samples, wanted)(parts).numpy() - np.fft.irfft(spectrum, samples)[:, :wanted]).max()
        < 3e-6 * scale_of
    )
    real = Fourier(samples, given_samples, wanted)(torch.from_numpy(x).float()).numpy()
    assert np.abs(real - np.fft.fft(x, samples).real[:, :wanted]).max() < 3e-6 * scale_of
