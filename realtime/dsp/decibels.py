"""Decibels. Full scale is 0 dB; amplitudes and powers are linear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DB_PER_NEPER = 20 / math.log(10)  # of an amplitude's natural logarithm


def amplitude_of(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def power_of(decibels: float) -> float:
    return float(10 ** (decibels / 10))


def decibels_of(amplitude: Any) -> Any:
    """Of a number or of every one in an array, above 0."""
    return 20 * np.log10(amplitude)
