"""python -m benchmarks.demo: the main job from end to end. Export the shipped checkpoints; play a phrase with knobs
through the morph, and three phrases through the synthesizer of the harmonic model; draw what happened.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import scipy.signal
import soundfile
from matplotlib.figure import Figure

from export import onnx as export_onnx
from realtime import run as realtime_run
from realtime.bundle import load_bundle
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import load_map
from realtime.controls.midi.file import file_events
from realtime.dsp.decibels import decibels_of
from realtime.knobs.bank import KnobBank
from training.console import run_command
from training.data.options import Parser

MATERIAL = Path(__file__).parent
CHECKPOINT = Path(__file__).parents[2] / "training/checkpoints/live.pt"
HARMONIC = CHECKPOINT.with_name("harmonic.pt")
PLAYED = (("phrase", "a cello", "Flute"), ("voice", "a voice", "Violin"), ("guitar", "a guitar", "Clarinet"))
CURVE_HZ = 100
FFT = 2048
RANGE_DB = 90.0
QUIET_DBFS = -40.0


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for the bundle, the sound and the picture"
    )
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    return _knobs(out) or _synth(out)


def _knobs(out: Path) -> int:
    """A phrase with knobs, through the morph.  Returns an exit code."""
    bundle, sound, picture = out / "live.bundle", out / "demo.wav", out / "demo.png"
    if code := export_onnx.main([str(CHECKPOINT), "--output", str(bundle)]):
        return code
    phrase, knobs = MATERIAL / "phrase.flac", MATERIAL / "knobs.mid"
    files = ["--input", str(phrase), "--output", str(sound), "--midi", str(knobs), "--json", str(out / "summary.json")]
    if code := realtime_run.main(["--bundle", str(bundle), *files]):
        return code
    before, rate = soundfile.read(phrase)
    after, _ = soundfile.read(sound)
    if _quiet(after):
        return 1
    draw(before, after, rate, knob_curves(bundle, knobs, rate, len(before))).savefig(picture, dpi=80)
    print(f"sound {sound}, picture {picture}")
    return 0


def _synth(out: Path) -> int:
    """Three phrases, each with another instrument's timbre, through the synthesizer.  Returns an exit code."""
    bundle, picture, sounds = out / "harmonic.bundle", out / "synth.png", []
    if code := export_onnx.main([str(HARMONIC), "--output", str(bundle)]):
        return code
    for name, words, preset in PLAYED:
        phrase, target = MATERIAL / f"{name}.flac", out / f"{name}-{preset.lower()}.wav"
        options = ["--synth", "--preset", preset, "--limiter"]
        files = ["--input", str(phrase), "--output", str(target)]
        if code := realtime_run.main(["--bundle", str(bundle), *files, *options]):
            return code
        before, rate = soundfile.read(phrase)
        after, _ = soundfile.read(target)
        if _quiet(after):
            return 1
        sounds.append((f"{words}, then with the timbre of a {preset.lower()}", before, after, rate))
    draw_pairs(sounds).savefig(picture, dpi=60)
    print(f"sounds {out}/*.wav, picture {picture}")
    return 0


def _quiet(sound: np.ndarray) -> bool:
    """Whether nothing much is heard, which is told."""
    level = decibels_of(np.sqrt(np.mean(np.square(sound))) + 1e-12)
    if level < QUIET_DBFS:
        print(
            f"benchmarks.demo: the result is at {level:.0f} dBFS, expected above {QUIET_DBFS:.0f}; please report this",
            file=sys.stderr,
        )
    return bool(level < QUIET_DBFS)


def draw_pairs(sounds: list[tuple[str, np.ndarray, np.ndarray, int]]) -> Figure:
    """Spectrograms before and after, a row for each phrase.  sounds : title, before, after, Hz"""
    matplotlib.use("Agg", force=False)
    figure = Figure(figsize=(11, 3.2 * len(sounds)), layout="constrained")
    for row, (title, before, after, rate) in zip(figure.subplots(len(sounds), 2), sounds, strict=True):
        levels = [level_db(sound[: 7 * rate], rate) for sound in (before, after)]
        loudest = max(level.max() for level in levels)
        for axes, level, words in zip(row, levels, title.split(", then "), strict=True):
            extent = (0, level.shape[1] * 512 / rate, 0, rate / 2)
            axes.imshow(
                level, origin="lower", aspect="auto", extent=extent, vmin=loudest - RANGE_DB, vmax=loudest, cmap="magma"
            )
            axes.set(ylim=(0, 8000), xlabel="s", ylabel="Hz", title=words)
    return figure


def knob_curves(bundle: Path, midi: Path, rate: int, samples: int) -> dict[str, np.ndarray]:
    """Every knob that moves, CURVE_HZ values a second; presets by their number."""
    desk = Desk(KnobBank(load_bundle(bundle).manifest))
    knob_map = load_map(None, desk)
    events = file_events(midi, rate)
    rows, next_event = [], 0
    for now in range(0, samples, rate // CURVE_HZ):
        while next_event < len(events) and events[next_event][0] <= now:
            knob_map.apply(events[next_event][1], desk)
            next_event += 1
        rows.append(desk.bank.values.copy())
    values = np.array(rows)
    return {target.name: values[:, i] for i, target in enumerate(desk.bank.targets) if np.ptp(values[:, i]) > 0}


def level_db(sound: np.ndarray, rate: int) -> np.ndarray:
    """(bins, frames), dB."""
    _, _, spectrum = scipy.signal.stft(sound, rate, nperseg=FFT, noverlap=FFT - 512)
    return decibels_of(np.abs(spectrum) + 1e-7)


def draw(before: np.ndarray, after: np.ndarray, rate: int, curves: dict[str, np.ndarray]) -> Figure:
    """Spectrogram of the input, of the output, their difference and the knobs, over one time axis."""
    matplotlib.use("Agg", force=False)
    figure = Figure(figsize=(11, 10), layout="constrained")
    top, middle, lower, bottom = figure.subplots(4, 1, sharex=True, height_ratios=[3, 3, 3, 2])
    levels = [level_db(sound, rate) for sound in (before, after)]
    loudest = max(level.max() for level in levels)
    heard = np.maximum(*levels) > loudest - RANGE_DB
    pictures = [
        (top, "in: a cello", levels[0], loudest - RANGE_DB, loudest, "magma"),
        (middle, "out: its timbre, played with knobs", levels[1], loudest - RANGE_DB, loudest, "magma"),
        (lower, "out − in", np.where(heard, levels[1] - levels[0], 0.0), -24, 24, "RdBu_r"),
    ]
    for axes, title, picture, low, high, colours in pictures:
        extent = (0, len(before) / rate, 0, rate / 2)
        image = axes.imshow(picture, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap=colours)
        axes.set(ylabel="Hz", ylim=(0, 10000), title=title)
        figure.colorbar(image, ax=axes, label="dB")
    seconds = np.arange(len(next(iter(curves.values())))) / CURVE_HZ
    figure.colorbar(image, ax=bottom).ax.set_visible(False)  # keeps the time axes aligned
    presets = bottom.twinx()
    for name, curve in curves.items():
        axes = presets if name == "preset" else bottom
        axes.step(
            seconds,
            curve,
            where="post",
            label=name,
            color="black" if name == "preset" else None,
            linestyle=":" if name == "preset" else "-",
        )
    bottom.set(xlabel="s", ylabel="standard deviations", title="knobs", ylim=(-3.2, 3.2))
    presets.set(ylabel="preset", ylim=(-5, 105))
    bottom.legend(loc="upper left")
    presets.legend(loc="upper right")
    return figure


if __name__ == "__main__":
    run_command(main)
