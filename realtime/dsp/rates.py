"""Sample rates of devices and files that a model can be played at."""

from __future__ import annotations

LOWEST_RATE, HIGHEST_RATE = 1000, 768000  # Hz
POSSIBLE_RATES = f"{LOWEST_RATE} … {HIGHEST_RATE}"


def is_possible(sample_rate: float) -> bool:
    return LOWEST_RATE <= sample_rate <= HIGHEST_RATE
