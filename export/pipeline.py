"""The steps from a checkpoint to a bundle: causal model, graphs, proof, measurements, manifest."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.bundle_writer import QuantisedGraphs, building, quantize_streaming, save_manifest, write_manifest
from export.calibration import Calibration, calibration_sounds
from export.causal.distil import remove_state
from export.errors import ExportError
from export.fallbacks import FOLD_SOUNDS, Fallback, Wanted, calibration_batches, distillation_plan, make_fallback
from export.fused.file import verify_fused, write_fused
from export.graph_file import StreamingRun, run_streaming, write_offline, write_streaming
from export.harmonic import build_harmonic
from export.proof.fidelity import ComparisonSounds
from export.proof.verify import verify_offline, verify_streaming
from export.quantize.cost import precision_cost
from export.quantize.feeds import record_feeds
from export.quantize.quantize import parse_precision
from export.report import as_markdown, compare_ways, machine, measure, plain_cost
from export.streaming_play import live_features
from export.systems import System, streaming_graphs, system_of
from realtime.bundle import Precision, load_bundle
from realtime.hop.smoothing import timbre_rate
from training.checkpoint import Checkpoint, load_checkpoint
from training.data.manifest import SoundSet, read_dataset
from training.dsp.control import decoder_for
from training.evaluation.measurement import subset
from training.features import FeatureExtractor, Spectra
from training.knobs.knobs import measure_knobs, raw_axes, timbre_axes, timbre_spread, variation_axes
from training.models.harmonic import HarmonicVAE
from training.models.latents import TimbreVAE

VERIFY_SECONDS = 12.0  # of real sound, hop by hop
COMPARED_SOUNDS = (800, 300)  # labelled ones, to learn neighbours from and to measure on
FEEDS = 256  # hops that the rounding of weights is calibrated on
PROBE_SOUNDS = 48  # that plain axes are measured on, 16 where the decoder must be told the pitch
DISTIL_SOUNDS, CALIBRATION_SOUNDS = 12000, 600  # taken in: to teach a student, else to fit and to verify


@dataclass(frozen=True)
class Options:
    """precisions : of the graphs "encoder" and "decoder";  fused : also write the whole runtime as one graph
    provider : to prove it on
    """

    precisions: Mapping[str, Precision] = field(default_factory=lambda: parse_precision("fp32"))
    streaming_only: bool = False
    calibration: Path | None = None
    wanted: Wanted = field(default_factory=Wanted)
    fused: bool = False
    provider: str = "cpu"


@dataclass(frozen=True)
class _Job:
    """Everything an export works with. rate : smallest update weight of the running means
    long : sounds in a row, for the proof.
    """

    checkpoint: Checkpoint
    system: System
    calibration: Calibration
    fallback: Fallback
    knobs: dict[str, Any]
    long: Spectra
    rate: float
    options: Options


def export(source: Path, target: Path, options: Options) -> dict[str, Any]:
    """Write the bundle; return its report.

    Raises
    ------
    CheckpointError, DataError, ExportError
        With one sentence; `target` is then as it was before.
    """
    checkpoint = load_checkpoint(source)
    if checkpoint.model.KIND == HarmonicVAE.KIND:
        return _export_harmonic(checkpoint, target, options)
    system = system_of(checkpoint.model)
    minutes = options.wanted.distil_minutes
    calibration = sounds_for(checkpoint, options.wanted, options.calibration)
    with building(target) as folder:  # first of all: whether anything can be written there
        plan = (
            distillation_plan(source, options.wanted, calibration, target.with_name(f"{target.name}.student.pt"))
            if minutes
            else None
        )
        fallback = make_fallback(checkpoint, calibration, options.wanted, plan)
        long = _proof_sound(checkpoint, calibration.held_out)
        rate = timbre_rate(checkpoint.features.hop_samples / checkpoint.features.sample_rate)
        knobs = checkpoint.knobs or knobs_of(checkpoint, calibration.fit)
        report = _build(
            folder, target.stem, _Job(checkpoint, system, calibration, fallback, knobs, long, rate, options)
        )
    load_bundle(target)
    if plan:
        remove_state(plan)
    return report


def _export_harmonic(checkpoint: Checkpoint, target: Path, options: Options) -> dict[str, Any]:
    wanted = options.wanted
    asked = {
        "--distil-minutes": wanted.distil_minutes,
        "--lookahead": wanted.lookahead,
        "--window-frames": wanted.window_frames,
    }
    for name in (name for name, value in asked.items() if value):
        raise ExportError(f"{name} is for bidirectional models; a harmonic model streams as it is: leave it out")
    if options.fused:
        raise ExportError("--fused cannot hold a harmonic model's oscillators; leave it out, or export another system")
    calibration = sounds_for(checkpoint, wanted, options.calibration)
    rate = timbre_rate(checkpoint.features.hop_samples / checkpoint.features.sample_rate)
    with building(target) as folder:
        knobs = checkpoint.knobs or knobs_of(checkpoint, calibration.fit)
        report = build_harmonic(
            folder, checkpoint, calibration, knobs, rate, options.precisions, options.provider, VERIFY_SECONDS
        )
        _write_report(folder, target.stem, report)
    load_bundle(target)
    return report


def sounds_for(checkpoint: Checkpoint, wanted: Wanted, folder: Path | None = None) -> Calibration:
    """Calibration sounds for such a fallback: many as long as those of the training for a student, fewer and longer
    ones for a fit.
    """
    if wanted.distil_minutes:
        return calibration_sounds(
            checkpoint, folder, seconds=float(checkpoint.info.get("segment_seconds", 1.0)), limit=DISTIL_SOUNDS
        )
    return calibration_sounds(checkpoint, folder, limit=CALIBRATION_SOUNDS)


def _build(folder: Path, name: str, job: _Job) -> dict[str, Any]:
    """Graphs, proofs, measurements and manifest."""
    checkpoint, model, options = job.checkpoint, job.fallback.model, job.options
    features, held_out = checkpoint.features, job.calibration.held_out
    encoder, decoder = streaming_graphs(job.system, model)
    graphs = write_streaming(folder, encoder, decoder)
    differences, run = verify_streaming(folder, model, job.long, job.rate, provider=options.provider)
    written, cost = QuantisedGraphs(graphs), None
    if any(precision != "fp32" for precision in options.precisions.values()):
        feeds = record_feeds(folder, _fit_sound(job), job.rate, FEEDS)
        exact = run
        written = quantize_streaming(folder, graphs, options.precisions, feeds)
        differences, run = verify_streaming(
            folder, model, job.long, job.rate, written.precisions, provider=options.provider
        )
        cost = precision_cost(exact, run, job.long.log_amplitude[0].numpy(), model.lookahead)
    if not options.streaming_only:
        written.graphs.update(write_offline(folder, *job.system.offline(checkpoint.model)))
        whole = FeatureExtractor(features)(held_out[:1])
        differences |= verify_offline(folder, *job.system.offline(checkpoint.model), whole)
    play = partial(run_streaming, folder, rate=job.rate)
    figures = measure(checkpoint.model, model, features, held_out, play, run, job.long)
    figures |= job.system.compare(checkpoint.model, model, FeatureExtractor(features)(held_out))
    # Timings would differ every time.
    lasting = {key: round(value, 6) for key, value in figures.items() if key.startswith("mse")}
    manifest = write_manifest(
        folder, features=features, model=model, graphs=written.graphs, knobs=job.knobs, fidelity=lasting
    )
    if options.fused:
        fused = write_fused(folder, manifest, encoder, decoder)
        differences |= verify_fused(folder, manifest, held_out.flatten().numpy())
        save_manifest(folder, manifest.model_copy(update={"graphs": {**manifest.graphs, "fused": fused}}))
    report = _report(job, differences, run, figures) | plain_cost(cost, written)
    _write_report(folder, name, report)
    return report


def _write_report(folder: Path, name: str, report: dict[str, Any]) -> None:
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(name, report), encoding="utf-8")


def _report(job: _Job, differences: dict[str, float], run: StreamingRun, figures: dict[str, Any]) -> dict[str, Any]:
    checkpoint, options = job.checkpoint, job.options
    sounds = _labelled(checkpoint) if options.calibration is None else None
    ways = _ways(job)
    fidelity = (
        compare_ways(checkpoint.model, ways, checkpoint.features, job.calibration.held_out, sounds) if ways else {}
    )
    words = "The calibration sounds that were held out; they have no labels, so no k-NN accuracies."
    if sounds:
        words = (
            f"{len(sounds.test)} test sounds; neighbours among {len(sounds.train)} training sounds; {sounds.seconds:g} "
            "s of each, from silence."
        )
    outcome = job.fallback.outcome
    return {
        "model": job.system.describe(checkpoint.model),
        "fallback": job.fallback.name + (f", {outcome.seconds / 60:.1f} min, {outcome.steps} steps" if outcome else ""),
        "lookahead_hops": job.fallback.model.lookahead,
        "window_frames": options.wanted.window_frames,
        "precision": ", ".join(f"{name} {precision}" for name, precision in options.precisions.items()),
        "calibration": "the checkpoint's data set"
        if checkpoint.data and not options.calibration
        else job.calibration.source,
        "provider": options.provider,
        "verified_hops": len(run.hop_ms),
        "figures": figures,
        "sounds": words,
        "fidelity": fidelity,
        "differences": differences,
        "environment": machine(),
    }


def _ways(job: _Job) -> dict[str, TimbreVAE]:
    """What the report sets beside the original: what streams, and what simpler fallbacks would have given. Windows take
    too long for it.
    """
    model, wanted = job.checkpoint.model, job.options.wanted
    if wanted.window_frames:
        return {}
    ways = {}
    if job.system.recurrent and job.fallback.name != "causal":
        ways["dropped"] = job.system.drop(model, 0)
    if job.fallback.name == "distilled":
        ways["folded"] = job.system.fold(
            model, calibration_batches(job.checkpoint, job.calibration.fit[:FOLD_SOUNDS]), wanted.lookahead
        )
    return ways | {job.fallback.name: job.fallback.model}


def _labelled(checkpoint: Checkpoint) -> ComparisonSounds | None:
    """Of the checkpoint's data set, if it is here and large enough."""
    sets = _split(checkpoint, *COMPARED_SOUNDS, "train", "test")
    return ComparisonSounds(*sets, float(checkpoint.info.get("segment_seconds", 1.0))) if sets else None


