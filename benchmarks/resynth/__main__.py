"""python -m benchmarks.resynth [--data DIR] --out DIR: the resynth output compared with 32 rounds of Griffin-Lim.

*Real* magnitudes are a held-out note's own frames, *decoded* ones what the model makes of them (streaming, no edit, as
loud as the frames). Both are resynthesised with rebuilt phases (0), with the input's (1) and half way, sample by sample
as on stage, and by Griffin and Lim, who see the whole note at once. The latency that the runtime reports is taken off,
then the frames of what came out are compared with the magnitudes that went in: spectral convergence and log-spectral
distance, over frames within 40 dB of the loudest, down to 60 dB below each frame's peak.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.resynth.material import Note, amplitudes_of, griffin_lim, read_notes, resynthesised
from benchmarks.resynth.measure import Distance, attack, cents_off, distance
from benchmarks.resynth.report import as_markdown, pictures
from realtime.bundle import BundleError, Features, embedded_bundle, load_bundle
from realtime.hop.model import EngineError
from realtime.outputs.resynth.layout import layout_of
from realtime.outputs.resynth.resynth import Resynth
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser, number
from training.evaluation.report import command_line, environment, write_report

LATENCIES_MS = (3.0, 6.0, 9.0, 12.0, 16.0, 23.2, 50.0)
PHASES = (0.0, 0.5, 1.0)
MOMENTA = (0.0, 0.99)
KINDS = ("real", "decoded")
DEFAULT_MS = 6.0


@dataclass(frozen=True)
class Way:
    """One latency, phase and kind of magnitudes, over all notes."""

    latency_samples: int
    phase: float
    kind: str
    ms_per_hop: float
    distances: list[Distance]


def measure_way(
    features: Features, notes: list[Note], latency_ms: float, phase: float, kind: str
) -> tuple[Way, list[np.ndarray]]:
    """The figures and the sounds."""
    resynth = Resynth(features, features.sample_rate, latency_ms, features.hop_samples)
    sounds, distances, hops, started = [], [], 0, time.process_time()
    for note in notes:
        amplitudes = getattr(note, kind)
        sounds.append(resynthesised(resynth, features, note, amplitudes, phase))
        hops += len(amplitudes)
    seconds = time.process_time() - started
    for note, sound in zip(notes, sounds, strict=True):
        distances.append(distance(amplitudes_of(features, sound), getattr(note, kind)))
    return Way(resynth.latency_samples, phase, kind, 1000 * seconds / hops, distances), sounds


def measure_reference(features: Features, notes: list[Note], momentum: float, kind: str) -> list[Distance]:
    """Griffin-Lim's figures."""
    wanted = [getattr(note, kind) for note in notes]
    return [distance(amplitudes_of(features, griffin_lim(features, one, momentum)), one) for one in wanted]


def figures(distances: list[Distance], reference: list[Distance] | None = None) -> dict[str, float]:
    """Medians and means, and in how many notes they are at least as good as the reference."""
    result: dict[str, float] = {}
    for name in ("convergence", "log_db"):
        values = np.array([getattr(one, name) for one in distances])
        result |= {f"{name}_median": float(np.median(values)), f"{name}_mean": float(values.mean())}
        if reference is not None:
            result[f"{name}_as_good"] = float(np.mean(values <= np.array([getattr(one, name) for one in reference])))
    return result


def kept(features: Features, notes: list[Note], sounds: list[np.ndarray]) -> dict[str, Any]:
    """Pitch and attacks of the resynthesised notes against the dry ones."""
    rate = features.sample_rate
    cents = [
        off
        for note, sound in zip(notes, sounds, strict=True)
        if (off := cents_off(sound, note.sound, rate)) is not None
    ]
    plucked = [
        (attack(sound, rate), attack(note.sound, rate))
        for note, sound in zip(notes, sounds, strict=True)
        if note.plucked
    ]
    result: dict[str, Any] = {"pitched_notes": len(cents), "plucked_notes": len(plucked)}
    if cents:
        result |= {
            "cents_median": float(np.median(np.abs(cents))),
            "cents_p95": float(np.percentile(np.abs(cents), 95)),
        }
    if plucked:
        later = [found.half_ms - dry.half_ms for found, dry in plucked]
        result |= {
            "attack_later_ms_median": float(np.median(later)),
            "attack_off_ms_worst": float(max(map(abs, later))),
        }
        result |= {"rise_ms_median": float(np.median([found.rise_ms for found, _ in plucked]))}
        result |= {"dry_rise_ms_median": float(np.median([dry.rise_ms for _, dry in plucked]))}
    return result


