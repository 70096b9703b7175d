"""Decibels; and constants that training and runtime each have, as neither imports the other."""

from __future__ import annotations

import math

import pytest

from realtime.knobs import targets
from training import units


@pytest.mark.parametrize("db", [-80.0, -1.0, 0.0, 20.0])
def test_decibels_there_and_back(db: float) -> None:
    assert units.DB_PER_NEPER * math.log(units.amplitude_of(db)) == pytest.approx(db)
    assert units.power_of(db) == pytest.approx(units.amplitude_of(db) ** 2)


def test_training_and_runtime_average_timbre_over_the_same_time() -> None:
    assert units.TIMBRE_SECONDS == targets.TIMBRE_SECONDS
