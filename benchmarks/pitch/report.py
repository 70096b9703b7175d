"""What `benchmarks.pitch` found, as a page and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pitch.measure import Tracked, pooled
from training.evaluation.bootstrap import interval
from training.evaluation.report import picture, save_picture, table

OURS = "F0Tracker"


@dataclass(frozen=True)
class Bar:
    """A figure that is asked for: of which set, at most or at least how much."""

    group: str
    figure: str
    says: str
    limit: float
    at_least: bool = False
    percent: bool = True


NOTES, VOICE = "held-out notes", "phrases of one voice"
ONSETS = "onsets from 110 Hz up right within 25 ms"
BARS = (
    Bar(NOTES, "median_cents", "median error, cents", 5.0, percent=False),
    Bar(NOTES, "close", "frames within 50 cents", 0.97, at_least=True),
    Bar(NOTES, "octave", "octave errors", 0.01),
    Bar(VOICE, "median_cents", "median error, cents", 5.0, percent=False),
    Bar(VOICE, "close", "frames within 50 cents", 0.97, at_least=True),
    Bar(VOICE, "octave", "octave errors", 0.01),
    Bar(VOICE, "gliding_close", "gliding frames within 50 cents", 0.92, at_least=True),
    Bar("rendered phrases", "settled_close", "frames within 50 cents, 150 ms after a change", 0.97, at_least=True),
    Bar("synthetic onsets", "onset_in_25_ms", ONSETS, 1.0, at_least=True),
    Bar(NOTES, "onset_in_25_ms", ONSETS, 1.0, at_least=True),
)


def with_interval(found: list[Tracked], figure: str, seed: int) -> tuple[float, float, float]:
    """The figure and its 95 % bootstrap interval over sounds."""
    value = pooled(found)[figure]
    low, high = interval(
        np.zeros(len(found)), lambda rows: pooled([found[row] for row in rows])[figure], seed=seed, rounds=200
    )
    return value, low, high


def verdicts(groups: dict[str, dict[str, list[Tracked]]], seed: int) -> list[dict[str, Any]]:
    """Every bar that can be measured on these groups."""
    rows = []
    for bar in BARS:
        found = groups.get(bar.group, {}).get(OURS)
        if found and bar.figure in pooled(found):
            value, low, high = with_interval(found, bar.figure, seed)
            met = value >= bar.limit if bar.at_least else value <= bar.limit
            rows.append(
                {"group": bar.group, "says": bar.says, "value": value, "low": low, "high": high, "met": bool(met)}
            )
            rows[-1] |= {"limit": bar.limit, "at_least": bar.at_least, "percent": bar.percent}
    return rows


def as_markdown(doc: str, about: dict[str, Any], result: dict[str, Any], pictures: str) -> str:
    says = " ".join(doc.split(":", 1)[1].split())
    parts = [f"# Pitch trackers\n\n{says[0].upper()}{says[1:]}\n"]
    parts.append(
        f"`{about['command']}`, {about['machine']}, {about['processors']} processors, load {about['load_before']} "
        f"before, {about['load_after']} after.\n"
    )
    parts.append("## What is asked for\n")
    rows = []
    for one in result["bars"]:
        sign = "≥" if one["at_least"] else "≤"
        low, high = _figure(one["low"], one["percent"]), _figure(one["high"], one["percent"])
        rows.append(
            [
                f"{one['group']}: {one['says']}",
                f"{sign} {_figure(one['limit'], one['percent'])}",
                f"{_figure(one['value'], one['percent'])} ({low} … {high})",
                "✓" if one["met"] else "✗",
            ]
        )
    parts.append(table(["", "asked", "found (95 % interval over sounds)", ""], rows))
    for group, trackers in result["groups"].items():
        parts.append(f"## {group[0].upper()}{group[1:]}\n\n{result['sets'][group]}\n")
        parts.append(_group_table(trackers))
    parts.append("## What is no single voice\n\nMedian confidence, and its 95 % quantile.\n")
    names = list(next(iter(result["confidence"].values())))
    rows = [
        [what, *(f"{one[name][0]:.2f}, {one[name][1]:.2f}" for name in names)]
        for what, one in result["confidence"].items()
    ]
    parts.append(table(["", *names], rows))
    parts.append("## Time\n\nProcessor time of a hop, microseconds, side by side in one run.\n")
    parts.append(table(["", "µs"], [[name, f"{value:.0f}"] for name, value in result["microseconds"].items()]))
    parts.append(pictures)
    parts += [f"{sentence}  \n" for sentence in result["missing"]]
    return "\n".join(parts)


def _group_table(trackers: dict[str, dict[str, float]]) -> str:
    columns = {
        "median_cents": ("median, cents", False),
        "close": ("within 50 cents", True),
        "octave": ("octave errors", True),
        "gliding_close": ("gliding, within 50", True),
        "settled_close": ("150 ms after a change, within 50", True),
        "onset_in_25_ms": ("onsets ≤ 25 ms", True),
        "onset_median_ms": ("onset median, ms", False),
        "onset_75_ms": ("75 %, ms", False),
        "onset_90_ms": ("90 %, ms", False),
    }
    used = {key: says for key, says in columns.items() if any(key in one for one in trackers.values())}
    rows = [
        [name, *(_figure(one[key], percent) if key in one else "" for key, (_, percent) in used.items())]
        for name, one in trackers.items()
    ]
    return table(["", *(says for says, _ in used.values())], rows)


def _figure(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.1f}"


def draw(groups: dict[str, dict[str, list[Tracked]]], out: Path) -> str:
    """How the errors and the onset delays are distributed."""
    figure = picture((11, 4.2))
    left, right = figure.subplots(1, 2)
    for name, found in groups["phrases of one voice"].items():
        off = np.sort(np.abs(np.concatenate([one.cents for one in found])))
        left.plot(np.maximum(off, 0.1), np.linspace(0, 100, len(off)), label=name)
    for name, found in groups["held-out notes"].items():
        delays = np.sort(np.minimum(np.concatenate([one.onset_ms for one in found]), 999))
        right.plot(delays, np.linspace(0, 100, len(delays)), label=name)
    left.set(xscale="log", xlim=(0.1, 3000), xlabel="error, cents", ylabel="% of frames", title="phrases of one voice")
    left.axvline(50, color="grey", lw=0.7)
    right.set(xlim=(0, 150), xlabel="ms after the onset", ylabel="% of onsets right", title="held-out notes")
    right.axvline(25, color="grey", lw=0.7)
    for axes in (left, right):
        axes.legend(fontsize=8, loc="lower right")
        axes.grid(alpha=0.3)
    return save_picture(figure, out, "errors", "Distribution of errors and of onset delays")
