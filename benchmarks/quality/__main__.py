"""python -m benchmarks.quality ckpt.pt --data DIR [--other DIR] --out DIR: is a harmonic model worth playing?

*Envelope distance* as in `benchmarks.envelope`: mean squared difference of the mean spectral envelopes to the real note
of the target instrument, the untouched sound's being 1. Equalisers know both instruments' mean envelopes over training
sounds, over all pitches or near the note's. The morph is the shipped S1 model's, with its preset. The synthesizer plays
whole sounds from the decoded harmonics and noise; its presets are means of training notes. The pitch of what it plays
is judged by YIN against the note's name, so what a sample is out of tune counts. Distances are medians.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.envelope import choose_pairs
from benchmarks.quality.instrument import Instrument
from benchmarks.quality.measure import Distances, Judge, pairs_across, playable
from realtime.bundle import BundleError, embedded_bundle, load_bundle
from training.checkpoint import CheckpointError
from training.data.manifest import DataError, read_dataset
from training.data.options import Parser, number
from training.evaluation.bootstrap import interval
from training.evaluation.report import command_line, environment, picture, save_picture, table, write_report

SYNTH = "synth, preset near the pitch"


def figure_of(values: np.ndarray, seed: int) -> list[float]:
    """Median, its 95 % interval, quartiles."""
    low, high = interval(values, lambda rows: float(np.median(values[rows])), seed=seed)
    return [float(np.median(values)), low, high, *(float(one) for one in np.percentile(values, [25, 75]))]


def figures(found: Distances, seed: int) -> dict[str, Any]:
    """Everything that was measured on one set of pairs."""
    cents = np.concatenate(found.cents)
    synth = np.array(found.ways[SYNTH])
    beats = {way: float(np.mean(synth < np.array(values))) for way, values in found.ways.items() if way != SYNTH}
    close = np.array([float((one < 50).mean()) if len(one) else np.nan for one in found.cents])
    return {
        "pairs": len(synth),
        "distances": {way: figure_of(np.array(values), seed) for way, values in found.ways.items()},
        "synth_nearer_than": beats,
        "median_cents": float(np.median(cents)),
        "within_50_cents": float((cents < 50).mean()),
        "within_50_cents_interval": list(interval(close[np.isfinite(close)], seed=seed)),
        "level_db": figure_of(np.array(found.level_db), seed),
        "squared_error": figure_of(np.array(found.squared_error), seed),
    }


def as_markdown(about: dict[str, Any], result: dict[str, dict[str, Any]], pictures: str) -> str:
    doc = " ".join((__doc__ or "").split("\n\n", 1)[1].split())
    parts = [
        f"# Is the instrument worth playing?\n\n{doc}\n\n`{about['command']}`, {about['processors']} processors.\n"
    ]
    for name, one in result.items():
        parts.append(f"## {name[0].upper()}{name[1:]}\n\n{one['pairs']} pairs.\n")
        rows = [["dry", "1.000", "", "", ""]]
        for way, (median, low, high, lower, upper) in one["distances"].items():
            nearer = one["synth_nearer_than"].get(way)
            rows.append(
                [
                    way,
                    f"{median:.3f}",
                    f"{low:.3f} … {high:.3f}",
                    f"{lower:.2f} … {upper:.2f}",
                    "" if nearer is None else f"{100 * nearer:.0f} %",
                ]
            )
        parts.append(
            table(["", "distance", "95 % interval", "quartiles", "pairs in which the synth's preset is nearer"], rows)
        )
        (level, *_), (error, *_) = one["level_db"], one["squared_error"]
        low, high = one["within_50_cents_interval"]
        found = one["distances"][SYNTH][0]
        rows = [
            ["envelope distance to a preset", "≤ 0.25", f"{found:.3f}", _mark(found <= 0.25)],
            [
                "pitch of the synth, median error in cents",
                "≤ 5",
                f"{one['median_cents']:.1f}",
                _mark(one["median_cents"] <= 5),
            ],
            [
                "frames within 50 cents",
                "≥ 97 %",
                f"{100 * one['within_50_cents']:.1f} % ({100 * low:.1f} … {100 * high:.1f})",
                _mark(one["within_50_cents"] >= 0.97),
            ],
            ["reconstruction, squared error per bin", "≤ 0.60", f"{error:.3f}", _mark(error <= 0.6)],
            ["level of a reconstruction, dB", "± 1", f"{level:+.2f}", _mark(abs(level) <= 1)],
        ]
        parts.append(table(["", "asked", "found", ""], rows))
    return "\n".join([*parts, pictures])


def _mark(met: bool) -> str:
    return "✓" if met else "✗"


def draw(result: dict[str, Distances], out: Path) -> str:
    """The distribution of the distances."""
    figure = picture((5.5 * len(result), 4.2))
    for i, (name, found) in enumerate(result.items()):
        axes = figure.add_subplot(1, len(result), i + 1)
        axes.boxplot(list(found.ways.values()), orientation="horizontal", whis=(10, 90), showfliers=False)
        axes.set_yticks(range(1, len(found.ways) + 1), list(found.ways), fontsize=8)
        axes.axvline(1, color="grey", lw=0.8)
        axes.set(xlim=(0, 2.5), xlabel="envelope distance, dry = 1", title=name)
        axes.invert_yaxis()
    return save_picture(figure, out, "distances", "Envelope distances: median, quartiles, 10 and 90 %")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.quality", description="Is a harmonic model worth playing?")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set of notes; its test notes are played")
    parser.add_argument("--other", type=Path, help="notes of a source that was never trained on")
    parser.add_argument(
        "--bundle", type=Path, default=embedded_bundle(), help="S1 model beside it; default: the embedded one"
    )
    parser.add_argument("--out", type=Path, help="folder for report.md, report.json and the figure")
    parser.add_argument("--pairs", type=number(1, 10000, int), default=120)
    parser.add_argument("--per-class", type=number(1, 10000, int), default=40, help="sounds of each equaliser's means")
    parser.add_argument("--seed", type=number(0, 2**31, int), default=0)
    options = parser.parse_args(arguments)
    try:
        instrument, live = Instrument(options.checkpoint), load_bundle(options.bundle)
        everything = read_dataset(options.data)
        if {everything.sample_rate, live.manifest.features.sample_rate} != {instrument.sample_rate}:
            raise DataError(
                f"{options.data} is at {everything.sample_rate} Hz, the model at {instrument.sample_rate} Hz and the "
                f"bundle at {live.manifest.features.sample_rate} Hz; they must be the same"
            )
        rng, names = np.random.default_rng(options.seed), {preset.name for preset in live.manifest.presets}
        test, train = everything.select(split="test"), everything.select(split="train")
        judge = Judge(instrument, live, train, options.per_class, options.seed)
        chosen = playable(test, choose_pairs(test, names, 4 * options.pairs, rng), options.pairs)
        if not chosen:
            raise DataError(f"{options.data} has no two test notes of one pitch that are presets; render more programs")
        found = {"held-out notes": judge.pairs(test, test, chosen, "held-out notes")}
        if options.other is not None:
            other = read_dataset(options.other)
            across = pairs_across(other, test, names, options.pairs, rng)
            found["a source never trained on"] = judge.pairs(other, test, across, "another source")
        result = {name: figures(one, options.seed) for name, one in found.items()}
        words = arguments if arguments is not None else sys.argv[1:]
        about = environment() | {
            "command": command_line("python -m benchmarks.quality", words),
            "model": instrument.info,
        }
        about["load_after"] = round(os.getloadavg()[0], 1)
        text = as_markdown(about, result, draw(found, options.out) if options.out else "")
        if options.out:
            write_report(options.out, text, {"about": about} | result)
    except (BundleError, CheckpointError, DataError, OSError) as error:
        print(f"benchmarks.quality: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
