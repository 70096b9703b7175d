"""The terms of the evidence lower bound (Tanaka 2022, equations 5 and 10)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_nll(x: Tensor, mean: Tensor, variance: float) -> Tensor:
    """−log N(x | mean, variance) for every element (eq. 10)."""
    return 0.5 * (math.log(2 * math.pi * variance) + (x - mean).square() / variance)


def kl_to_standard_normal(mean: Tensor, variance: Tensor) -> Tensor:
    """KL(N(mean, diag variance) ‖ N(0, I)), summed over the last axis."""
    return 0.5 * (mean.square() + variance - torch.log(variance) - 1).sum(-1)


def cyclical_weight(epoch: float, *, cycle_epochs: int, rest: float = 0.0, ramp: float = 0.5) -> float:
    """KL weight within cycles: 0 for the first `rest` of each, then rising linearly to 1 over `ramp`, then 1 (Fu 2019)."""
    position = (epoch % cycle_epochs) / cycle_epochs
    return min(1.0, max(0.0, (position - rest) / ramp))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that count.  values : (batch, frames);  mask : (batch, frames)."""
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1)
