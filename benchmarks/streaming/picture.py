"""The picture of `benchmarks.streaming`: what each form costs per hop and how near it comes to the original."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from benchmarks.streaming.verdict import KNN_POINTS, MSE_SHARE, verdict
from benchmarks.streaming.ways import DISTILLED, DROPPED, FOLDED, ORIGINAL, SLIDING, STUDENT, WINDOWED
from training.evaluation.report import picture

COLOURS = {ORIGINAL: "black", WINDOWED: "tab:purple", DROPPED: "tab:red", FOLDED: "tab:orange", DISTILLED: "tab:blue"}
ALIKE = {SLIDING: FOLDED, STUDENT: DISTILLED}  # drawn alike: S3's without and with learning
HOLLOW = (FOLDED, WINDOWED)  # rings, so that what costs the same and does the same can be seen in each other
MARKERS = {0: "o", 1: "^", 2: "s", 4: "D"}
SMALLEST_POINTS = 0.1  # where a change of nothing is drawn


def quality_against_cost(subjects: dict[str, dict[str, Any]]) -> Picture:
    """Quality over the median time of a hop: a column per system that has fallbacks.

    The upper row shows the MSE, the lower row the farthest k-NN figure.
    """
    shown = [subject for subject in subjects.values() if ORIGINAL in subject["quality"]]
    figure = picture((4.4 * len(shown) + 0.6, 7.6))
    axes = figure.subplots(2, len(shown), squeeze=False, sharex="col", sharey="row")
    seen: list[tuple[str, int]] = []
    for column, subject in enumerate(shown):
        above, below = axes[0][column], axes[1][column]
        original = subject["quality"][ORIGINAL]
        for way, quality in subject["quality"].items():
            cost = subject["speed"]["forms"][way]["median"]
            found = verdict(quality.get("original_there", original), quality)
            kind, lookahead = _kind(way)
            seen.append((kind, lookahead))
            style: dict[str, Any] = {"marker": MARKERS[lookahead], "edgecolors": COLOURS[kind], "linewidths": 1.5}
            style |= {"s": 110, "facecolors": "none"} if kind in HOLLOW else {"s": 34, "facecolors": COLOURS[kind]}
            above.scatter(cost, 1 + found.mse_change, **style)
            below.scatter(cost, max(SMALLEST_POINTS, found.farthest), **style)
        for axis, limit in ((above, 1 + MSE_SHARE), (below, KNN_POINTS)):
            axis.axhline(limit, color="grey", linewidth=0.8, linestyle="--")
            axis.axvline(subject["hop_ms"], color="grey", linewidth=0.8, linestyle=":")
            axis.grid(which="both", alpha=0.15)
        above.set(title=subject["title"], xscale="log", yscale="log")
        below.set(xscale="log", yscale="log", xlabel="ms per hop, median, ONNX Runtime fp32, one core")
    axes[0][0].set_ylabel("MSE ÷ that of the original")
    axes[1][0].set_ylabel("farthest k-NN figure, points off")
    _plain_numbers(axes)
    _legend(figure, seen)
    return figure


def _kind(way: str) -> tuple[str, int]:
    """What it is, and how far it looks ahead."""
    base = ALIKE.get(way, way)
    kind = next(known for known in COLOURS if base.startswith(known))
    return kind, int(base.rsplit("lookahead ", 1)[1]) if "lookahead" in base else 0


def _plain_numbers(axes: Any) -> None:
    """1, 1.05, 2 in place of powers of ten."""
    for axis in axes[0]:
        axis.yaxis.set_major_locator(_at(0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 8, 12))
    for axis in axes[1]:
        axis.yaxis.set_major_locator(_at(SMALLEST_POINTS, 0.5, 1, 2, 5, 10, 20, 50))
    for axis in axes.flat:
        axis.yaxis.set_minor_locator(_at())
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _at(*places: float) -> Any:
    return FixedLocator(list(places))


def _legend(figure: Picture, seen: list[tuple[str, int]]) -> None:
    kinds, lookaheads = {kind for kind, _ in seen}, {lookahead for _, lookahead in seen}
    words = {FOLDED: "folded; S3: sliding window"}
    colours = {words.get(kind, kind): colour for kind, colour in COLOURS.items() if kind in kinds}
    hollow = [words.get(kind, kind) for kind in HOLLOW]
    fill = {True: {"markerfacecolor": "none", "markersize": 9, "markeredgewidth": 1.5}, False: {"markersize": 6}}
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=label, **fill[label in hollow])  # type: ignore[arg-type]
        for label, colour in colours.items()
    ]
    handles += [
        Line2D(
            [],
            [],
            color="grey",
            marker=marker,
            linestyle="",
            label=f"lookahead {frames} hop{'s' if frames > 1 else ''}" if frames else "no lookahead",
        )
        for frames, marker in MARKERS.items()
        if frames in lookaheads
    ]
    handles.append(
        Line2D(
            [],
            [],
            color="grey",
            linestyle="--",
            linewidth=0.8,
            label=f"{MSE_SHARE:.0%} on the MSE, {KNN_POINTS:g} points",
        )
    )
    handles.append(Line2D([], [], color="grey", linestyle=":", linewidth=0.8, label="what a hop lasts"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
