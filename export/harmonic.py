"""From a checkpoint of the harmonic model to a bundle: graphs, proof hop by hop, measurements, manifest.

Its decoder is told the pitch, so the graphs are run with the pitch tracked, and there are none for whole sounds.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from export.bundle_writer import QuantisedGraphs, quantize_streaming, save_manifest, write_manifest
from export.calibration import Calibration
from export.errors import ExportError
from export.graph_file import Stepper, StreamingRun, write_graphs
from export.graphs.harmonic import HarmonicStreamingDecoder, VoiceStep
from export.graphs.perturbation import StreamingEncoder
from export.proof.verify import check_difference, random_chunks
from export.quantize.cost import precision_cost
from export.quantize.feeds import EDIT, Recorder, kept_hops
from export.report import machine, plain_cost, timings
from export.streaming_play import live_features
from realtime.bundle import Harmonic, Precision
from realtime.kinds import VOICES
from training.checkpoint import Checkpoint
from training.dsp.control import Heard, control_of
from training.models.harmonic import (
    LOUDNESS_MEAN,
    MOST_LOG,
    START_NOISE,
    UNVOICED,
    VOICED,
    WARP_HZ,
    Control,
    HarmonicVAE,
    Voice,
)
from training.models.latents import Latents, parameters_of

EDIT_RATIO = 1.5  # of the pitches told to the decoder's rows, and from key to key, in the proof
MEASURED_SOUNDS = 40
ROUNDING = 4.0


class Drawn(NamedTuple):
    """What a decoder gave, hop by hop.

    voice : name → (hops, size);  log_amplitude : (hops, bins), empty for keys
    """

    voice: dict[str, np.ndarray]
    log_amplitude: np.ndarray


@dataclass(frozen=True)
class Run:
    """latents : (hops, D) each;  heard, edited : the decoder's rows;  key : the last voice of the keys
    hop_ms : (hops,), encoder and decoder;  key_ms : (hops,), the voices
    """

    latents: dict[str, np.ndarray]
    heard: Drawn
    edited: Drawn
    key: Drawn
    hop_ms: np.ndarray
    key_ms: np.ndarray


def facts(model: HarmonicVAE, hop_samples: int) -> Harmonic:
    """What the runtime must know of the model."""
    c = model.config
    return Harmonic(
        confidence=(UNVOICED, VOICED),
        centre_hops=model.centre_hops(hop_samples),
        loudness_mean=LOUDNESS_MEAN,
        loudness_centred=c.centred_loudness,
        warp_hz=WARP_HZ,
        envelope_cosines=c.envelope_cosines,
        offsets=c.offsets,
        noise_cosines=c.noise_cosines,
        noise_log=START_NOISE,
        most_log=MOST_LOG,
    )


def build_harmonic(
    folder: Path,
    checkpoint: Checkpoint,
    calibration: Calibration,
    knobs: dict[str, Any],
    rate: float,
    precisions: Mapping[str, Precision],
    provider: str,
    seconds: float,
) -> dict[str, Any]:
    """Everything of the bundle into a folder; returns the report.

    rate : smallest update weight of the running means;  seconds : of real sound that the proof runs over

    Raises
    ------
    ExportError
        If a graph does not do what the model does.
    """
    model: Any = checkpoint.model
    features = live_features(checkpoint.features)
    samples = round(seconds * checkpoint.features.sample_rate)

    def in_a_row(sounds: Tensor) -> Heard:
        row = sounds.reshape(1, -1)
        return control_of(model, features, row.repeat(1, -(-samples // row.shape[1]))[:, :samples])

    proof, fit = in_a_row(calibration.held_out), in_a_row(calibration.fit)
    modules = {
        "encoder": StreamingEncoder(model),
        "decoder": HarmonicStreamingDecoder(model),
        "voices": VoiceStep(model),
    }
    graphs = write_graphs(folder, modules)
    differences, run = verify(folder, model, proof, rate, {}, provider)
    written, cost = QuantisedGraphs(graphs), None
    if any(precision != "fp32" for precision in precisions.values()):
        exact = run
        feeds = record(folder, fit, rate)
        written = quantize_streaming(folder, graphs, dict(precisions) | {"voices": precisions["decoder"]}, feeds)
        differences, run = verify(folder, model, proof, rate, written.precisions, provider)
        cost = precision_cost(_plain(exact), _plain(run), proof.spectra.log_amplitude[0].numpy())
    figures = measure(folder, model, features, calibration.held_out, run, rate)
    lasting = {key: round(value, 6) for key, value in figures.items() if key.startswith("mse")}
    manifest = write_manifest(
        folder,
        features=checkpoint.features,
        model=model,
        graphs=written.graphs,
        knobs=knobs,
        fidelity=lasting,
        harmonic=facts(model, checkpoint.features.hop_samples),
    )
    save_manifest(folder, manifest)
    return {
        "model": describe(model),
        "fallback": "causal",
        "lookahead_hops": 0,
        "window_frames": 0,
        "precision": ", ".join(f"{name} {precision}" for name, precision in precisions.items()),
        "calibration": "the checkpoint's data set" if checkpoint.data else calibration.source,
        "provider": provider,
        "verified_hops": len(run.hop_ms),
        "figures": figures,
        "sounds": "The model streams as it is: there is no other form of it to compare.",
        "fidelity": {},
        "differences": differences,
        "environment": machine(),
    } | plain_cost(cost, written)


def describe(model: HarmonicVAE) -> str:
    c = model.config
    return (
        f"harmonic VAE, causal, encoders {c.layers}×{c.hidden}, decoder {c.decoder_hidden}: {c.envelope_cosines} "
        f"cosines and {c.offsets} offsets of harmonics, {c.noise_cosines} cosines of noise"
    )


def run_graphs(folder: Path, heard: Heard, rate: float, provider: str = "cpu", shift: float = 0.0) -> Run:
    """Play one sound through the streaming graphs as the runtime does. The decoder's second row is told other pitches,
    and every key another one, so that rows which mix are noticed.

    shift : added to the second row's z^t
    """
    encoder, decoder, keys = (
        Stepper(folder / f"streaming/{name}.onnx", provider) for name in ("encoder", "decoder", "voices")
    )
    smallest, names = np.array([rate], np.float32), encoder.names
    latents: dict[str, list[np.ndarray]] = {name: [] for name in names}
    found: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = []
    hop_ms, key_ms = [], []
    for hop, (envelope, fine) in enumerate(zip(heard.spectra.envelope[0], heard.spectra.fine[0], strict=True)):
        told = _told(heard.control, hop)
        start = time.perf_counter()
        z = encoder(envelope=envelope.numpy()[None], fine=fine.numpy()[None], rate=smallest)
        rows = {name: np.repeat(z[name], 2, axis=0) for name in names}
        rows["timbre"][1] += shift
        drawn = decoder(**rows, **decoder_rows(told))
        middle = time.perf_counter()
        played = keys(**{name: np.repeat(z[name], VOICES, axis=0) for name in names}, **_key_rows(told))
        key_ms.append(1000 * (time.perf_counter() - middle))
        hop_ms.append(1000 * (middle - start))
        for name in names:
            latents[name].append(z[name][0])
        found.append((drawn, played))
    stacked = {name: np.stack([drawn[name] for drawn, _ in found]) for name in found[0][0]}
    key = {name: np.stack([played[name][-1] for _, played in found]) for name in found[0][1]}
    spectra = stacked.pop("log_amplitude")
    heard_row, edited_row = (
        Drawn({name: value[:, row] for name, value in stacked.items()}, spectra[:, row]) for row in (0, 1)
    )
    return Run(
        {name: np.stack(rows) for name, rows in latents.items()},
        heard_row,
        edited_row,
        Drawn(key, np.zeros((0, 0), np.float32)),
        np.array(hop_ms),
        np.array(key_ms),
    )


def _told(control: Control, hop: int) -> dict[str, float]:
    return {name: float(getattr(control, name)[0, hop]) for name in Control._fields}


def decoder_rows(told: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The second row is told the pitch `EDIT_RATIO` times higher, its partials lie where the first one's do."""
    rows = {name: np.full((2, 1), value, np.float32) for name, value in told.items()}
    rows["f0"][1] *= EDIT_RATIO
    return rows


