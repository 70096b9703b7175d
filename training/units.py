"""Decibels, and what else several modules of training measure in."""

from __future__ import annotations

import math

DB_PER_NEPER = 20 / math.log(10)  # a step of 1 in the natural logarithm of an amplitude, in dB
TIMBRE_SECONDS = 2.0  # time constant of the running timbre while streaming; the runtime's default knob value, too


def amplitude_of(db: float) -> float:
    """The amplitude that lies so many dB over 1."""
    return float(10 ** (db / 20))


def power_of(db: float) -> float:
    """The power that lies so many dB over 1."""
    return float(10 ** (db / 10))
