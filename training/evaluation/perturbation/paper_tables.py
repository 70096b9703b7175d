"""What Tanaka 2022 measured, and what it says of that.

Tables II and III, on RWC instrument sounds: 9,406 pitched test sounds, 9,851 pitched and percussive ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.models.latents import LATENTS

Encoder = Literal["independent", "conditional"]
THREE = LATENTS
WITHOUT_TIMBRE, WITHOUT_VARIATION = ("variation", "pitch"), ("timbre", "pitch")
COLUMNS = ("mse", *(f"{label} from {name}" for label in ("instrument", "pitch") for name in LATENTS))


@dataclass(frozen=True)
class Row:
    """Which row of the tables: the latents, the pitch encoder, and whether percussion was among the sounds."""

    factors: tuple[str, ...] = THREE
    encoder: Encoder = "independent"
    percussion: bool = False


@dataclass(frozen=True)
class Claim:
    """Figure lower[0] of row lower[1] is below figure higher[0] of row higher[1]."""

    text: str
    source: str
    lower: tuple[str, Row]
    higher: tuple[str, Row]


def _row(figures: str) -> dict[str, float]:
    """mse, instrument from timbre, variation, pitch, pitch from timbre, variation, pitch."""
    return {name: float(figure) for name, figure in zip(COLUMNS, figures.split(), strict=True) if figure != "—"}


TABLE_II: dict[Row, dict[str, float]] = {
    Row(WITHOUT_TIMBRE): _row("0.557 — 0.659 0.445 — 0.066 0.813"),
    Row(WITHOUT_VARIATION): _row("0.596 0.958 — 0.454 0.051 — 0.766"),
    Row(): _row("0.553 0.974 0.340 0.395 0.107 0.024 0.751"),
    Row(WITHOUT_TIMBRE, percussion=True): _row("0.558 — 0.686 0.516 — 0.109 0.816"),
    Row(WITHOUT_VARIATION, percussion=True): _row("0.599 0.938 — 0.422 0.092 — 0.729"),
    Row(percussion=True): _row("0.549 0.962 0.324 0.416 0.145 0.054 0.777"),
}
TABLE_III: dict[Row, dict[str, float]] = {
    Row(encoder="conditional"): _row("0.553 0.981 0.334 0.476 0.096 0.024 0.770"),
    Row(): TABLE_II[Row()],
    Row(encoder="conditional", percussion=True): _row("0.548 0.954 0.320 0.514 0.132 0.053 0.776"),
    Row(percussion=True): TABLE_II[Row(percussion=True)],
}
PAPER = TABLE_II | TABLE_III


def _claims(percussion: bool) -> tuple[Claim, ...]:
    """The orderings of one kind of data that the text draws from the tables (section IV-D), or that disentangling means
    (section IV-C).
    """
    three, conditional = Row(percussion=percussion), Row(encoder="conditional", percussion=percussion)
    no_timbre, no_variation = Row(WITHOUT_TIMBRE, percussion=percussion), Row(WITHOUT_VARIATION, percussion=percussion)
    ii, iii = "table II", "table III"
    claims = (
        Claim("three factors reconstruct better than variation + pitch", ii, ("mse", three), ("mse", no_timbre)),
        Claim(
            "variation + pitch reconstruct better than timbre + pitch", ii, ("mse", no_timbre), ("mse", no_variation)
        ),
        Claim("three factors reconstruct better than timbre + pitch", ii, ("mse", three), ("mse", no_variation)),
        Claim(
            "the timbre of three factors tells the instrument better than that of timbre + pitch",
            ii,
            ("instrument from timbre", no_variation),
            ("instrument from timbre", three),
        ),
        Claim(
            "the variation of variation + pitch tells the instrument far worse than the timbre of three factors",
            ii,
            ("instrument from variation", no_timbre),
            ("instrument from timbre", three),
        ),
        Claim(
            "with a timbre beside it, the variation tells less of the instrument",
            ii,
            ("instrument from variation", three),
            ("instrument from variation", no_timbre),
        ),
        Claim(
            "the pitch of three factors tells less of the instrument than that of variation + pitch",
            ii,
            ("instrument from pitch", three),
            ("instrument from pitch", no_timbre),
        ),
        Claim(
            "the pitch of three factors tells less of the instrument than that of timbre + pitch",
            ii,
            ("instrument from pitch", three),
            ("instrument from pitch", no_variation),
        ),
        Claim(
            "the timbre tells the instrument, the variation less",
            ii,
            ("instrument from variation", three),
            ("instrument from timbre", three),
        ),
        Claim(
            "the timbre tells the instrument, the pitch less",
            ii,
            ("instrument from pitch", three),
            ("instrument from timbre", three),
        ),
        Claim(
            "the pitch latent tells the pitch, the timbre less",
            ii,
            ("pitch from timbre", three),
            ("pitch from pitch", three),
        ),
        Claim(
            "the pitch latent tells the pitch, the variation less",
            ii,
            ("pitch from variation", three),
            ("pitch from pitch", three),
        ),
        Claim(
            "with a timbre beside it, the variation tells less of the pitch",
            ii,
            ("pitch from variation", three),
            ("pitch from variation", no_timbre),
        ),
        Claim(
            "the pitch of the independent encoder tells less of the instrument than that of the conditional one",
            iii,
            ("instrument from pitch", three),
            ("instrument from pitch", conditional),
        ),
    )
    better = Claim(
        "three factors tell the pitch better than timbre + pitch",
        ii,
        ("pitch from pitch", no_variation),
        ("pitch from pitch", three),
    )
    return (*claims, better) if percussion else claims


CLAIMS = (
    *_claims(percussion=False),
    *_claims(percussion=True),
    Claim(
        "percussion in training helps three factors tell the pitch",
        "table II",
        ("pitch from pitch", Row()),
        ("pitch from pitch", Row(percussion=True)),
    ),
    Claim(
        "percussion in training harms timbre + pitch in telling the pitch",
        "table II",
        ("pitch from pitch", Row(WITHOUT_VARIATION, percussion=True)),
        ("pitch from pitch", Row(WITHOUT_VARIATION)),
    ),
)