def _key_rows(told: Mapping[str, float]) -> dict[str, np.ndarray]:
    rows = {name: np.full((VOICES, 1), told[name], np.float32) for name in ("f0", "voicing", "loudness")}
    rows["f0"][:, 0] *= np.linspace(1, EDIT_RATIO, VOICES, dtype=np.float32)
    return rows


@torch.no_grad()
def verify(
    folder: Path, model: HarmonicVAE, heard: Heard, rate: float, precisions: Mapping[str, str], provider: str
) -> tuple[dict[str, float], Run]:
    """Compare every hop with torch, which is fed chunks of random sizes; see `export.proof.verify.verify_streaming`.

    What torch gives in float64 is right. fp32 graphs may be as far from it as their limit says, or, where float32 is
    coarser than that, `ROUNDING` times as far as torch's own float32 is. Spectra are compared with those of the voice
    that the graph drew: the hundredth partial moves by a hundred times what its inharmonicity is rounded by.
    """
    run = run_graphs(folder, heard, rate, provider, shift=1.0)
    double = copy.deepcopy(model).double()
    exact, single = _reference(double, heard, rate), _reference(model, heard, rate)
    differences = {}

    def check(name: str, found: np.ndarray, wanted: np.ndarray, own: np.ndarray, *graphs: str) -> None:
        had = [precisions.get(graph, "fp32") for graph in graphs]
        least = ROUNDING * float(np.abs(own - wanted).max())
        differences[name] = check_difference(name, found, wanted, had, least=least)

    for name, value in run.latents.items():
        check(name, value, exact[name], single[name], "encoder")
    for label, drawn, graph in (
        ("heard", run.heard, "decoder"),
        ("edited", run.edited, "decoder"),
        ("keys", run.key, "voices"),
    ):
        for name, value in drawn.voice.items():
            key = f"{label} {name}"
            check(key, value, exact[key], single[key], "encoder", graph)
        if len(drawn.log_amplitude):
            wanted, own = (_spectrum(one, drawn.voice, heard.control) for one in (double, model))
            check(f"{label} log_amplitude", drawn.log_amplitude, wanted, own)
    return differences, run


