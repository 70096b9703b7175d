"""fused.onnx: the whole runtime in one file that explains itself, and the proof that it plays what the runtime plays.

The file's own metadata say what a host must know, so that it needs no manifest: `sample_rate`, `hop_samples`,
`latency_samples`, `knobs` (a line each: name, lowest, highest, default, 1 if it takes whole numbers only, unit, divided
by tabs) and `presets` (a line each, from number 1).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import torch

from export.errors import ExportError
from export.fused.step import FusedStep
from export.fused.weights import share_weights
from export.graph_file import export_graph, open_session, ports_of, state_names
from realtime.bundle import STREAMING, Bundle, Graph, Manifest, Port, Precision, file_sha256
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import morph_targets
from realtime.session import Session, SessionOptions

FILE = "fused.onnx"
AUDIO_OUT = "audio_out"  # of the file: an output cannot have the name of an input
# Greatest difference of any sample, full scale 1. Quantised products round their inputs to int8, so that a difference
# of 1e-7 can become one of 1e-3.
TOLERANCE, TOLERANCE_QUANTIZED = 1e-4, 2e-2
LEAST_SECONDS = 10.0
GESTURE_SECONDS = 0.35  # how long the proof leaves the knobs alone


def write_fused(folder: Path, manifest: Manifest, encoder: Any, decoder: Any) -> Graph:
    """Write `folder`/fused.onnx, its weights as coarse as those of the streaming graphs that are there already.

    encoder, decoder : the streaming graphs' modules, of which the file gets its own copy
    """
    step = FusedStep(manifest, encoder, decoder).eval()
    states_in, states_out = state_names(step)
    example = tuple(torch.zeros(shape) for shape in (*step.input_shapes.values(), *step.state_shapes.values()))
    path = folder / FILE
    export_graph(step, example, path, [*step.input_shapes, *states_in], [AUDIO_OUT, *states_out])
    model = onnx.load(path)
    if manifest.precision != "fp32":
        share_weights(model, folder)
    onnx.helper.set_model_props(model, metadata_of(manifest))
    onnx.save(model, path)
    inputs, states = ports_of(step.input_shapes), ports_of(step.state_shapes)
    outputs = (Port(name=AUDIO_OUT, shape=step.output_shapes["audio"]),)
    precision = max(
        (manifest.graphs[name].precision for name in STREAMING), key=get_args(Precision).index
    )  # the coarser one's
    return Graph(
        file=FILE, sha256=file_sha256(path), inputs=inputs, outputs=outputs, states=states, precision=precision
    )


def metadata_of(manifest: Manifest) -> dict[str, str]:
    knobs = [
        (t.name, f"{t.low:g}", f"{t.high:g}", f"{t.default:g}", str(int(t.whole)), t.unit)
        for t in morph_targets(manifest)
    ]
    return {
        "producer": manifest.producer,
        "sample_rate": str(manifest.features.sample_rate),
        "hop_samples": str(manifest.features.hop_samples),
        "latency_samples": str(manifest.lookahead_hops * manifest.features.hop_samples),
        "knobs": "\n".join("\t".join(knob) for knob in knobs),
        "presets": "\n".join(preset.name for preset in manifest.presets),
    }


def verify_fused(folder: Path, manifest: Manifest, audio: np.ndarray) -> dict[str, float]:
    """Play real sound with moving knobs through fused.onnx and through the runtime's own session with the streaming
    graphs beside it.

    audio : (samples,), at the model's rate; repeated if shorter than `LEAST_SECONDS`

    Returns
    -------
    the greatest difference of a sample

    Raises
    ------
    ExportError
        If it is beyond the tolerance.
    """
    sound = proof_sound(manifest, audio)
    knobs = proof_knobs(manifest, len(sound))
    found, _ = play_fused(folder / FILE, sound, knobs)
    wanted, _ = play_session(Bundle(folder, manifest), sound, knobs)
    worst = float(np.abs(found - wanted).max())
    tolerance = TOLERANCE if manifest.precision == "fp32" else TOLERANCE_QUANTIZED
    if not worst <= tolerance:
        raise ExportError(
            f"{FILE} differs from the runtime by {worst:.1e} over {len(sound)} hops (limit {tolerance:.0e}); nothing "
            "was written"
        )
    return {"fused audio": worst}


def proof_sound(manifest: Manifest, audio: np.ndarray) -> np.ndarray:
    """(hops, hop_samples), float32: the sound with a second of silence after every four."""
    rate, hop = manifest.features.sample_rate, manifest.features.hop_samples
    wanted = max(len(audio), round(LEAST_SECONDS * rate))
    whole = np.resize(np.asarray(audio, np.float32), wanted)
    parts = [
        part
        for start in range(0, wanted, 4 * rate)
        for part in (whole[start : start + 4 * rate], np.zeros(rate, np.float32))
    ]
    sound = np.concatenate(parts)
    return sound[: len(sound) // hop * hop].reshape(-1, hop)


def proof_knobs(manifest: Manifest, hops: int, seed: int = 0) -> np.ndarray:
    """(hops, targets): every while another gesture, of which each third returns to rest and each ninth to the dry
    sound.
    """
    rng, targets = np.random.default_rng(seed), morph_targets(manifest)
    low, high, default = (
        np.array([getattr(target, name) for target in targets]) for name in ("low", "high", "default")
    )
    axes, values = len(manifest.axes), np.empty((hops, len(targets)))
    names = [target.name for target in targets]
    length = max(1, round(GESTURE_SECONDS / manifest.features.hop_seconds))
    present = default.copy()
    for gesture, start in enumerate(range(0, hops, length)):
        present = default.copy() if gesture % 3 == 2 else present.copy()
        if gesture % 3 < 2 and axes:
            moved = rng.integers(axes, size=2)
            present[moved] = rng.uniform(low[moved], high[moved])
        if gesture % 3 == 1:
            present[names.index("preset")] = rng.integers(len(manifest.presets) + 1)
            present[names.index("preset_amount")] = rng.uniform()
            present[names.index("gain_db")] = rng.uniform(-12, 0)
            present[names.index("mix")] = 0.0 if gesture % 9 == 4 else rng.uniform()
        values[start : start + length] = present
    return values


def play_fused(path: Path, sound: np.ndarray, knobs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sound (hops, hop_samples) and knobs (hops, targets) → (hops, hop_samples), and how long each hop took, ms."""
    session = open_session(path)
    state = {
        port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs() if port.name.startswith("state.")
    }
    heard, times = np.empty_like(sound), np.empty(len(sound))
    for i, (hop, values) in enumerate(zip(sound, knobs.astype(np.float32), strict=True)):
        start = time.perf_counter()
        answer = session.run(None, {"audio": hop[None], "knobs": values[None]} | state)
        times[i] = 1000 * (time.perf_counter() - start)
        heard[i], state = answer[0][0], dict(zip(state, answer[1:], strict=True))
    return heard, times


def play_session(bundle: Bundle, sound: np.ndarray, knobs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same through the runtime."""
    bank = KnobBank(bundle.manifest)
    session = Session(
        bundle,
        bank,
        channels=1,
        sample_rate=bundle.manifest.features.sample_rate,
        options=SessionOptions(provider="cpu"),
    )
    heard, times = np.empty_like(sound), np.empty(len(sound))
    for i, (hop, values) in enumerate(zip(sound, knobs, strict=True)):
        bank.values[: len(values)] = values
        start = time.perf_counter()
        session.process_block(hop[:, None], heard[i][:, None])
        times[i] = 1000 * (time.perf_counter() - start)
    return heard, times