def measure(features: Features, notes: list[Note], out: Path | None) -> dict[str, Any]:
    """Everything, by kind of magnitudes."""
    result: dict[str, Any] = {"griffin_lim": {}, "default": {}, "by_latency": {}, "kept": {}}
    heard: dict[str, list[np.ndarray]] = {}
    for kind in KINDS:
        references = {momentum: measure_reference(features, notes, momentum, kind) for momentum in MOMENTA}
        result["griffin_lim"][kind] = {str(momentum): figures(found) for momentum, found in references.items()}
        rows = []
        for phase in PHASES:
            way, sounds = measure_way(features, notes, DEFAULT_MS, phase, kind)
            rows.append({"phase": phase, "ms_per_hop": way.ms_per_hop} | figures(way.distances, references[0.0]))
            if kind == "real" or phase == 0.0:
                result["kept"][f"{kind} magnitudes, phase {phase:g}"] = kept(features, notes, sounds)
            if phase == 0.0:
                heard[kind] = sounds
        result["default"][kind] = rows
        result["by_latency"][kind] = _by_latency(features, notes, kind, references[0.0])
    result["pictures"] = pictures(features, notes, heard, result, out) if out else ""
    return result


def _by_latency(features: Features, notes: list[Note], kind: str, reference: list[Distance]) -> list[dict[str, float]]:
    """Rebuilt phases; latencies for which the nearest possible is the same are measured once."""
    ways: dict[int, tuple[Way, float]] = {}
    rows = []
    for asked_ms in LATENCIES_MS:
        samples = layout_of(features, asked_ms).latency
        if samples not in ways:
            ways[samples] = measure_way(features, notes, asked_ms, 0.0, kind)[0], 1000 * samples / features.sample_rate
        way, is_ms = ways[samples]
        about = {"asked_ms": asked_ms, "latency_samples": samples, "latency_ms": is_ms, "ms_per_hop": way.ms_per_hop}
        rows.append(about | figures(way.distances, reference))
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.resynth", description="The resynth way out beside Griffin-Lim.")
    parser.add_argument(
        "--data", type=Path, help="data set directory, its test notes are taken; default: the shipped calibration notes"
    )
    parser.add_argument("--bundle", type=Path, default=embedded_bundle(), help="default: the embedded one")
    parser.add_argument("--out", type=Path, help="folder for report.md, report.json and figures")
    parser.add_argument("--notes", type=number(1, 10000, int), default=42)
    parser.add_argument("--seed", type=number(0, 2**31, int), default=0)
    options: argparse.Namespace = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    try:
        bundle = load_bundle(options.bundle)
        features = bundle.manifest.features
        notes, source = read_notes(bundle, options.data, options.notes, options.seed)
        result = measure(features, notes, options.out)
        about = environment() | {
            "command": command_line(
                "python -m benchmarks.resynth", arguments if arguments is not None else sys.argv[1:]
            ),
            "notes": len(notes),
            "source": source,
            "load_before": round(load, 1),
            "load_after": round(os.getloadavg()[0], 1),
            "hop_ms": 1000 * features.hop_seconds,
        }
        text = as_markdown(__doc__ or "", about, result)
        if options.out:
            write_report(
                options.out, text, {"about": about} | {key: value for key, value in result.items() if key != "pictures"}
            )
    except (BundleError, EngineError, DataError, OSError) as error:
        print(f"benchmarks.resynth: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
