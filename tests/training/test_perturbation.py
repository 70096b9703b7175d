"""S1: averaging, centring, streaming equals whole, no future leak, and what depends on what."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.models.latents import LATENTS, Latents
from training.models.perturbation import PerturbationConfig, PerturbationVAE
from training.recurrent import RecurrentStack, State, cumulative_mean, running_mean
from training.tasks.perturbation import random_stretch

SMALL = PerturbationConfig(
    bins=65,
    timbre_dim=6,
    variation_dim=5,
    pitch_dim=4,
    hidden=12,
    layers=3,
    bidirectional=False,
    centred_variation=True,
    envelope_coefficients=20,
)
VARIANTS = {
    "independent": SMALL,
    "conditional": dataclasses.replace(SMALL, pitch_encoder="conditional"),
    "plain": dataclasses.replace(SMALL, centred_variation=False, envelope_coefficients=0, layers=2, decoder_hidden=16),
}
FRAMES = 40


def model_of(config: PerturbationConfig) -> PerturbationVAE:
    torch.manual_seed(4)
    return PerturbationVAE(config).eval()


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(batch, FRAMES, SMALL.bins), torch.randn(batch, FRAMES, SMALL.bins)


def stream(
    model: PerturbationVAE, envelope: Tensor, fine: Tensor, sizes: list[int], rate: float = 0.01
) -> tuple[Latents, Tensor]:
    """Latents and decoded frames, in chunks of the given sizes."""
    encoder, decoder = model.encoder_state(len(envelope)), model.decoder_state(len(envelope))
    parts: list[Latents] = []
    decoded, start = [], 0
    for size in sizes:
        z, encoder = model.stream_encode(
            envelope[:, start : start + size], fine[:, start : start + size], torch.tensor(rate), encoder
        )
        y, decoder = model.stream_decode(z, decoder)
        parts.append(z)
        decoded.append(y)
        start += size
    return Latents(*(torch.cat([getattr(part, name) for part in parts], 1) for name in LATENTS)), torch.cat(decoded, 1)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, FRAMES - 1), max_size=6, unique=True))
@torch.no_grad()
def test_chunked_equals_whole(name: str, cuts: list[int]) -> None:
    model, edges = model_of(VARIANTS[name]), [0, *sorted(cuts), FRAMES]
    envelope, fine = inputs()
    whole, whole_decoded = stream(model, envelope, fine, [FRAMES])
    parts, parts_decoded = stream(model, envelope, fine, [b - a for a, b in itertools.pairwise(edges)])
    for latent in LATENTS:
        torch.testing.assert_close(getattr(parts, latent), getattr(whole, latent), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts_decoded, whole_decoded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_future_cannot_leak(name: str) -> None:
    model = model_of(VARIANTS[name])
    envelope, fine = inputs()
    now = 25
    before, before_decoded = stream(model, envelope, fine, [FRAMES])
    envelope[:, now:], fine[:, now:] = 9.0, -9.0
    after, after_decoded = stream(model, envelope, fine, [FRAMES])
    for latent in LATENTS:
        assert torch.equal(getattr(after, latent)[:, :now], getattr(before, latent)[:, :now])
        assert not torch.equal(getattr(after, latent)[:, now:], getattr(before, latent)[:, now:])
    assert torch.equal(after_decoded[:, :now], before_decoded[:, :now])


@torch.no_grad()
def test_streamed_timbre_ends_at_the_whole_sounds() -> None:
    """Until the time constant has passed, the running mean is the mean: at the last frame the two forms agree."""
    model = model_of(VARIANTS["independent"])
    envelope, fine = inputs()
    whole = model.encode(envelope, fine, torch.ones(2, FRAMES)).latents
    streamed, _ = stream(model, envelope, fine, [FRAMES], rate=1 / FRAMES)
    torch.testing.assert_close(streamed.timbre[:, -1], whole.timbre, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(streamed.pitch, whole.pitch, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_timbre_is_averaged_over_the_frames_that_count() -> None:
    model = model_of(VARIANTS["plain"])
    envelope, fine = inputs(1)
    counts = torch.ones(1, FRAMES)
    counts[:, 30:] = 0
    h, _ = model.stack("timbre")(envelope, model.stack("timbre").initial_state(1))
    found = model.encode(envelope, fine, counts).timbre
    torch.testing.assert_close(found.mean, model.head("timbre").mean(h[:, :30].mean(1)))
    torch.testing.assert_close(
        found.variance, torch.nn.functional.softplus(model.head("timbre").variance(h[:, :30].mean(1))) + 1e-6
    )


@torch.no_grad()
def test_what_depends_on_what() -> None:
    """Pitch reads the fine structure alone, unless it is conditional; timbre and variation read the envelope alone."""
    envelope, fine = inputs()
    counts = torch.ones(2, FRAMES)
    for name, depends in (("independent", False), ("conditional", True)):
        model = model_of(VARIANTS[name])
        base = model.encode(envelope, fine, counts).latents
        other_envelope = model.encode(envelope.flip(0), fine, counts).latents
        other_fine = model.encode(envelope, fine.flip(0), counts).latents
        assert torch.equal(other_envelope.pitch, base.pitch) is not depends
        assert torch.equal(other_fine.timbre, base.timbre)
        assert torch.equal(other_fine.variation, base.variation)
        assert not torch.equal(other_fine.pitch, base.pitch)
        assert not torch.equal(other_envelope.timbre, base.timbre)


def test_samples_are_reparameterised() -> None:
    model = model_of(VARIANTS["plain"])
    envelope, fine = inputs()
    counts = torch.ones(2, FRAMES)
    noise = Latents(torch.randn(2, 6), torch.randn(2, FRAMES, 5), torch.randn(2, FRAMES, 4))
    encoding = model.encode(envelope, fine, counts, noise)
    torch.testing.assert_close(
        encoding.latents.timbre, encoding.timbre.mean + encoding.timbre.variance.sqrt() * noise.timbre
    )
    torch.testing.assert_close(
        encoding.latents.pitch, encoding.pitch.mean + encoding.pitch.variance.sqrt() * noise.pitch
    )
    assert torch.equal(
        model.encode(envelope, fine, counts).latents.timbre, model.encode(envelope, fine, counts).timbre.mean
    )


@torch.no_grad()
def test_centred_variation_has_lost_its_running_mean() -> None:
    envelope, fine = inputs()
    counts = torch.ones(2, FRAMES)
    counts[1, :5] = 0
    model = model_of(VARIANTS["independent"])
    plain = PerturbationVAE(dataclasses.replace(SMALL, centred_variation=False))
    plain.load_state_dict(model.state_dict())
    raw = plain.encode(envelope, fine, counts).variation.mean
    centred = model.encode(envelope, fine, counts).variation.mean
    for sound, first in ((0, 0), (1, 5)):
        for frame in (first, first + 1, FRAMES - 1):
            torch.testing.assert_close(
                centred[sound, frame], raw[sound, frame] - raw[sound, first : frame + 1].mean(0), atol=1e-5, rtol=1e-5
            )


@given(rate=st.floats(0.001, 1.0), cut=st.integers(1, FRAMES - 1))
@settings(max_examples=30, deadline=None)
def test_running_mean_in_chunks_and_its_limit(rate: float, cut: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, FRAMES, 3, dtype=torch.float64)
    zero = {"mean": torch.zeros(2, 3, dtype=torch.float64), "count": torch.zeros(2, 1, dtype=torch.float64)}
    smallest = torch.tensor(rate, dtype=torch.float64)
    whole, _ = running_mean(x, zero, smallest)
    first, state = running_mean(x[:, :cut], zero, smallest)
    second, _ = running_mean(x[:, cut:], state, smallest)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    before_forgetting = min(FRAMES, int(1 / rate))
    torch.testing.assert_close(
        whole[:, :before_forgetting], cumulative_mean(x, torch.ones(2, FRAMES))[:, :before_forgetting]
    )


@torch.no_grad()
def test_stack_chunked_equals_whole_and_condition_is_heard() -> None:
    stack = RecurrentStack(7, 9, 3, condition_size=2).eval()
    x, condition = torch.randn(1, FRAMES, 7), torch.randn(1, FRAMES, 2)
    whole, _ = stack(x, stack.initial_state(1), condition)
    state: State = stack.initial_state(1)
    parts = []
    for t in range(FRAMES):
        y, state = stack(x[:, t : t + 1], state, condition[:, t : t + 1])
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(stack(x, stack.initial_state(1), -condition)[0], whole)


def test_random_stretch_is_a_stretch_of_the_counted_frames() -> None:
    counts = torch.rand(200, 50) > 0.2
    noise = torch.randn(200, 6)
    chosen = random_stretch(counts, noise)
    assert not (chosen & ~counts).any()
    share = chosen.sum(1) / counts.sum(1)
    assert float(share.min()) >= 0.2
    assert float(share.max()) <= 1.0
    assert 0.5 < float(share.mean()) < 0.75
    for row, kept in zip(counts, chosen, strict=True):
        order = kept[row].nonzero().flatten()
        assert torch.equal(order, torch.arange(int(order[0]), int(order[-1]) + 1))
