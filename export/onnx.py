"""python -m export.onnx ckpt.pt [--output DIR]: a checkpoint becomes a bundle that streams, with the proof of what it costs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.bundle_writer import building, write_manifest, write_offline, write_streaming
from export.calibration import Calibration, calibration_sounds
from export.report import as_markdown, live_features, machine, measure
from export.systems import SYSTEMS, system_of
from export.verify import ExportError, run_streaming, verify_offline, verify_streaming
from realtime.bundle import BundleError, load_bundle
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from training.data.manifest import DataError, read_dataset
from training.evaluation.measurement import subset
from training.features import FeatureExtractor
from training.knobs import measure_knobs, raw_axes, timbre_axes
from training.models.latents import TimbreVAE

TIMBRE_SECONDS = 2.0  # time constant of the running timbre, as the runtime's default
VERIFY_SECONDS = 12.0  # of real sound, hop by hop
CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class Options:
    precision: str = "fp32"
    streaming_only: bool = False
    calibration: Path | None = None
    distil_minutes: float = 0.0  # 0: no student


def export(source: Path, target: Path, options: Options) -> dict[str, Any]:
    """Write the bundle; return its report.

    Raises
    ------
    CheckpointError, DataError, ExportError
        With one sentence; `target` is then as it was before.
    """
    checkpoint = load_checkpoint(source)
    system = system_of(checkpoint.model)
    calibration = calibration_sounds(checkpoint, options.calibration)
    held_out = calibration.held_out
    causal = causal_form(checkpoint, calibration, options.distil_minutes)
    long = live_features(checkpoint.features)(held_out.reshape(1, -1)[:, : round(VERIFY_SECONDS * checkpoint.features.sample_rate)])
    rate = checkpoint.features.hop_samples / (checkpoint.features.sample_rate * TIMBRE_SECONDS)
    knobs = checkpoint.knobs or _knobs(checkpoint, calibration.fit)
    with building(target) as folder:
        graphs = write_streaming(folder, *system.streaming(causal), options.precision)
        differences, run = verify_streaming(folder, causal, long, rate, options.precision)
        if not options.streaming_only:
            graphs |= write_offline(folder, *system.offline(checkpoint.model))
            whole = FeatureExtractor(checkpoint.features)(held_out[:1])
            differences |= verify_offline(folder, *system.offline(checkpoint.model), whole)
        play = partial(run_streaming, folder, rate=rate)
        figures = measure(checkpoint.model, causal, system.compare, checkpoint.features, held_out, play, run, long)
        report = {
            "model": system.describe(checkpoint.model),
            "precision": options.precision,
            "calibration": "the checkpoint's data set" if checkpoint.data and not options.calibration else calibration.source,
            "verified_hops": len(run.hop_ms),
            "figures": figures,
            "differences": differences,
            "environment": machine(),
        }
        lasting = {key: round(value, 6) for key, value in figures.items() if key.startswith("mse")}  # timings would differ every time
        write_manifest(folder, features=checkpoint.features, model=causal, precision=options.precision, graphs=graphs, knobs=knobs, fidelity=lasting)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(as_markdown(target.stem, report), encoding="utf-8")
    load_bundle(target)
    return report


def causal_form(checkpoint: Checkpoint, calibration: Calibration, distil_minutes: float = 0.0) -> TimbreVAE:
    """The model itself if it streams, else what is made of it with calibration sounds; a student if minutes to teach it are given."""
    system = system_of(checkpoint.model)
    if distil_minutes < 0 or (distil_minutes and system.distil is None):
        known = ", ".join(kind for kind, other in SYSTEMS.items() if other.distil)
        raise ExportError(f"--distil-minutes {distil_minutes:g} needs a number from 0 and, at present, a model of kind {known}; leave it out")
    features = live_features(checkpoint.features) if distil_minutes else FeatureExtractor(checkpoint.features)
    spectra = [features(audio) for audio in calibration.fit.split(CALIBRATION_BATCH)]
    if distil_minutes and system.distil:
        return system.distil(checkpoint.model, spectra, distil_minutes)
    return system.causal(checkpoint.model, spectra)


def _knobs(checkpoint: Checkpoint, audio: Tensor) -> dict[str, Any]:
    """Knobs of a checkpoint that does not carry any: measured on its data set, or without one the plain dimensions."""
    features = FeatureExtractor(checkpoint.features)
    if checkpoint.data is not None:
        sounds = read_dataset(checkpoint.data)
        rng = np.random.default_rng(0)
        train, held_out = (subset(sounds.select(split=split, **checkpoint.selection), 2000, rng) for split in ("train", "validation"))
        if len(train) > 10 and len(held_out) > 1:
            return measure_knobs(checkpoint.model, features, train, held_out, float(checkpoint.info.get("segment_seconds", 1.0)))
    print("export.onnx: no data set at hand, so the bundle has timbre axes from a few sounds only, and no presets", file=sys.stderr)
    spectra = features(audio[:48])
    with torch.no_grad():
        z = checkpoint.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    timbre = z.averaged(spectra.sounding).timbre.numpy()
    return {"axes": [*timbre_axes(checkpoint.model, z, timbre), *raw_axes(checkpoint.model, z)], "presets": []}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.onnx", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", type=Path, help="bundle folder to write; default: the checkpoint's name with .bundle")
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32", help="of the streaming graphs")
    parser.add_argument("--streaming-only", action="store_true", help="leave out the whole-sound graphs")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="recordings, or a data set, to fit and measure on")
    parser.add_argument("--distil-minutes", type=float, default=0.0, metavar="M", help="teach a causal student for so long (mixture models only)")
    chosen = parser.parse_args(arguments)
    target = chosen.output or Path(chosen.checkpoint.with_suffix(".bundle").name)
    try:
        report = export(chosen.checkpoint, target, Options(chosen.precision, chosen.streaming_only, chosen.calibration, chosen.distil_minutes))
    except (CheckpointError, DataError, ExportError, BundleError) as error:
        print(f"export.onnx: {error}", file=sys.stderr)
        return 2
    figures = report["figures"]
    print(f"{target}: {report['model']}, {report['precision']}, verified over {report['verified_hops']} hops")
    print(
        f"reconstruction MSE {figures['mse_original']:.3f} original, {figures['mse_streaming']:.3f} streaming; "
        f"{figures['hop_ms_median']:.3f} ms of {figures['hop_ms_budget']:.1f} ms per hop"
    )
    print(f"play it with: python -m realtime.run --bundle {target} --device 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
