"""python -m benchmarks.quality ckpt.pt --data DIR [--phrases DIR] [--other DIR] --out DIR: is a harmonic model worth
playing?

*Envelope distance* as in `benchmarks.envelope`: mean squared difference of the mean spectral envelopes to the real note
of the target instrument, the untouched sound's being 1; medians over pairs. Equalisers know both instruments' mean
envelopes over training sounds, over all pitches or near the note's. *morph, preset* and *synth, preset* are ways out of
the exported bundle, hop by hop, with the released preset; *offline* ways play whole sounds at once. Presets and
classifiers know training notes only; whole notes, and some whole instruments, were kept from them. The pitch of what is
played is judged by pYIN and YIN, which see whole sounds and had no part in making them. Intervals are 95 % bootstrap
intervals over sounds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.envelope import SECONDS, choose_pairs
from benchmarks.quality.instrument import Instrument
from benchmarks.quality.measure import Distances, Judge, Player, pairs_across, playable
from benchmarks.quality.proofs import at_rest, axes_matrix, keys_off, levels_kept, pitch_kept, transfer
from benchmarks.quality.report import as_markdown, bars_of, draw, figures_of
from benchmarks.quality.sources import plucked, spoken
from export.errors import ExportError
from export.pipeline import Options, export
from realtime.bundle import Bundle, BundleError, embedded_bundle, load_bundle
from training.checkpoint import CheckpointError, load_checkpoint
from training.console import run_command
from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.options import Parser, number
from training.data.store import SoundStore
from training.evaluation.measurement import measure as measure_latents
from training.evaluation.report import command_line, environment, write_report

DEMO = Path(__file__).parents[1] / "demo/phrase.flac"
TRANSFERRED = (
    *("Acoustic Grand Piano", "Acoustic Guitar (nylon)", "Violin", "Cello", "Trumpet", "French Horn", "Alto Sax"),
    *("Clarinet", "Flute", "Church Organ"),
)
PLUCKED_TARGETS = ("Flute", "Violin", "Clarinet", "Trumpet")
FULL = {
    "notes": 3,
    "phrases": 12,
    "per_class": 60,
    "keys": 1,
    "levels": 24,
    "axes": 16,
    "knn": 4000,
    "strings": 4,
    "voices": 100,
    "demo_seconds": 18,
}
QUICK = dict.fromkeys(FULL, 1) | {"pairs": 3, "per_class": 6, "keys": 0, "knn": 60, "demo_seconds": 2}


def bundle_of(checkpoint: Path, folder: Path) -> Bundle:
    """The checkpoint exported."""
    target = folder / "quality.bundle"
    export(checkpoint, target, Options(streaming_only=True))
    return load_bundle(target)


def strangers(judge: Judge, train: SoundSet, count: int, seed: int) -> dict[str, Distances]:
    """Plucked strings that become training instruments; the real notes they should sound like are training notes."""
    found, store, rng = Distances(), SoundStore(train), np.random.default_rng(seed)
    samples = round(SECONDS * train.sample_rate)
    for name in (name for name in PLUCKED_TARGETS if name in judge.names):
        rows = np.flatnonzero((train.instrument == name) & (train.pitch > 55) & (train.pitch < 80))
        for row in rng.permutation(rows)[:count].tolist():
            note = float(train.pitch[row])
            sound = plucked(train.sample_rate, note, seed + row)
            judge.pair(found, sound, store.read(row, 0, samples), ("Acoustic Guitar (nylon)", name), note)
    return {"plucked strings of a model": found} if found.ways else {}


def voices(judge: Judge, rate: int, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pitch errors of speech and sung vowels through synth, and of the same with a preset."""
    plain, preset = [], []
    for sound in spoken(rate, count):
        plain.append(pitch_kept(sound, judge.harmonic.play(sound, synth=1.0), rate))
        preset.append(pitch_kept(sound, judge.harmonic.play(sound, synth=1.0, preset="Violin"), rate))
    return plain, preset


def through(player: Player, sounds: SoundSet, count: int, seed: int) -> list[np.ndarray]:
    """Pitch errors of random sounds through synth."""
    rows = np.random.default_rng(seed).permutation(len(sounds))[:count]
    store = SoundStore(sounds)
    heard = [store.read(int(row), 0, int(sounds.length[row])) for row in rows]
    return [pitch_kept(sound, player.play(sound, synth=1.0), sounds.sample_rate) for sound in heard]


