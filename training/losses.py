"""The terms that the systems minimise: of the evidence lower bound (Tanaka 2022, equations 5 and 10), and of metric
learning (Tanaka 2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPECTRAL_SIZES = (2048, 1024, 512, 256, 128, 64)  # samples
SPECTRAL_FLOOR = 1e-4  # of a full-scale sine, −80 dB: what lies below is as good as silence


def gaussian_nll(x: Tensor, mean: Tensor, variance: float) -> Tensor:
    """−log N(x | mean, variance) for every element (eq. 10)."""
    return 0.5 * (math.log(2 * math.pi * variance) + (x - mean).square() / variance)


def kl_to_standard_normal(mean: Tensor, variance: Tensor) -> Tensor:
    """KL(N(mean, diag variance) ‖ N(0, I)), summed over the last axis."""
    return 0.5 * (mean.square() + variance - torch.log(variance) - 1).sum(-1)


def cyclical_weight(epoch: float, *, cycle_epochs: int, rest: float = 0.0, ramp: float = 0.5) -> float:
    """KL weight within cycles: 0 for the first `rest` of each, then rising linearly to 1 over `ramp`, then 1 (Fu
    2019).
    """
    position = (epoch % cycle_epochs) / cycle_epochs
    return min(1.0, max(0.0, (position - rest) / ramp))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that count.  values : (batch, frames);  mask : (batch, frames)."""
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1)


def multiscale_spectral(found: Tensor, wanted: Tensor, sizes: tuple[int, ...] = SPECTRAL_SIZES) -> Tensor:
    """Distance of sounds by their spectrograms at several resolutions (Engel 2020, eq. 4), phases left out.

    The sum over sizes of the mean absolute difference of magnitudes, and of their floored logarithms. Windows of Hann,
    overlapping by three quarters, magnitudes as the transform gives them: a sine of amplitude 1 is size / 4.

    found, wanted : (batch, samples), at least as long as the largest size;  returns (batch,)
    """
    total = found.new_zeros(len(found))
    for size in sizes:
        window = torch.hann_window(size, device=found.device, dtype=found.dtype)
        one, other = (_magnitudes(sound, window) for sound in (found, wanted))
        floor = SPECTRAL_FLOOR * size / 4
        total = total + (one - other).abs().mean((1, 2))
        total = total + (torch.log(one + floor) - torch.log(other + floor)).abs().mean((1, 2))
    return total


def _magnitudes(sound: Tensor, window: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(sound.unfold(-1, len(window), len(window) // 4) * window)
    # Where nothing sounds the root has no derivative.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()


def exponential_nll(power: Tensor, mean: Tensor) -> Tensor:
    """−log Exponential(power | mean) for every element (Tanaka 2021, eq. 3).  Linear power; mean > 0."""
    mean = mean.to(torch.promote_types(mean.dtype, power.dtype))  # autocast may have left it in bfloat16
    return torch.log(mean) + power / mean


def frame_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ‖a_s − b_t‖ of all frames of one sound to all of another, by the Gram matrix.

    No tensor of (frames, frames, D) is made. In float64, since ‖a‖² + ‖b‖² − 2a·b cancels; what is closer than its
    rounding error counts as the same point: distance and gradient are zero there.

    a, b : (batch, frames of a, D), (batch, frames of b, D);  returns (batch, frames of a, frames of b), float64
    """
    a, b = a.double(), b.double()
    lengths = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None, :]
    squared = torch.baddbmm(lengths, a, b.transpose(1, 2), alpha=-2)
    apart = squared.detach() > lengths.detach() * (4 * a.shape[-1] * torch.finfo(a.dtype).eps)
    return torch.where(apart, squared, 1.0).sqrt() * apart


def distance_sums(a: Tensor, b: Tensor, counts_a: Tensor, counts_b: Tensor) -> Tensor:
    """D_ij, summed over all pairs of frames that count (Tanaka 2021, eq. 10).

    a, b : (batch, frames, D);  counts_a, counts_b : (batch, frames), 1 on frames that count;  returns (batch,), float64
    """
    return torch.einsum("ist,is,it->i", frame_distances(a, b), counts_a.double(), counts_b.double())


def inner_distance_sums(z: Tensor, counts: Tensor) -> Tensor:
    """D_ii, summed over the pairs t1 < t2 of one sound's frames (Tanaka 2021, eq. 8): half of all, a frame to itself is
    no distance.
    """
    return 0.5 * distance_sums(z, z, counts, counts)


def contrastive_sums(z: Tensor, counts: Tensor, pairs: Tensor, same: Tensor) -> Tensor:
    """D_ii + D_jj + D_ij of pairs that are the same, D_ii + D_jj − D_ij of pairs that differ (Tanaka 2021, eq. 7).

    That, same or different, is all the loss knows of labels.

    z : (batch, frames, D);  counts : (batch, frames);  pairs : (pairs, 2), rows of the batch;  same : (pairs,), bool;
        returns (pairs,), float64
    """
    first, second = pairs.unbind(1)
    within = inner_distance_sums(z[first], counts[first]) + inner_distance_sums(z[second], counts[second])
    across = distance_sums(z[first], z[second], counts[first], counts[second])
    return within + torch.where(same, across, -across)


def kl_between(mean: Tensor, variance: Tensor, other_mean: Tensor, other_variance: Tensor | float) -> Tensor:
    """KL(N(mean, diag variance) ‖ N(other_mean, diag other_variance)), summed over the last axis; the others
    broadcast.
    """
    other = torch.as_tensor(other_variance, dtype=mean.dtype, device=mean.device)
    return 0.5 * ((variance + (mean - other_mean).square()) / other - 1 + torch.log(other) - torch.log(variance)).sum(
        -1
    )


def log_responsibilities(z: Tensor, means: Tensor, variance: float) -> Tensor:
    """log p(component | z) under a mixture of equal weights and one variance (Luo 2019; Jiang 2017, eq. 16).

    z : (batch, D);  means : (components, D);  returns (batch, components)
    """
    square = (z[:, None] - means).square().sum(-1)
    return torch.log_softmax(-square / (2 * variance), dim=-1)


def kl_to_mixture(mean: Tensor, variance: Tensor, log_weights: Tensor, means: Tensor, other_variance: float) -> Tensor:
    """KL to each component, expected over the responsibilities.

    mean, variance : (batch, D);  log_weights : (batch, components);  means : (components, D);  returns (batch,)
    """
    each = kl_between(mean[:, None], variance[:, None], means, other_variance)
    return (log_weights.exp() * each).sum(-1)


def kl_to_uniform(log_weights: Tensor) -> Tensor:
    """KL of discrete distributions (batch, components) to the uniform one; (batch,)."""
    return (log_weights.exp() * log_weights).sum(-1) + math.log(log_weights.shape[-1])
