"""S3 on whole sounds and on a sliding window."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.mixture_models import FRAMES, SMALL, model_of, spectra
from training.models.latents import Latents
from training.models.mixture import MixtureVAE


@torch.no_grad()
def test_short_sounds_end_in_silence_and_long_ones_are_cropped() -> None:
    model, x = model_of(), spectra()
    nothing = torch.zeros_like(x)
    counts = torch.ones(x.shape[:2])
    whole = model.encode(x, nothing, counts).latents
    assert torch.equal(whole.timbre, model.encode(x[:, :11], nothing[:, :11], counts).latents.timbre)
    silence = torch.full_like(x[:, :5], np.log(SMALL.log_floor))
    short = model.encode(x[:, :6], nothing[:, :6], counts).latents
    padded = model.encode(torch.cat([x[:, :6], silence], 1), nothing[:, :11], counts).latents
    torch.testing.assert_close(short.pitch, padded.pitch)
    assert model.decode(whole).shape == (2, 11, SMALL.bins)


@torch.no_grad()
def stream(model: MixtureVAE, x: Tensor, sizes: list[int]) -> tuple[Latents, Tensor]:
    """Latents and newest frames, in chunks of the given sizes."""
    state, parts, decoded, start = model.encoder_state(len(x)), [], [], 0
    for size in sizes:
        chunk = x[:, start : start + size]
        z, state = model.stream_encode(chunk, torch.zeros_like(chunk), torch.tensor(0.1), state)
        decoded.append(model.stream_decode(z, model.decoder_state(len(x)))[0])
        parts.append(z)
        start += size
    return Latents(**{name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}), torch.cat(decoded, 1)


@given(cuts=st.lists(st.integers(1, FRAMES - 1), max_size=6, unique=True))
@settings(max_examples=15, deadline=None)
def test_streaming_in_chunks_is_encoding_every_window(cuts: list[int]) -> None:
    """Frame n answers with the latents of its last 11 frames, silence before the start; the decoder with that window's
    last frame.
    """
    model, x, edges = model_of(), spectra(), [0, *sorted(cuts), FRAMES]
    z, decoded = stream(model, x, [b - a for a, b in itertools.pairwise(edges)])
    before = torch.cat([torch.full_like(x[:, :10], np.log(SMALL.log_floor)), x], 1)
    for frame in (0, 4, 10, 11, FRAMES - 1):
        window = before[:, frame : frame + 11]
        with torch.no_grad():
            wanted = model.encode(window, torch.zeros_like(window), torch.ones(2, 11)).latents
            newest = model.decode(wanted)[:, -1]
        for name in model.latent_sizes:
            torch.testing.assert_close(z[name][:, frame], wanted[name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoded[:, frame], newest, atol=1e-4, rtol=1e-4)


def test_the_future_cannot_leak_and_a_fresh_state_forgets() -> None:
    model, x = model_of(), spectra()
    before, before_decoded = stream(model, x, [FRAMES])
    changed = x.clone()
    changed[:, 20:] = 1.0
    after, after_decoded = stream(model, changed, [FRAMES])
    for name in model.latent_sizes:
        torch.testing.assert_close(after[name][:, :20], before[name][:, :20], atol=1e-6, rtol=1e-5)
        assert not torch.allclose(after[name][:, 20], before[name][:, 20])
    torch.testing.assert_close(after_decoded[:, :20], before_decoded[:, :20], atol=1e-5, rtol=1e-5)
    again, _ = stream(model, x, [FRAMES])
    assert torch.equal(again.timbre, before.timbre)
