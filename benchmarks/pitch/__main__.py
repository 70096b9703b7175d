"""python -m benchmarks.pitch --data DIR --phrases DIR [--other DIR] --out DIR: the pitch tracker, others beside it, on
sounds whose pitch is known. Frames count from 25 ms after a note has begun, within 40 dB of the loudest.
All trackers hear only the past and are compared with the pitch at that very moment, but pYIN, which sees the whole
sound. Phrases of one voice are held-out notes bent and joined; in rendered phrases the note before rings on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pitch.material import PitchedSound, chords, one_voice, read_notes, read_phrases, tone, unpitched
from benchmarks.pitch.measure import Tracked, compare, pooled
from benchmarks.pitch.report import NOTES, VOICE, as_markdown, draw, verdicts
from benchmarks.pitch.trackers import Tracker, judge, trackers
from realtime.bundle import Features, embedded_bundle, load_bundle
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser, number
from training.evaluation.report import command_line, environment, write_report

JUDGED = 20  # sounds of each set that pYIN hears; it is slow
Groups = dict[str, dict[str, list[Tracked]]]  # by set of sounds and tracker
ONSET_HZ = (110.0, 147.0, 220.0, 440.0, 880.0, 1760.0)


def synthetic_onsets(rate: int) -> list[PitchedSound]:
    """Harmonic tones that begin at full level, at eight phases and places in a hop each."""
    found = []
    for f0 in ONSET_HZ:
        for place in range(8):
            start = 5000 + 33 * place
            audio = np.concatenate([np.zeros(start), tone(f0, rate, 0.3, phase=0.8 * place)])
            midi = np.full(len(audio), 69 + 12 * np.log2(f0 / 440))
            midi[:start] = np.nan
            found.append(PitchedSound(audio, midi, "tone", (start,), (start,)))
    return found


def track_all(found: dict[str, Tracker], judged: Tracker | None, sounds: list[PitchedSound], features: Features) -> Any:
    """Every tracker over every sound."""
    rate, hop = features.sample_rate, features.hop_samples
    result: dict[str, list[Tracked]] = {}
    for name, tracker in found.items():
        result[name] = [compare(sound, tracker(sound.audio)[0], rate, hop) for sound in sounds]
    if judged is not None:
        result["pYIN (sees the future)"] = [
            compare(sound, judged(sound.audio)[0], rate, hop) for sound in sounds[:JUDGED]
        ]
    return result


def confidences(found: dict[str, Tracker], sounds: dict[str, list[np.ndarray]]) -> dict[str, dict[str, list[float]]]:
    """Median and 95 % quantile of the confidence, from 100 ms on."""
    result: dict[str, dict[str, list[float]]] = {}
    for what, group in sounds.items():
        result[what] = {}
        for name, tracker in found.items():
            values = np.concatenate([tracker(sound)[1][17:] for sound in group])
            result[what][name] = [float(np.median(values)), float(np.quantile(values, 0.95))]
    return result


def microseconds(found: dict[str, Tracker], sound: np.ndarray, hop: int) -> dict[str, float]:
    """Processor time of a hop, the least of three rounds."""
    result = {}
    for name, tracker in found.items():
        rounds = []
        for _ in range(3):
            started = time.process_time()
            tracker(sound)
            rounds.append(time.process_time() - started)
        result[name] = 1e6 * min(rounds) / (len(sound) // hop)
    return result


def measure(
    options: argparse.Namespace, features: Features
) -> tuple[dict[str, Any], dict[str, dict[str, list[Tracked]]]]:
    rate, count, seed = features.sample_rate, options.sounds, options.seed
    found, missing = trackers(features)
    judged = judge(features) if options.judge else None
    notes = read_notes(options.data, count, seed)
    voice = one_voice(notes, count, rate, seed)
    sets = {
        NOTES: (notes, "Notes of the test split, each after silence."),
        VOICE: (voice, "The same notes: level, with vibrato, gliding; joined or with rests."),
        "rendered phrases": (read_phrases(options.phrases, count, seed), "Legato, glides, vibrato; notes ring on."),
        "synthetic onsets": (synthetic_onsets(rate), "Ten partials, at full level from the first sample."),
    }
    if options.other is not None:
        sets["another SoundFont"] = (read_notes(options.other, count, seed, None), "Notes of another SoundFont.")
    groups = {}
    for name, (sounds, _) in sets.items():
        groups[name] = track_all(found, None if name == "synthetic onsets" else judged, sounds, features)
    noise = unpitched(options.data, rate, count, seed) | {f"a {name}": [sound] for name, sound in chords(rate).items()}
    result = {
        "bars": verdicts(groups, seed),
        "groups": {group: {name: pooled(one) for name, one in rows.items()} for group, rows in groups.items()},
        "sets": {name: f"{len(sounds)} sounds. {says}" for name, (sounds, says) in sets.items()},
        "confidence": confidences({name: one for name, one in found.items() if "yin" not in name}, noise),
        "microseconds": microseconds(found, notes[0].audio, features.hop_samples),
        "missing": missing,
    }
    return result, groups


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.pitch", description="The pitch tracker, others beside it.")
    parser.add_argument("--data", type=Path, required=True, help="data set of single notes, its test notes are taken")
    parser.add_argument("--phrases", type=Path, required=True, help="data set of phrases (training.data.sequences)")
    parser.add_argument("--other", type=Path, help="data set of notes from another source")
    parser.add_argument("--out", type=Path, help="folder for report.md, report.json and the figure")
    parser.add_argument("--sounds", type=number(1, 100000, int), default=200, help="of each set; default: %(default)s")
    parser.add_argument("--seed", type=number(0, 2**31, int), default=0)
    parser.add_argument("--judge", action=argparse.BooleanOptionalAction, default=True, help="pYIN too; slow")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    try:
        features = load_bundle(embedded_bundle()).manifest.features
        result, groups = measure(options, features)
        about = environment() | {
            "command": command_line("python -m benchmarks.pitch", arguments if arguments is not None else sys.argv[1:]),
            "load_before": round(load, 1),
            "load_after": round(os.getloadavg()[0], 1),
        }
        text = as_markdown(__doc__ or "", about, result, draw(groups, options.out) if options.out else "")
        if options.out:
            write_report(options.out, text, {"about": about} | result)
    except (DataError, OSError) as error:
        print(f"benchmarks.pitch: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
