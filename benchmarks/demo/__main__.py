"""python -m benchmarks.demo: the main job from end to end. Export the shipped checkpoint, play a phrase through it with
MIDI knobs, draw what happened.
"""

from __future__ import annotations

import argparse
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

MATERIAL = Path(__file__).parent
CHECKPOINT = Path(__file__).parents[2] / "training/checkpoints/live.pt"
CURVE_HZ = 100
FFT = 2048
RANGE_DB = 90.0
QUIET_DBFS = -40.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for the bundle, the sound and the picture"
    )
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    bundle, sound, picture = out / "live.bundle", out / "demo.wav", out / "demo.png"
    if code := export_onnx.main([str(CHECKPOINT), "--output", str(bundle)]):
        return code
    phrase, knobs = MATERIAL / "phrase.flac", MATERIAL / "knobs.mid"
    files = ["--input", str(phrase), "--output", str(sound), "--midi", str(knobs), "--json", str(out / "summary.json")]
    if code := realtime_run.main(["--bundle", str(bundle), *files]):
        return code
    before, rate = soundfile.read(phrase)
    after, _ = soundfile.read(sound)
    level = decibels_of(np.sqrt(np.mean(np.square(after))) + 1e-12)
    if level < QUIET_DBFS:
        print(
            f"benchmarks.demo: the result is at {level:.0f} dBFS, expected above {QUIET_DBFS:.0f}; please report this",
            file=sys.stderr,
        )
        return 1
    draw(before, after, rate, knob_curves(bundle, knobs, rate, len(before))).savefig(picture, dpi=80)
    print(f"sound {sound} ({level:.1f} dBFS), picture {picture}")
    return 0


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
    sys.exit(main())
