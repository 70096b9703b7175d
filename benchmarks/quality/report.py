"""The bars, tables and figures of benchmarks.quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.measure import MORPH, PITCHED_EQUALISER, SYNTH, Distances
from training.evaluation.bootstrap import interval
from training.evaluation.report import picture, save_picture, table
from training.knobs.descriptors import DESCRIPTORS

HELD_OUT = "held-out notes"
Bar = dict[str, Any]


def spread(values: np.ndarray, seed: int) -> list[float]:
    """Median, its 95 % interval, quartiles."""
    low, high = interval(values, lambda rows: float(np.median(values[rows])), seed=seed)
    return [float(np.median(values)), low, high, *(float(one) for one in np.percentile(values, [25, 75]))]


def figures_of(found: Distances, seed: int) -> dict[str, Any]:
    """Everything that was measured on one set of pairs."""
    rows = {name: np.array(getattr(found, name)) for name in ("level_db", "squared_error", "multi_scale", "attack_ms")}
    synth = np.array(found.ways[SYNTH])
    return {
        "count": len(synth),
        "distances": {way: spread(np.array(values), seed) for way, values in found.ways.items()},
        "nearer": {way: float(np.mean(synth < np.array(values))) for way, values in found.ways.items() if way != SYNTH},
        **{name: spread(values, seed) for name, values in rows.items()},
        "attack_off_ms": spread(np.abs(rows["attack_ms"]), seed),
    }


def bar(what: str, asked: str, values: tuple[float, float, float], met: bool, form: str = "{:.3f}") -> Bar:
    """values : found, low, high"""
    found, low, high = (form.format(value) for value in values)
    shown = found if low == high == found or not np.isfinite(values[1]) else f"{found} ({low} … {high})"
    return {"what": what, "asked": asked, "found": shown, "value": round(float(values[0]), 5), "met": bool(met)}


def _share(values: list[np.ndarray], seed: int) -> tuple[float, float, float]:
    """Of frames within 50 cents, and its interval over sounds."""
    whole = np.concatenate(values)
    counts = np.array([[float((one < 50).sum()), float(len(one))] for one in values if len(one)])

    def pooled(rows: np.ndarray) -> float:
        return float(counts[rows, 0].sum() / counts[rows, 1].sum())

    return float((whole < 50).mean()), *interval(counts, pooled, seed=seed)


def bars_of(result: dict[str, Any], seed: int) -> list[Bar]:
    """What issue and paper ask for, and what was found."""
    held = result["pairs"][HELD_OUT]
    bars = []
    for way in (MORPH, SYNTH):
        median, low, high, *_ = held["distances"][way]
        bars.append(bar(f"envelope distance, {way}, {HELD_OUT}", "≤ 0.25", (median, low, high), median <= 0.25))
    for name, one in result["pairs"].items():
        if name != HELD_OUT:
            (median, low, high, *_), beside = one["distances"][SYNTH], one["distances"][PITCHED_EQUALISER][0]
            asked = f"< {beside:.3f}, the equaliser that knows the pitch"
            bars.append(bar(f"envelope distance, {SYNTH}, {name}", asked, (median, low, high), median < beside))
    for name, values in result["pitch"].items():
        whole = np.concatenate(values)
        if not len(whole):
            continue
        medians = np.array([float(np.median(one)) for one in values if len(one)])
        low, high = spread(medians, seed)[1:3]
        median = float(np.median(whole))
        bars.append(bar(f"pitch of synth, {name}, median cents", "≤ 5", (median, low, high), median <= 5, "{:.1f}"))
        share = _share(values, seed)
        bars.append(bar(f"… frames within 50 cents, {name}", "≥ 97 %", share, share[0] >= 0.97, "{:.1%}"))
    if len(result["keys"]):
        worst = float(result["keys"].max())
        bars.append(bar("all keys A0 – C8, worst, cents", "≤ 5", (worst, np.nan, np.nan), worst <= 5, "{:.1f}"))
    error, low, high, *_ = held["squared_error"]
    bars.append(bar("reconstruction, squared error a bin", "≤ 0.60", (error, low, high), error <= 0.6))
    level, low, high, *_ = held["level_db"]
    bars.append(bar("… loudness error, dB", "± 1", (level, low, high), abs(level) <= 1, "{:+.2f}"))
    attack, low, high, *_ = held["attack_off_ms"]
    bars.append(bar("… attack time off, ms", "≤ 5.8, a hop", (attack, low, high), attack <= 5.8, "{:.1f}"))
    moved = result["transfer"]
    told = np.array([target == best for target, best in moved["told"]], float)
    low, high = interval(told, seed=seed)
    bars.append(
        bar("10 × 10 transfer, F of the names told", "≥ 0.90", (moved["f_score"], low, high), moved["f_score"] >= 0.9)
    )
    rises = bool(np.all(np.diff(moved["alpha"]) > 0))
    bars.append(
        bar(
            "… α from 0 to 1 moves it monotonically, Spearman",
            "rising",
            (moved["alpha_spearman"], np.nan, np.nan),
            rises,
        )
    )
    for axis, row in result["axes"].items():
        bars.append(
            bar(f"axis {axis} moves its own descriptor", "≥ 0.90", (row[axis], np.nan, np.nan), row[axis] >= 0.9)
        )
    for name, least in (("instrument from timbre", 0.85), ("authority of timbre", 0.75)):
        figure = result["latents"][name]
        low, high = figure.interval(seed) if hasattr(figure, "interval") else (np.nan, np.nan)
        bars.append(bar(name, f"≥ {least:.2f}", (figure.value, low, high), figure.value >= least))
    bars.append(
        bar(
            "morph at rest is the input, bit for bit",
            "yes",
            (float(result["rest"]), np.nan, np.nan),
            result["rest"],
            "{:.0f}",
        )
    )
    for way, values in result["levels"].items():
        worst = float(np.abs(values).max())
        bars.append(
            bar(f"level under any preset, {way}, worst dB", "± 1", (worst, np.nan, np.nan), worst <= 1, "{:.2f}")
        )
    return bars


def as_markdown(
    doc: str,
    about: dict[str, Any],
    bars: list[Bar],
    result: dict[str, Any],
    pictures: dict[str, str],
    seed: int,
) -> str:
    marks = [[one["what"], one["asked"], one["found"], "✓" if one["met"] else "✗"] for one in bars]
    parts = [
        f"# Is the instrument worth playing?\n\n{doc}\n\n`{about['command']}`, {about['processors']} processors.\n",
        "## What is asked for\n",
        table(["", "asked", "found (95 % interval)", ""], marks),
    ]
    for name, one in result["pairs"].items():
        rows = [["dry", "1.000", "", "", ""]]
        for way, (median, low, high, lower, upper) in one["distances"].items():
            nearer = one["nearer"].get(way)
            told = "" if nearer is None else f"{100 * nearer:.0f} %"
            rows.append([way, f"{median:.3f}", f"{low:.3f} … {high:.3f}", f"{lower:.2f} … {upper:.2f}", told])
        parts.append(f"## Envelope distance: {name}\n\n{one['count']} pairs.\n")
        parts.append(table(["", "distance", "95 % interval", "quartiles", "pairs in which synth is nearer"], rows))
        if name == HELD_OUT:
            parts.append(
                f"A reconstruction's multi-scale spectral distance is {one['multi_scale'][0]:.3f}, its attack "
                f"{one['attack_ms'][0]:+.1f} ms beside the sound's (median; quartiles {one['attack_ms'][3]:+.1f} … "
                f"{one['attack_ms'][4]:+.1f}).\n"
            )
    parts.append(pictures.get("distances", ""))
    moved = result["transfer"]
    parts.append(
        "## Transfer\n\nRows: whose notes are played; columns: whose preset. Each cell is the share of notes whose "
        f"target the classifier names. Of original test notes it names F = {moved['f_originals']:.3f}. As α goes 0, ¼, "
        f"½, ¾, 1, the mean probability of the target goes {', '.join(f'{value:.2f}' for value in moved['alpha'])}.\n"
    )
    short = [name[:12] for name in moved["names"]]
    cells = [
        [name, *(f"{value:.2f}" for value in row)] for name, row in zip(moved["names"], moved["matrix"], strict=True)
    ]
    parts += [table(["", *short], cells), pictures.get("transfer", "")]
    if result["axes"]:
        rows = [[axis, *(f"{row[name]:+.2f}" for name in DESCRIPTORS)] for axis, row in result["axes"].items()]
        parts.append(
            "## Axes\n\nSpearman's correlation of every labelled axis with every descriptor of what is played.\n"
        )
        parts.append(table(["axis", *DESCRIPTORS], rows))
    figures = [[name, f"{figure.value:.3f}"] for name, figure in result["latents"].items()]
    parts += ["## Latents\n", table(["", "found"], figures)]
    if not result["synthetic"]:
        parts.append("espeak-ng is not installed here, so speech and sung vowels were not played.\n")
    return "\n".join(parts)


def draw(found: dict[str, Distances], result: dict[str, Any], out: Path) -> dict[str, str]:
    """The distribution of the distances, and the matrix of transfers."""
    figure = picture((5.2 * len(found), 4.4))
    for i, (name, one) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), i + 1)
        axes.boxplot(list(one.ways.values()), orientation="horizontal", whis=(10, 90), showfliers=False)
        axes.set_yticks(range(1, len(one.ways) + 1), list(one.ways) if i == 0 else [""] * len(one.ways), fontsize=8)
        axes.axvline(1, color="grey", lw=0.8)
        axes.axvline(0.25, color="green", lw=0.8)
        axes.set(xlim=(0, 2.5), xlabel="envelope distance, dry = 1", title=name)
        axes.invert_yaxis()
    text = "Envelope distances: median, quartiles, 10 and 90 %"
    pictures = {"distances": save_picture(figure, out, "distances", text)}
    moved = result["transfer"]
    figure = picture((7, 6))
    axes = figure.add_subplot(1, 1, 1)
    image = axes.imshow(moved["matrix"], vmin=0, vmax=1, cmap="viridis")
    places = range(len(moved["names"]))
    axes.set_xticks(places, moved["names"], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(places, moved["names"], fontsize=8)
    axes.set(xlabel="preset", ylabel="played", title="share of notes whose target is named")
    figure.colorbar(image, ax=axes)
    pictures["transfer"] = save_picture(figure, out, "transfer", "Who is named, by who plays and which preset")
    return pictures