def _spectrum(model: HarmonicVAE, voice: Mapping[str, np.ndarray], control: Control) -> np.ndarray:
    """(hops, bins), of what a graph drew, in the type of the model's weights."""
    kind = next(model.parameters()).dtype
    parts = {name: torch.from_numpy(value)[None].to(kind) for name, value in voice.items()}
    parts["inharmonicity"] = parts["inharmonicity"][..., 0]
    return model.spectrum(Voice(**parts), Control(*(track.to(kind) for track in control)))[0].numpy()


def _reference(model: HarmonicVAE, heard: Heard, rate: float) -> dict[str, np.ndarray]:
    """What torch gives, by the names of `verify`, in the type of the model's weights."""
    kind = next(model.parameters()).dtype
    envelope, fine = heard.spectra.envelope.to(kind), heard.spectra.fine.to(kind)
    plain = Control(*(track.to(kind) for track in heard.control))
    higher = plain._replace(f0=plain.f0 * EDIT_RATIO)
    states, encoder_state = [model.decoder_state(1) for _ in range(3)], model.encoder_state(1)
    latents: list[Latents] = []
    voices: list[list[Voice]] = [[], [], []]
    start = 0
    for size in random_chunks(envelope.shape[1]):
        piece = slice(start, start + size)
        z, encoder_state = model.stream_encode(
            envelope[:, piece], fine[:, piece], torch.tensor(rate, dtype=kind), encoder_state
        )
        latents.append(z)
        ways = ((z, plain), (z.with_(timbre=z.timbre + 1.0), higher), (z, higher))
        for way, (values, control) in enumerate(ways):
            part = Control(*(track[:, piece] for track in control))
            voice, states[way] = model.stream_voice(values, part, states[way])
            voices[way].append(voice)
        start += size
    found = {name: torch.cat([z[name] for z in latents], 1)[0].numpy() for name in latents[0]}
    for label, parts in zip(("heard", "edited", "keys"), voices, strict=True):
        voice = Voice(*(torch.cat(pieces, 1) for pieces in zip(*parts, strict=True)))
        for name, tensor in zip(Voice._fields, voice, strict=True):
            found[f"{label} {name}"] = tensor[0].numpy().reshape(tensor.shape[1], -1)
    return found


