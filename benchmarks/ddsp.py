"""python -m benchmarks.ddsp --instrument ckpt.pt DIR --out DIR: does a model of one instrument sound like it?

Notes that were held out are analysed and played by the model before (untrained) and after training. *Spectral distance*
is the multi-scale one that it is trained on (Engel 2020); *another take* is that of the trained model's sound to the
same with other noise. *Pitch* is what YIN says of the model's sound against what it says of the recording, *level* the
A-weighted one of every frame, both over frames within 40 dB of the loudest. *Players* are notes of other instruments at
the same pitch, played with the model's timbre: the envelope distance of `benchmarks.envelope` to the real note, the
player's own being 1. Figures are medians over notes, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import librosa
import matplotlib
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.envelope import Envelopes
from benchmarks.quality.instrument import Analysed, Instrument
from realtime.bundle import BundleError, embedded_bundle, load_bundle
from training.checkpoint import CheckpointError, load_checkpoint
from training.console import run_command
from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.options import Parser, number
from training.data.store import SoundStore
from training.dsp.synthesis import synthesise
from training.evaluation.bootstrap import interval
from training.evaluation.report import command_line, environment, picture, save_picture, table, write_report
from training.features import FeatureExtractor
from training.losses import multiscale_spectral
from training.models.harmonic import HarmonicVAE
from training.units import DB_PER_NEPER

SECONDS, LOUD_DB, LEAVE_OUT_SECONDS = 2.0, 40.0, 0.05
LOWEST_HZ, HIGHEST_HZ, YIN_WINDOW, HOP = 50.0, 2500.0, 2048, 256
ROWS = {
    "spectral, untrained": "spectral distance, untrained",
    "spectral": "spectral distance, trained",
    "another take": "spectral distance of another take",
    "cents": "pitch error, cents",
    "level_db": "level error, dB",
    "players": "envelope distance, other players (dry = 1)",
}


@dataclass
class Found:
    """What was measured, by figure, a number per note; spectrograms of the note in the middle, in dB."""

    name: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    pictures: list[np.ndarray] = field(default_factory=list)
    training_seconds: float = 0.0
    training: str = ""  # the command
    sounds: int = 0

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


class Judge:
    """Measures one checkpoint on what its training held out of a data set."""

    def __init__(self, path: Path, data: Path, most: int) -> None:
        self.instrument, checkpoint = Instrument(path), load_checkpoint(path)
        sounds = read_dataset(data).select(split="test", **checkpoint.selection)
        if sounds.sample_rate != self.instrument.sample_rate:
            raise DataError(f"{data} is at {sounds.sample_rate} Hz, {path} at {self.instrument.sample_rate} Hz")
        if not len(sounds):
            raise DataError(f"{data} has no test sounds; name the data set that {path} was trained on")
        self.sounds = sounds.spread(min(most, len(sounds)))
        torch.manual_seed(0)
        self.untrained = HarmonicVAE(self.instrument.model.config).eval()
        self.found = Found(data.name, training_seconds=float(checkpoint.info.get("training_seconds", 0)))
        self.found.sounds = len(self.sounds)
        words = str(checkpoint.info.get("command", "")).split()
        self.found.training = command_line(" ".join(words[:3]), words[3:])

    def recordings(self) -> Found:
        """The held-out sounds, before and after."""
        store, samples = SoundStore(self.sounds), round(SECONDS * self.sounds.sample_rate)
        for row in tqdm(range(len(self.sounds)), desc=self.found.name, disable=None):
            self._note(store.read(row, 0, samples), keep=row == len(self.sounds) // 2)
        return self.found

    def players(self, others: SoundSet, count: int, seed: int) -> None:
        """Notes of `others`, played with this timbre, beside held-out notes of their pitch."""
        envelopes, rng = Envelopes(load_bundle(embedded_bundle())), np.random.default_rng(seed)
        mine, theirs, samples = SoundStore(self.sounds), SoundStore(others), round(SECONDS * others.sample_rate)
        strange = np.char.lower(others.instrument.astype(str)) != self.found.name.lower()
        for row in rng.integers(len(self.sounds), size=count).tolist():
            same = np.flatnonzero(strange & (others.pitch == self.sounds.pitch[row]))
            if not len(same):
                continue
            real, dry = mine.read(row, 0, samples), theirs.read(int(rng.choice(same)), 0, samples)
            played = self._play(self.instrument.model, self.instrument.analyse(dry))
            wanted, own, found = (envelopes.of(sound) for sound in (real, dry, played))
            self.found.add("players", float(np.square(found - wanted).mean() / np.square(own - wanted).mean()))

    def _play(self, model: HarmonicVAE, heard: Analysed, seed: int = 0) -> np.ndarray:
        with torch.no_grad():
            latents = model.encode(heard.spectra.envelope, heard.spectra.fine, heard.spectra.sounding).latents
        return synthesise(model, latents, heard.control, heard.level, self.instrument.features.config.hop_samples, seed)

    def _note(self, sound: np.ndarray, keep: bool) -> None:
        heard = self.instrument.analyse(sound)
        models = (self.untrained, self.instrument.model, self.instrument.model)
        before, after, again = (self._play(model, heard, seed) for seed, model in enumerate(models))
        sound = sound[: len(after)]
        for name, one, other in (
            ("spectral, untrained", before, sound),
            ("spectral", after, sound),
            ("another take", again, after),
        ):
            self.found.add(name, float(multiscale_spectral(_batch(one), _batch(other))))
        levels = [self._levels(part) for part in (sound, after)]
        loud = levels[0] > levels[0].max() - LOUD_DB
        loud[: round(LEAVE_OUT_SECONDS * self.sounds.sample_rate / HOP)] = False
        self.found.add("level_db", float(np.median(np.abs(levels[0] - levels[1])[loud])))
        pitches = [_yin(part, self.sounds.sample_rate) for part in (sound, after)]
        frames = min(len(loud), len(pitches[0]))
        cents = 1200 * np.abs(np.log2(pitches[1][:frames] / pitches[0][:frames]))
        self.found.add("cents", float(np.median(cents[loud[:frames]])))
        if keep:
            self.found.pictures = [_decibels(self.instrument.features, part) for part in (sound, before, after)]

    def _levels(self, sound: np.ndarray) -> np.ndarray:
        """A-weighted, in dB, (frames,)"""
        features = self.instrument.features
        amplitude = features.amplitudes(_batch(sound)).amplitude[0]
        power = (amplitude * self.instrument.model.weighting).square().sum(-1)
        return 0.5 * DB_PER_NEPER * torch.log(power + 1e-20).numpy()


def _batch(sound: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(sound.astype(np.float64))[None]


def _yin(sound: np.ndarray, rate: int) -> np.ndarray:
    pitch: np.ndarray = librosa.yin(
        sound.astype(np.float64), fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=rate, frame_length=YIN_WINDOW, hop_length=HOP
    )
    return pitch


def _decibels(features: FeatureExtractor, sound: np.ndarray) -> np.ndarray:
    amplitude = features.amplitudes(_batch(sound)).amplitude[0].numpy()
    decibels: np.ndarray = 20 * np.log10(amplitude + 1e-6)
    return decibels


def figures(found: Found, seed: int) -> dict[str, Any]:
    """Medians with their 95 % intervals."""
    result: dict[str, Any] = {
        "notes": found.sounds,
        "training_seconds": found.training_seconds,
        "training": found.training,
    }
    for name, listed in found.figures.items():
        values = np.array(listed)

        def median(rows: np.ndarray, values: np.ndarray = values) -> float:
            return float(np.median(values[rows]))

        result[name] = [float(np.median(values)), *interval(values, median, seed=seed)]
    return result


def as_markdown(about: dict[str, Any], results: dict[str, dict[str, Any]], shown: str) -> str:
    doc = " ".join((__doc__ or "").split("\n\n", 1)[1].split())
    head = ["", *(f"{name} ({one['notes']} notes)" for name, one in results.items())]
    rows = [
        [label, *(f"{v[0]:.2f} ({v[1]:.2f} … {v[2]:.2f})" if (v := one.get(key)) else "" for one in results.values())]
        for key, label in ROWS.items()
    ]
    rows.append(["training until then, minutes", *(f"{one['training_seconds'] / 60:.1f}" for one in results.values())])
    parts = [
        f"# Does a model of one instrument sound like it?\n\n{doc}\n",
        f"`{about['command']}`\n",
        table(head, rows),
        f"{about['remark']}\n",
        *(f"{name} was trained by `{one['training']}`.\n" for name, one in results.items() if one["training"]),
    ]
    return "\n".join([*parts, shown])


def draw(everything: list[Found], out: Path, rate: int) -> str:
    """A held-out note of each: the recording, and what is played before and after training."""
    figure, colours = picture((8, 2.0 * len(everything))), matplotlib.colormaps["magma"].resampled(16)
    for i, found in enumerate(everything):
        for j, (title, decibels) in enumerate(zip(("recording", "untrained", "trained"), found.pictures, strict=True)):
            axes, top = figure.add_subplot(len(everything), 3, 3 * i + j + 1), float(found.pictures[0].max())
            extent = (0.0, len(decibels) * HOP / rate, 0.0, rate / 2000)
            look: dict[str, Any] = {"vmin": top - 70, "vmax": top, "cmap": colours, "interpolation": "nearest"}
            axes.imshow(decibels.T, origin="lower", aspect="auto", extent=extent, **look)
            axes.set(title=f"{found.name}: {title}", ylim=(0, 12), xlabel="s", ylabel="kHz")
    return save_picture(figure, out, "spectrograms", "A held-out note: recording, untrained, trained")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.ddsp", description="Does a model of one instrument sound like it?")
    parser.add_argument(
        "--instrument",
        nargs=2,
        type=Path,
        action="append",
        required=True,
        metavar=("CKPT", "DIR"),
        help="a checkpoint and the data set that it was trained on; may be given several times",
    )
    parser.add_argument("--players", type=Path, help="data set of other instruments, which play the models")
    parser.add_argument("--out", type=Path, help="folder for report.md, report.json and the picture")
    parser.add_argument("--remark", default="", help="what the report shall say of the recordings")
    parser.add_argument("--notes", type=number(1, 10000, int), default=40)
    parser.add_argument("--seed", type=number(0, 2**31, int), default=0)
    options = parser.parse_args(arguments)
    try:
        others = None if options.players is None else read_dataset(options.players)
        everything = []
        for path, data in options.instrument:
            judge = Judge(path, data, options.notes)
            everything.append(judge.recordings())
            if others is not None:
                judge.players(others, options.notes, options.seed)
        results = {found.name: figures(found, options.seed) for found in everything}
        words = arguments if arguments is not None else sys.argv[1:]
        shown_words = [word for word in words if word not in ("--remark", options.remark)]
        about = environment() | {"command": command_line("python -m benchmarks.ddsp", shown_words)}
        about["remark"] = options.remark
        about["load_after"] = round(os.getloadavg()[0], 1)
        shown = draw(everything, options.out, judge.sounds.sample_rate) if options.out else ""
        text = as_markdown(about, results, shown)
        if options.out:
            write_report(options.out, text, {"about": about} | results)
    except (BundleError, CheckpointError, DataError, OSError) as error:
        print(f"benchmarks.ddsp: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main)
