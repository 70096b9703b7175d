"""python -m benchmarks.envelope --data DIR: does a preset come nearer to the real instrument than an equaliser?

*Envelope distance*: each frame's spectral envelope (low quefrencies, level removed, floor 60 dB below the frame's
peak), averaged over the frames within 20 dB of the loudest; mean squared difference to the real target note of the same
pitch, divided by that of the untouched sound, so dry = 1. The morph runs through the runtime's own session, from the
sound to the target's preset. The equaliser knows both instruments: it is the difference of their mean envelopes over
training sounds; the pitched equaliser takes only those within six semitones of the note.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from realtime.bundle import Bundle, BundleError, embedded_bundle, load_bundle
from realtime.dsp.decibels import amplitude_of
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session
from training.console import run_command
from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.options import Parser
from training.data.store import SoundStore
from training.evaluation.report import write_report
from training.features import FeatureConfig, FeatureExtractor

FLOOR_DB, LOUD_DB = 60.0, 20.0
SECONDS = 2.0
NEAR_SEMITONES = 6


@dataclass(frozen=True)
class Pair:
    """Rows of the test sounds: what is played, and the real note it should sound like."""

    source: int
    target: int


class Envelopes:
    """Mean envelopes of sounds, (bins,), natural log, level removed."""

    def __init__(self, bundle: Bundle) -> None:
        f = bundle.manifest.features
        self.features = FeatureExtractor(
            FeatureConfig(f.sample_rate, f.window_samples, f.hop_samples, f.log_floor, f.cutoff_quefrency)
        )

    def of(self, audio: np.ndarray) -> np.ndarray:
        amplitude = self.features.amplitudes(torch.from_numpy(audio.astype(np.float64))[None]).amplitude[0]
        level = amplitude.square().sum(-1).sqrt()
        frames = amplitude[level >= level.max() * amplitude_of(-LOUD_DB)]
        floored = torch.maximum(frames, frames.amax(-1, keepdim=True) * amplitude_of(-FLOOR_DB))
        envelope, _ = self.features.split(torch.log(floored))
        return (envelope - envelope.mean(-1, keepdim=True)).mean(0).numpy()


def choose_pairs(sounds: SoundSet, names: set[str], count: int, rng: np.random.Generator) -> list[Pair]:
    """Random pairs of different instruments at the same pitch and velocity."""
    pairs = []
    for source in rng.permutation(len(sounds)):
        same_note = (sounds.pitch == sounds.pitch[source]) & (sounds.velocity == sounds.velocity[source])
        others = np.flatnonzero(
            same_note & (sounds.instrument != sounds.instrument[source]) & np.isin(sounds.instrument, list(names))
        )
        if len(others) and sounds.instrument[source] in names:
            pairs.append(Pair(int(source), int(rng.choice(others))))
        if len(pairs) == count:
            break
    return pairs


class ClassMeans:
    """Mean envelopes of instruments over training sounds, near a pitch or over all."""

    def __init__(self, train: SoundSet, envelopes: Envelopes, per_class: int, rng: np.random.Generator) -> None:
        self.train, self.envelopes, self.per_class, self.rng = train, envelopes, per_class, rng
        self.store = SoundStore(train)
        self.known: dict[tuple[str, float | None], np.ndarray] = {}

    def of(self, instrument: str, note: float | None) -> np.ndarray:
        """(bins,);  note : MIDI, None for all pitches."""
        if (instrument, note) not in self.known:
            rows = np.flatnonzero(self.train.instrument == instrument)
            if note is not None:
                rows = rows[np.abs(self.train.pitch[rows] - note) <= NEAR_SEMITONES]
            rows = self.rng.permutation(rows)[: self.per_class]
            sounds = [self.store.read(int(row), 0, round(SECONDS * self.train.sample_rate)) for row in rows]
            self.known[instrument, note] = np.mean([self.envelopes.of(sound) for sound in sounds], axis=0)
        return self.known[instrument, note]


def measure(bundle: Bundle, data: Path, *, pairs: int, per_class: int, seed: int) -> dict[str, float]:
    """Median distances over the pairs, and their quartiles for the morph."""
    rng = np.random.default_rng(seed)
    everything = read_dataset(data)
    if everything.sample_rate != bundle.manifest.features.sample_rate:
        raise DataError(
            f"{data} is at {everything.sample_rate} Hz, the bundle at {bundle.manifest.features.sample_rate} Hz; "
            "render it at that rate"
        )
    numbers = {preset.name: k for k, preset in enumerate(bundle.manifest.presets, 1)}
    test, envelopes = everything.select(split="test"), Envelopes(bundle)
    chosen = choose_pairs(test, set(numbers), pairs, rng)
    if not chosen:
        raise DataError(
            f"{data} has no two test notes of the same pitch whose instruments are presets of {bundle.path}; render "
            "more programs"
        )
    means = ClassMeans(everything.select(split="train"), envelopes, per_class, rng)
    store, rate = SoundStore(test), test.sample_rate
    knobs = KnobBank(bundle.manifest)
    session = Session(bundle, knobs, channels=1, sample_rate=rate)
    equaliser: list[float] = []
    pitched_equaliser: list[float] = []
    morph: list[float] = []
    for pair in tqdm(chosen, desc="pairs", disable=None):
        sound, real = (store.read(row, 0, round(SECONDS * rate)) for row in (pair.source, pair.target))
        dry, wanted = envelopes.of(sound), envelopes.of(real)
        unit = np.mean(np.square(dry - wanted))
        names = str(test.instrument[pair.target]), str(test.instrument[pair.source])
        for found, note in ((equaliser, None), (pitched_equaliser, float(test.pitch[pair.source]))):
            equalised = dry + means.of(names[0], note) - means.of(names[1], note)
            found.append(float(np.mean(np.square(equalised - wanted)) / unit))
        knobs.set("preset", numbers[names[0]])
        session.reset()
        morphed = envelopes.of(render(session, sound[:, None], rate)[:, 0])
        morph.append(float(np.mean(np.square(morphed - wanted)) / unit))
    quartiles = np.percentile(morph, [25, 75])
    return {
        "dry": 1.0,
        "equaliser": float(np.median(equaliser)),
        "pitched equaliser": float(np.median(pitched_equaliser)),
        "morph": float(np.median(morph)),
        "morph lower quartile": float(quartiles[0]),
        "morph upper quartile": float(quartiles[1]),
        "pairs in which the morph beats the equaliser": float(np.mean(np.array(morph) < np.array(equaliser))),
        "pairs in which the morph is nearer than dry": float(np.mean(np.array(morph) < 1)),
        "pairs": len(chosen),
        "seed": seed,
    }


def as_markdown(result: dict[str, float], held_out: dict[str, float]) -> str:
    lines = [
        "# Does a knob beat an equaliser?",
        "",
        (__doc__ or "").split("\n\n", 1)[1].replace("\n", " "),
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value:.3g} |" for name, value in result.items()]
    if held_out:
        lines += ["", "The shipped model on held-out sounds, from its card:", "", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.3g} |" for name, value in held_out.items()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m benchmarks.envelope", description="Envelope distance of presets, an equaliser beside them."
    )
    parser.add_argument("--data", type=Path, required=True, help="data set directory")
    parser.add_argument("--bundle", type=Path, default=embedded_bundle(), help="default: the embedded one")
    parser.add_argument(
        "--card", type=Path, help="the model's card (JSON), to print its k-NN and authority figures beside"
    )
    parser.add_argument("--out", type=Path, help="folder for report.md and report.json")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--per-class", type=int, default=40, help="training sounds per instrument for the equaliser")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        held_out = json.loads(options.card.read_text(encoding="utf-8"))["held_out"] if options.card else {}
        result = measure(
            load_bundle(options.bundle),
            options.data,
            pairs=options.pairs,
            per_class=options.per_class,
            seed=options.seed,
        )
        text = as_markdown(result, held_out)
        if options.out:
            write_report(options.out, text, {"envelope": result, "held_out": held_out})
    except (BundleError, DataError, OSError, KeyError, ValueError) as error:
        print(f"benchmarks.envelope: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
