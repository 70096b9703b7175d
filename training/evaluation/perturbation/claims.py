"""The orderings a paper claims, checked on measured rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from training.evaluation.figures import FAILS, HOLDS, Figure, compare
from training.evaluation.perturbation.paper_tables import CLAIMS, PAPER, Claim, Row
from training.evaluation.report import table

COMPARED = (
    "Figures of the same test sounds are compared sound by sound (95 % bootstrap interval of the difference), others "
    "by whether their intervals "
    "overlap. Only models that agree in everything but the row are compared.\n\n"
)


@dataclass(frozen=True, eq=False)
class Entry:
    """One measured row. setting : what must agree for two rows to be compared, beside what the row itself says."""

    name: str
    row: Row
    setting: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    lower: str  # names of the rows compared
    higher: str
    ours: tuple[float, float]
    paper: tuple[float, float]
    verdict: str


def check(entries: Sequence[Entry], seed: int, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Every claim, on every pair of rows of one setting that it is about."""
    return [_verdict(claim, lower, higher, seed) for claim in claims for lower, higher in pairs(claim, entries)]


def unchecked(entries: Sequence[Entry], claims: Sequence[Claim] = CLAIMS) -> list[Claim]:
    """The claims for which a row is missing."""
    return [claim for claim in claims if not list(pairs(claim, entries))]


def pairs(claim: Claim, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """The rows it compares; one row twice where it compares two figures of it."""
    for lower, higher in product(entries, entries):
        same = claim.lower[1] == claim.higher[1]
        if (
            lower.row == claim.lower[1]
            and higher.row == claim.higher[1]
            and lower.setting == higher.setting
            and (lower is higher or not same)
        ):
            yield lower, higher


def _verdict(claim: Claim, lower: Entry, higher: Entry, seed: int) -> Verdict:
    a, b = lower.figures[claim.lower[0]], higher.figures[claim.higher[0]]
    paper = (PAPER[claim.lower[1]][claim.lower[0]], PAPER[claim.higher[1]][claim.higher[0]])
    return Verdict(claim, lower.name, higher.name, (a.value, b.value), paper, compare(a, b, seed))


def as_markdown(verdicts: Sequence[Verdict], missing: Sequence[Claim]) -> str:
    """The verdicts as a table, those that do not hold as sentences. missing : claims that could not be checked."""
    counts = [sum(verdict.verdict == kind for verdict in verdicts) for kind in (HOLDS, FAILS)]
    text = "\n## The paper's orderings\n\n" + COMPARED
    if verdicts:
        header = ("source", "data", "claim", "paper", "ours", "verdict", "models")
        text += table(header, [_claim_line(verdict) for verdict in verdicts]) + "\n"
        text += (
            "".join(f"- Does not hold: {_sentence(verdict)}\n" for verdict in verdicts if verdict.verdict == FAILS)
            + "\n"
        )
        text += (
            f"{counts[0]} hold, {counts[1]} do not hold, {len(verdicts) - sum(counts)} cannot be told apart (or were "
            "not measured). "
        )
    return text + (f"{len(missing)} orderings are about rows that are not among these models.\n" if missing else "\n")


def _claim_line(verdict: Verdict) -> list[str]:
    paper, ours = (f"{low:.3f} < {high:.3f}" for low, high in (verdict.paper, verdict.ours))
    models = verdict.lower if verdict.lower == verdict.higher else f"{verdict.lower} < {verdict.higher}"
    return [
        verdict.claim.source,
        _about(verdict),
        verdict.claim.text,
        paper,
        ours.replace("nan", "—"),
        verdict.verdict,
        models,
    ]


def _about(verdict: Verdict) -> str:
    kinds = {row.percussion for _, row in (verdict.claim.lower, verdict.claim.higher)}
    return (
        "pitched against pitched + percussive"
        if len(kinds) == 2
        else "pitched + percussive"
        if kinds == {True}
        else "pitched"
    )


def _sentence(verdict: Verdict) -> str:
    """One ordering that does not hold, with the figures that say so."""
    (lower, _), (higher, _) = verdict.claim.lower, verdict.claim.higher
    ours = (
        f"{lower} {verdict.ours[0]:.3f} ({verdict.lower}) is not below {higher} {verdict.ours[1]:.3f} "
        f"({verdict.higher})"
    )
    return (
        f"{verdict.claim.text} ({_about(verdict)}): {ours}; the paper has {verdict.paper[0]:.3f} and "
        f"{verdict.paper[1]:.3f}."
    )


def plain(verdict: Verdict) -> dict[str, Any]:
    """As JSON values."""
    (lower, _), (higher, _) = verdict.claim.lower, verdict.claim.higher
    ours = [value if np.isfinite(value) else None for value in verdict.ours]
    named = {"lower": [verdict.lower, lower], "higher": [verdict.higher, higher]}
    return {
        "claim": verdict.claim.text,
        "source": verdict.claim.source,
        **named,
        "paper": list(verdict.paper),
        "ours": ours,
        "verdict": verdict.verdict,
    }
