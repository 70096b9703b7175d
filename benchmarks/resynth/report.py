"""report.md and the figures of `benchmarks.resynth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.resynth.material import Note, amplitudes_of, griffin_lim
from realtime.bundle import Features
from realtime.dsp.decibels import decibels_of
from training.evaluation.report import picture, save_picture, table

MEASURES = (("convergence", "spectral convergence", "{:.3f}"), ("log_db", "log-spectral distance, dB", "{:.2f}"))
HEADER = ("median", "mean")
SHOWN_HZ = 6000


def as_markdown(doc: str, about: dict[str, Any], result: dict[str, Any]) -> str:
    parts = ["# Resynth beside Griffin-Lim", doc.split("\n\n", 1)[1].strip().replace("\n", " ")]
    machine = (
        f"{about['machine']}, {about['processors']} processors, load {about['load_before']} before, "
        f"{about['load_after']} after"
    )
    parts.append(
        f"{about['notes']} notes: {about['source']}. `{about['command']}`, {machine}; processor time of one thread."
    )
    for kind in result["default"]:
        rows = [
            [f"Griffin-Lim, 32 rounds, momentum {momentum}", *_cells(found), ""]
            for momentum, found in result["griffin_lim"][kind].items()
        ]
        rows += [
            [f"resynth, 6 ms, phase {row['phase']:g}", *_cells(row), f"{row['ms_per_hop']:.2f}"]
            for row in result["default"][kind]
        ]
        parts += [f"## From {kind} magnitudes", table(_header("way", "ms per hop"), rows), _verdict(kind, result)]
        rows = [_latency_row(row) for row in result["by_latency"][kind]]
        parts += [
            "With rebuilt phases (0), by latency:",
            table(_header("asked, ms", "samples", "is, ms", "ms per hop"), rows),
        ]
    parts += ["## Pitch and attacks at 6 ms", table(*_kept_rows(result["kept"])), result["pictures"]]
    parts.append(
        f"A hop lasts {about['hop_ms']:.1f} ms. *As good* is the share of notes at least as good as Griffin-Lim "
        "without momentum."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(first: str, *more: str) -> list[str]:
    names = [f"{name}, {which}" for _, name, _ in MEASURES for which in (*HEADER, "as good")]
    return [first, *more, *names] if len(more) > 1 else [first, *names, *more]


def _cells(found: dict[str, float]) -> list[str]:
    cells = []
    for key, _, form in MEASURES:
        cells += [form.format(found[f"{key}_{which}"]) for which in HEADER]
        cells.append(f"{100 * found[f'{key}_as_good']:.0f} %" if f"{key}_as_good" in found else "")
    return cells


def _latency_row(row: dict[str, float]) -> list[str]:
    return [
        f"{row['asked_ms']:g}",
        f"{row['latency_samples']}",
        f"{row['latency_ms']:.1f}",
        f"{row['ms_per_hop']:.2f}",
        *_cells(row),
    ]


def _verdict(kind: str, result: dict[str, Any]) -> str:
    """Which setting comes up to Griffin-Lim without momentum, for each measure."""
    reference = result["griffin_lim"][kind]["0.0"]
    sentences = []
    for key, name, form in MEASURES:
        limit = reference[f"{key}_median"]
        phases = [f"{row['phase']:g}" for row in result["default"][kind] if row[f"{key}_median"] <= limit]
        enough = [row["latency_ms"] for row in result["by_latency"][kind] if row[f"{key}_median"] <= limit]
        met = f"at 6 ms met with phase {', '.join(phases)}" if phases else "at 6 ms not met"
        rebuilt = (
            f"rebuilt phases meet it from {min(enough):.1f} ms" if enough else "rebuilt phases meet it at no latency"
        )
        sentences.append(f"{name[0].upper() + name[1:]} (median) at most {form.format(limit)}: {met}; {rebuilt}.")
    return " ".join(sentences)


def _kept_rows(kept: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    names = {
        "pitched_notes": ("pitched notes", "{:d}"),
        "cents_median": ("pitch off, cents, median", "{:.2f}"),
        "cents_p95": ("pitch off, cents, 95 %", "{:.2f}"),
        "plucked_notes": ("plucked notes", "{:d}"),
        "attack_later_ms_median": ("half level later, ms, median", "{:.2f}"),
        "attack_off_ms_worst": ("half level off, ms, worst", "{:.2f}"),
        "rise_ms_median": ("rise 10 … 90 %, ms, median", "{:.1f}"),
        "dry_rise_ms_median": ("the same, dry", "{:.1f}"),
    }
    rows = [
        [way, *(form.format(found[key]) if key in found else "" for key, (_, form) in names.items())]
        for way, found in kept.items()
    ]
    return ["", *(name for name, _ in names.values())], rows


def pictures(
    features: Features, notes: list[Note], heard: dict[str, list[np.ndarray]], result: dict[str, Any], out: Path
) -> str:
    """Spectrograms of one note, and quality against latency."""
    chosen = next((k for k, note in enumerate(notes) if note.plucked), 0)
    figure = picture((13, 7))
    for row, kind in enumerate(heard):
        wanted = getattr(notes[chosen], kind)
        shown = {
            f"{kind} magnitudes": wanted,
            "resynth, 6 ms, phase 0": amplitudes_of(features, heard[kind][chosen]),
            "Griffin-Lim": amplitudes_of(features, griffin_lim(features, wanted, 0.0)),
        }
        for column, (title, amplitudes) in enumerate(shown.items()):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            bins = round(SHOWN_HZ * features.window_samples / features.sample_rate)
            decibels = decibels_of(amplitudes[:120, :bins].T / wanted.max() + 1e-4)
            axes.imshow(
                decibels,
                origin="lower",
                aspect="auto",
                vmin=-80,
                vmax=0,
                extent=(0, 120 * features.hop_seconds, 0, SHOWN_HZ / 1000),
            )
            axes.set(title=f"{title}\n{notes[chosen].name}" if column == 0 else title, xlabel="s", ylabel="kHz")
    text = save_picture(figure, out, "spectrograms", "One note's magnitudes and what becomes of them")
    figure = picture((10, 4))
    for place, (key, name, _) in enumerate(MEASURES):
        axes = figure.add_subplot(1, 2, place + 1)
        for kind, rows in result["by_latency"].items():
            (line,) = axes.plot(
                [row["latency_ms"] for row in rows],
                [row[f"{key}_median"] for row in rows],
                "o-",
                label=f"{kind}, phase 0",
            )
            axes.axhline(
                result["griffin_lim"][kind]["0.0"][f"{key}_median"],
                linestyle="--",
                color=line.get_color(),
                label=f"{kind}, Griffin-Lim",
            )
        axes.set(xlabel="latency, ms", ylabel=name, ylim=(0, None))
        axes.legend()
    return text + "\n" + save_picture(figure, out, "quality-by-latency", "Quality against latency")