def _split(checkpoint: Checkpoint, first: int, second: int, *splits: str) -> tuple[SoundSet, SoundSet] | None:
    """At most so many sounds of two splits of the checkpoint's data set; None if there are too few."""
    if checkpoint.data is None:
        return None
    sounds, rng = read_dataset(checkpoint.data), np.random.default_rng(0)
    a, b = (
        subset(sounds.select(split=name, **checkpoint.selection), count, rng)
        for name, count in zip(splits, (first, second), strict=True)
    )
    return (a, b) if len(a) > 10 and len(b) > 1 else None


def _proof_sound(checkpoint: Checkpoint, held_out: Tensor) -> Spectra:
    """Held-out sounds in a row, again from the first where there are too few, as the runtime frames them."""
    samples = round(VERIFY_SECONDS * checkpoint.features.sample_rate)
    row = held_out.reshape(1, -1)
    return live_features(checkpoint.features)(row.repeat(1, -(-samples // row.shape[1]))[:, :samples])


def _fit_sound(job: _Job) -> Spectra:
    """Sounds to calibrate the rounding on, in a row; others than the proof's."""
    samples = round(VERIFY_SECONDS * job.checkpoint.features.sample_rate)
    return live_features(job.checkpoint.features)(job.calibration.fit.reshape(1, -1)[:, :samples])


def knobs_of(checkpoint: Checkpoint, audio: Tensor) -> dict[str, Any]:
    """Knobs of a checkpoint that does not carry any: measured on its data set, or without one the plain dimensions."""
    features = FeatureExtractor(checkpoint.features)
    if sets := _split(checkpoint, 2000, 2000, "train", "validation"):
        return measure_knobs(checkpoint.model, features, *sets, float(checkpoint.info.get("segment_seconds", 1.0)))
    print(
        "export: no data set at hand, so the bundle has timbre axes from a few sounds only, and no presets",
        file=sys.stderr,
    )
    audio = audio[: PROBE_SOUNDS // 3 if checkpoint.model.KIND == HarmonicVAE.KIND else PROBE_SOUNDS]
    spectra = features(audio)
    with torch.no_grad():
        z = checkpoint.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    timbre, decoder = z.averaged(spectra.sounding).timbre.numpy(), decoder_for(checkpoint.model, features, audio)
    axes = [*timbre_axes(decoder, z, timbre_spread(timbre)), *raw_axes(decoder, z)]
    variation = variation_axes(decoder, z, z.variation[spectra.sounding].numpy()) if "variation" in z else []
    return {"axes": axes, "presets": [], "variation_axes": variation}
