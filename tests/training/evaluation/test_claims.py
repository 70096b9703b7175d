"""Intervals, comparisons, the papers' figures and their claims, checked where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import interval
from training.evaluation.figures import (
    FAILS,
    HOLDS,
    OVERLAP,
    UNMEASURED,
    ZERO_INSIDE,
    Figure,
    compare,
    mean_of,
    nothing,
)
from training.evaluation.perturbation.claims import Entry, check, unchecked
from training.evaluation.perturbation.paper_tables import (
    CLAIMS,
    PAPER,
    TABLE_II,
    TABLE_III,
    WITHOUT_TIMBRE,
    WITHOUT_VARIATION,
    Row,
)


def accuracy(share: float, units: int = 400, prefix: str = "sound") -> Figure:
    """A figure of that value; the units it counts are the first ones."""
    correct = np.arange(units) < share * units
    return mean_of(correct, np.ones(units, bool), np.array([f"{prefix}-{i}" for i in range(units)]))


# Intervals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "coin"])
def test_interval_covers_the_truth_as_often_as_it_says(kind: str) -> None:
    """400 samples of 80 draws each: 95 % of the intervals hold the true mean (standard error of that share: 1.1 %)."""
    rng, covered = np.random.default_rng(5), 0
    for trial in range(400):
        values = rng.normal(3.0, 2.0, 80) if kind == "normal" else (rng.random(80) < 0.7).astype(float)
        low, high = interval(values, seed=trial, rounds=500)
        covered += low <= (3.0 if kind == "normal" else 0.7) <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_interval_narrows_with_the_root_of_the_sounds_and_follows_the_seed() -> None:
    values = np.random.default_rng(0).standard_normal(6400)
    widths = [np.ptp(interval(values[:count], seed=1)) for count in (400, 6400)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
    assert interval(values, lambda rows: float(values[rows].mean()), seed=1) == pytest.approx(interval(values, seed=1))
    assert np.isnan(interval(np.zeros(0), seed=0)).all()


def test_figure_weighs_by_its_wholes_and_leaves_out_what_does_not_count() -> None:
    figure = Figure(np.array([2.0, 30.0, 0.0]), np.array([1.0, 10.0, 0.0]), np.array(["a", "b", "silent"]))
    assert figure.value == pytest.approx(32 / 11)
    assert nothing().cell(0) == "—"
    assert nothing().plain(0) == {"value": None, "low": None, "high": None}
    low, high = accuracy(0.5).interval(0)
    assert accuracy(0.5).cell(0) == f"0.500 ±{(high - low) / 2:.3f}"


def test_comparison_sound_by_sound_sees_what_intervals_cannot() -> None:
    """0.500 and 0.520 of the same sounds differ in eight that only one gets right; of other sounds, that could be
    chance.
    """
    low, high = accuracy(0.50), accuracy(0.52)
    assert compare(low, high, 0) == HOLDS
    assert compare(high, low, 0) == FAILS
    assert compare(low, accuracy(0.52, prefix="other"), 0) == OVERLAP
    assert compare(low, accuracy(0.80, prefix="other"), 0) == HOLDS
    assert compare(accuracy(0.80), accuracy(0.5, prefix="other"), 0) == FAILS
    assert compare(low, low, 0) == ZERO_INSIDE
    assert compare(low, nothing(), 0) == compare(nothing(), low, 0) == UNMEASURED


# The paper's figures and claims ---------------------------------------------------------------------------------------


def test_paper_figures_are_typed_as_printed() -> None:
    assert list(PAPER[Row()].values()) == [0.553, 0.974, 0.340, 0.395, 0.107, 0.024, 0.751]
    assert list(PAPER[Row(encoder="conditional")].values()) == [0.553, 0.981, 0.334, 0.476, 0.096, 0.024, 0.770]
    assert PAPER[Row(WITHOUT_TIMBRE)] == {
        "mse": 0.557,
        "instrument from variation": 0.659,
        "instrument from pitch": 0.445,
        "pitch from variation": 0.066,
        "pitch from pitch": 0.813,
    }
    assert PAPER[Row(WITHOUT_VARIATION)]["pitch from timbre"] == 0.051
    assert PAPER[Row(encoder="conditional", percussion=True)]["instrument from pitch"] == 0.514
    assert (len(TABLE_II), len(TABLE_III), len(PAPER)) == (6, 4, 8)


def test_every_claim_is_what_the_paper_measured() -> None:
    assert len({(claim.text, claim.lower, claim.higher) for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        (lower, row), (higher, other) = claim.lower, claim.higher
        assert PAPER[row][lower] < PAPER[other][higher], claim.text


def entry(name: str, row: Row, setting: str = "small", **changes: float) -> Entry:
    """The paper's own row as if measured on 2,000 sounds, with changes."""
    figures = {
        figure: accuracy(changes.get(figure.replace(" ", "_"), value), 2000) for figure, value in PAPER[row].items()
    }
    return Entry(name, row, setting, figures)


def test_claims_hold_on_rows_like_the_papers_and_fail_where_they_are_turned_round() -> None:
    rows = [entry(str(number), row) for number, row in enumerate(PAPER)]
    assert {verdict.verdict for verdict in check(rows, 0)} <= {HOLDS, ZERO_INSIDE}
    assert len(check(rows, 0)) == len(CLAIMS)
    assert not unchecked(rows)
    turned = [entry("three", Row(), instrument_from_timbre=0.2), entry("two", Row(WITHOUT_VARIATION))]
    found = {verdict.claim.text: verdict for verdict in check(turned, 0)}
    failed = found["the timbre of three factors tells the instrument better than that of timbre + pitch"]
    assert (failed.verdict, failed.lower, failed.higher) == (FAILS, "two", "three")
    assert failed.ours == pytest.approx((0.958, 0.2))
    assert failed.paper == (0.958, 0.974)
    assert found["the pitch latent tells the pitch, the timbre less"].verdict == HOLDS


def test_only_rows_of_one_setting_are_compared_and_the_rest_is_counted() -> None:
    apart = [entry("three", Row(), "wide"), entry("two", Row(WITHOUT_VARIATION), "narrow")]
    assert {verdict.lower for verdict in check(apart, 0)} == {"three"}  # what is claimed of one row alone
    twice = [entry("seed 1", Row()), entry("seed 2", Row()), entry("two", Row(WITHOUT_VARIATION))]
    assert {(verdict.lower, verdict.higher) for verdict in check(twice, 0) if verdict.lower != verdict.higher} == {
        *(("seed 1", "two"), ("two", "seed 1"), ("seed 2", "two"), ("two", "seed 2"))
    }
    assert len(unchecked(twice)) + len({verdict.claim for verdict in check(twice, 0)}) == len(CLAIMS)