def record(folder: Path, heard: Heard, rate: float, hops: int = 256) -> dict[str, list[dict[str, np.ndarray]]]:
    """What the fp32 graphs are fed on this sound, for rounding; edited rows hear timbres and pitches moved."""
    encoder, decoder, keys = (Recorder(folder / f"streaming/{name}.onnx") for name in ("encoder", "decoder", "voices"))
    frames = heard.spectra.envelope.shape[1]
    kept, smallest, rng = kept_hops(frames, hops), np.array([rate], np.float32), np.random.default_rng(0)
    moved: np.ndarray = np.zeros(1, np.float32)
    for hop, (envelope, fine) in enumerate(zip(heard.spectra.envelope[0], heard.spectra.fine[0], strict=True)):
        keep, told = hop in kept, _told(heard.control, hop)
        z = encoder(keep, envelope=envelope.numpy()[None], fine=fine.numpy()[None], rate=smallest)
        names = encoder.step.names
        if hop % 100 == 0:
            moved = np.multiply(rng.standard_normal(z["timbre"].shape[1]), EDIT, dtype=np.float32)
        rows = {name: np.repeat(z[name], 2, axis=0) for name in names}
        rows["timbre"][1] += moved
        decoder(keep, **rows, **decoder_rows(told))
        keys(keep, **{name: np.repeat(z[name], VOICES, axis=0) for name in names}, **_key_rows(told))
    return {"encoder": encoder.feeds, "decoder": decoder.feeds, "voices": keys.feeds}


@torch.no_grad()
def measure(folder: Path, model: HarmonicVAE, features: Any, held_out: Tensor, run: Run, rate: float) -> dict[str, Any]:
    """How near the graphs come to the sounds, as the original does, and how fast they are."""
    play, whole, streamed = partial(run_graphs, folder, rate=rate), [], []
    for sound in held_out[:MEASURED_SOUNDS]:
        heard = control_of(model, features, sound[None])
        counts, target = heard.spectra.sounding[0], heard.spectra.log_amplitude[0]
        if not counts.any():
            continue
        z = model.encode(heard.spectra.envelope, heard.spectra.fine, heard.spectra.sounding).latents
        whole.append((model.decode(z, heard.control)[0] - target).square().mean(-1)[counts])
        found = torch.from_numpy(play(heard).heard.log_amplitude)
        streamed.append((found - target).square().mean(-1)[counts])
    if not whole:
        raise ExportError("the calibration sounds are silent; name a folder of recordings with --calibration")
    config = features.config
    return {
        "mse_original": float(torch.cat(whole).mean()),
        "mse_streaming": float(torch.cat(streamed).mean()),
        **timings(run.hop_ms, 1000 * config.hop_samples / config.sample_rate),
        "key_ms_median": float(np.median(run.key_ms)),
        "algorithmic_latency_samples": 0,
        "algorithmic_latency_ms": 0.0,
        "parameters": parameters_of(model),
    }


def _plain(run: Run) -> StreamingRun:
    return StreamingRun(run.latents, run.heard.log_amplitude, run.hop_ms)
