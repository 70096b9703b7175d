"""What flows through a streaming graph while it hears calibration sounds: the inputs to quantise it with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from export.graph_file import Stepper
from training.features import Spectra
from training.models.latents import LATENTS

WIDEST = 5000
Feed = dict[str, np.ndarray]  # port → float32, states included
EDIT = 1.0  # standard deviation of the edited row's distance from the unedited one, in every timbre dimension


@dataclass(frozen=True)
class Moments:
    """Of a product's input: mean (rows,) and covariance (rows, rows) or None, rows as in its weight."""

    mean: np.ndarray
    covariance: np.ndarray | None


class Recorder:
    """Steps a streaming graph, and keeps what it is fed at the hops asked for."""

    def __init__(self, path: Path) -> None:
        self.step = Stepper(path)
        self.feeds: list[Feed] = []

    def __call__(self, keep: bool, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        if keep:
            self.feeds.append({name: value.copy() for name, value in (inputs | self.step.state).items()})
        return self.step(**inputs)


def record_feeds(folder: Path, spectra: Spectra, rate: float, hops: int) -> dict[str, list[Feed]]:
    """Play a sound's spectra (1, frames, bins) through the fp32 streaming graphs and keep what they were fed at up to
    `hops` hops.

    The decoder's second row hears timbres moved at random, as knobs will move them.
    """
    encoder, decoder = Recorder(folder / "streaming/encoder.onnx"), Recorder(folder / "streaming/decoder.onnx")
    kept = kept_hops(spectra.envelope.shape[1], hops)
    smallest = np.array([rate], np.float32)
    rng = np.random.default_rng(0)
    moved = 0.0
    for hop, (envelope, fine) in enumerate(zip(spectra.envelope[0].numpy(), spectra.fine[0].numpy(), strict=True)):
        z = encoder(hop in kept, envelope=envelope[None], fine=fine[None], rate=smallest)
        rows = {name: np.repeat(z[name], 2, axis=0) for name in LATENTS if name in z}
        if hop % 100 == 0:
            moved = EDIT * rng.standard_normal(rows["timbre"].shape[1])
        rows["timbre"][1] += moved
        decoder(hop in kept, **rows)
    return {"encoder": encoder.feeds, "decoder": decoder.feeds}


def kept_hops(frames: int, hops: int) -> set[int]:
    """At most so many of the frames, at even distances."""
    return set(np.linspace(0, frames - 1, min(hops, frames)).round().astype(int).tolist())


def input_moments(
    model: onnx.ModelProto, names: Iterable[str], feeds: Sequence[Feed], *, covariance: bool
) -> dict[str, Moments]:
    """Mean and, if asked for, covariance of these values of the graph, by name, over all rows of all feeds.

    Values wider than `WIDEST` get none: it would take gigabytes, and more feeds than there are to know it.
    """
    wanted = list(dict.fromkeys(names))
    rows = {name: np.concatenate(values) for name, values in _observe(model, wanted, feeds).items()}
    moments = {}
    for name, x in rows.items():
        mean = x.mean(0, dtype=np.float64).astype(np.float32)
        centred = x - mean if covariance and x.shape[1] <= WIDEST else None
        moments[name] = Moments(mean, None if centred is None else centred.T @ centred / len(x))
    return moments


def _observe(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, list[np.ndarray]]:
    """What these values were at each feed, each (rows, width)."""
    given = [name for name in names if name in feeds[0]]
    inner = [name for name in names if name not in feeds[0]]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    present = {port.name for port in watched.graph.output}
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner if name not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, list[np.ndarray]] = {name: [feed[name] for feed in feeds] for name in given}
    found |= {name: [] for name in inner}
    for feed in feeds:
        for name, value in zip(inner, session.run(inner, feed) if inner else [], strict=True):
            found[name].append(value.reshape(-1, value.shape[-1]))
    return {name: [value.reshape(-1, value.shape[-1]) for value in values] for name, values in found.items()}