def run(options: Any) -> tuple[dict[str, Any], str]:
    """Everything.  Returns the content of report.json and report.md."""
    sizes = QUICK if options.quick else FULL | {"pairs": options.pairs}
    checkpoint, instrument = load_checkpoint(options.checkpoint), Instrument(options.checkpoint)
    everything, live = read_dataset(options.data), load_bundle(options.bundle)
    if {everything.sample_rate, live.manifest.features.sample_rate} != {instrument.sample_rate}:
        raise DataError(
            f"{options.data} is at {everything.sample_rate} Hz, the model at {instrument.sample_rate} Hz and the "
            f"bundle at {live.manifest.features.sample_rate} Hz; they must be the same"
        )
    seed, rate = options.seed, everything.sample_rate
    train, test = (everything.select(split=split, **checkpoint.selection) for split in ("train", "test"))
    with tempfile.TemporaryDirectory() as folder:
        harmonic = bundle_of(options.checkpoint, Path(folder))
        judge = Judge(instrument, live, harmonic, train, max(6, sizes["per_class"] * 2 // 3), seed)
        rng, known = np.random.default_rng(seed), judge.names & set(train.instrument.tolist())
        heard = test.take(np.isin(test.instrument, list(known)))
        chosen = playable(heard, choose_pairs(heard, known, 4 * sizes["pairs"], rng), sizes["pairs"])
        if not chosen:
            raise DataError(f"{options.data} has no two test notes of one pitch that are presets; render more programs")
        found = {"held-out notes": judge.pairs(heard, heard, chosen, "held-out notes")}
        unheard = test.take(~np.isin(test.instrument, list(set(train.instrument.tolist()))) & np.isfinite(test.pitch))
        count = max(2, sizes["pairs"] // 2)
        if len(unheard):
            pairs = pairs_across(unheard, heard, known, count, rng)
            found["instruments never heard"] = judge.pairs(unheard, heard, pairs, "unheard")
        if options.other is not None:
            other = read_dataset(options.other)
            pairs = pairs_across(other, heard, known, count, rng)
            found["another SoundFont"] = judge.pairs(other, heard, pairs, "another SoundFont")
        found |= strangers(judge, train, sizes["strings"], seed)
        phrase, _ = soundfile.read(DEMO, frames=sizes["demo_seconds"] * rate)
        player = judge.harmonic
        pitch = {"notes": through(player, heard.take(np.isfinite(heard.pitch)), 3 * sizes["phrases"], seed)}
        if options.phrases is not None:
            pitch["phrases"] = through(
                player, read_dataset(options.phrases).select(split="test"), sizes["phrases"], seed
            )
        pitch["the demo's cello"] = [pitch_kept(phrase, player.play(phrase, synth=1.0), rate)]
        spoken_plain, spoken_preset = voices(judge, rate, sizes["voices"])
        if spoken_plain:
            pitch |= {"speech and sung vowels": spoken_plain, "the same with a preset": spoken_preset}
        keys = keys_off(player, rate) if sizes["keys"] else np.zeros(0)
        names = [name for name in TRANSFERRED if name in known and name in set(heard.instrument.tolist())]
        moved = transfer(judge, train, heard, names, sizes["notes"], sizes["per_class"], seed)
        axes = [axis for axis in (checkpoint.knobs or {"axes": []})["axes"] if axis.get("descriptor")]
        matrix = axes_matrix(instrument, axes, heard, sizes["axes"], seed)
        levels = levels_kept(player, phrase[: 6 * rate], rate, sizes["levels"])
        rest = at_rest(player, phrase[: 6 * rate])
    latents = measure_latents(
        checkpoint,
        options.data,
        split="test",
        train_sounds=sizes["knn"],
        test_sounds=max(12, sizes["knn"] // 4),
        seconds=1.0,
        seed=seed,
    )
    result = {
        "pairs": {name: figures_of(one, seed) for name, one in found.items()},
        "pitch": pitch,
        "keys": keys,
        "transfer": moved,
        "axes": matrix,
        "levels": levels,
        "rest": rest,
        "latents": latents.figures,
        "synthetic": bool(spoken_plain),
    }
    about = environment() | {"command": command_line("python -m benchmarks.quality", options.words)}
    bars = bars_of(result, seed)
    pictures = draw(found, result, options.out) if options.out else {}
    text = as_markdown(" ".join((__doc__ or "").split("\n\n", 1)[1].split()), about, bars, result, pictures, seed)
    content = {
        "about": about | {"model": instrument.info},
        "bars": bars,
        "distances": {name: one["distances"] for name, one in result["pairs"].items()},
        "transfer": {key: value for key, value in moved.items() if key != "told"},
        "axes": matrix,
        "levels_db": {way: [round(value, 3) for value in values] for way, values in levels.items()},
        "latents": latents.values(),
    }
    return content, text


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.quality", description="Is a harmonic model worth playing?")
    parser.add_argument("checkpoint", type=Path, help="of a harmonic model; released, so that it has presets")
    parser.add_argument("--data", type=Path, required=True, help="data set of notes; its test notes are played")
    parser.add_argument("--phrases", type=Path, help="data set of phrases; its test phrases are played")
    parser.add_argument("--other", type=Path, help="notes of a source that was never trained on")
    parser.add_argument(
        "--bundle", type=Path, default=embedded_bundle(), help="S1 model beside it; default: the embedded one"
    )
    parser.add_argument("--out", type=Path, help="folder for report.md, report.json and the figures")
    parser.add_argument("--pairs", type=number(1, 10000, int), default=60)
    parser.add_argument("--quick", action="store_true", help="a few of everything, to see that it runs")
    parser.add_argument("--seed", type=number(0, 2**31, int), default=0)
    options = parser.parse_args(arguments)
    options.words = arguments if arguments is not None else sys.argv[1:]
    try:
        content, text = run(options)
        if options.out:
            write_report(options.out, text, content)
    except (BundleError, CheckpointError, DataError, ExportError, OSError) as error:
        print(f"benchmarks.quality: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
