"""How long a hop takes: every form, precision and backend of a model in turns, one thread, one run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bundles import quantized
from benchmarks.machine import one_core
from benchmarks.streaming.forms import Forms
from benchmarks.streaming.players import (
    Player,
    compiled,
    in_layers,
    in_modules,
    in_onnxruntime,
    traced,
    weight_bytes,
    written,
)
from benchmarks.streaming.ways import ORIGINAL, Way
from benchmarks.weights import memory_bandwidth
from export.graph_file import open_session, run_streaming, write_offline
from export.proof.verify import verify_streaming
from export.quantize.cost import precision_cost
from export.quantize.feeds import record_feeds
from export.systems import streaming_graphs, system_of
from realtime.bundle import Precision
from realtime.hop.model import StreamingModel

TURN = 50  # hops before the next one has its turn
WARM_UP = 30
TURNS_MS = 15_000.0  # a slow one has fewer hops, so that it takes no longer than this, but as many as ...
FEWEST_FOR_P999 = 1000
FEED_HOPS = 500
VERIFIED_HOPS = 120
LOWER: tuple[Precision, ...] = ("int8", "int4")


def take_turns(players: dict[str, Player], hops: int) -> dict[str, list[float]]:
    """Milliseconds of each player's hops."""
    times: dict[str, list[float]] = {name: [] for name in players}
    wanted, at = {}, dict.fromkeys(players, 0)
    with one_core(collecting=False):
        for name, play in players.items():
            warm = [_timed(play, hop) for hop in range(WARM_UP)]
            at[name] = WARM_UP
            wanted[name] = min(hops, max(FEWEST_FOR_P999, int(TURNS_MS / np.median(warm[WARM_UP // 2 :]))))
        while any(len(times[name]) < wanted[name] for name in players):
            for name, play in players.items():
                if len(times[name]) < wanted[name]:
                    found = [_timed(play, at[name] + hop) for hop in range(TURN + 3)]
                    at[name] += TURN + 3
                    times[name] += found[3:]  # what the others left in the caches does not count
    return times


def _timed(play: Player, hop: int) -> float:
    start = time.perf_counter()
    play(hop)
    return 1000 * (time.perf_counter() - start)


def summary(times: list[float], hop_ms: float) -> dict[str, Any]:
    """hop_ms : what a hop lasts;  p99.9 is None of too few hops"""
    high = float(np.percentile(times, 99.9)) if len(times) >= FEWEST_FOR_P999 else None
    figures = {"median": float(np.median(times)), "p99": float(np.percentile(times, 99)), "p99.9": high}
    return figures | {"hops": len(times), "real_time_factor": hop_ms / float(np.mean(times))}


def form_times(forms: Forms, chosen: list[Way]) -> dict[str, Any]:
    """Every form that streams in ONNX Runtime at fp32, the original by its whole-sound graphs; each is verified before.

    Returns way → summary, bytes of weights and greatest difference from torch; and GB/s of the memory.
    """
    subject, features = forms.subject, forms.subject.checkpoint.features
    found: dict[str, Any] = {}
    players: dict[str, Player] = {}
    with tempfile.TemporaryDirectory() as place:
        for number, way in enumerate(chosen):
            if way.name == ORIGINAL:
                found[way.name] = _whole_sounds(forms, Path(place) / "offline")
                continue
            model, folder = forms(way).model, Path(place) / str(number)
            bundle = written(folder, streaming_graphs(system_of(subject.checkpoint.model), model), model, features)
            short = type(forms.held_out)(
                **{name: value[:, :VERIFIED_HOPS] for name, value in vars(forms.held_out).items()}
            )
            differences, _ = verify_streaming(folder, model, short, subject.rate)
            found[way.name] = {"weight_bytes": weight_bytes(bundle), "difference": max(differences.values())}
            players[way.name] = in_onnxruntime(StreamingModel(bundle, "cpu"), forms.held_out, subject.rate)
        bandwidth = [memory_bandwidth(forms.effort.memory_bytes, forms.effort.memory_seconds)]
        for name, times in take_turns(players, forms.effort.hops).items():
            found[name] |= summary(times, subject.hop_ms)
        bandwidth.append(memory_bandwidth(forms.effort.memory_bytes, forms.effort.memory_seconds))
    return {"forms": found, "gb_s": max(bandwidth)}


def _whole_sounds(forms: Forms, folder: Path) -> dict[str, Any]:
    """The original's graphs over one whole sound again and again: the time of a hop is its share of that."""
    folder.mkdir()
    encoder: Any
    encoder, decoder = system_of(forms.subject.checkpoint.model).offline(forms.subject.checkpoint.model)
    write_offline(folder, encoder, decoder)
    fixed = encoder.input_shapes["envelope"][1]
    frames = fixed if isinstance(fixed, int) else round(1000 / forms.subject.hop_ms)
    inputs = {name: getattr(forms.held_out, name)[:, :frames].numpy() for name in ("envelope", "fine")}
    graphs = [open_session(folder / f"offline/{name}.onnx") for name in ("encoder", "decoder")]

    def play(hop: int) -> None:
        graphs[1].run(None, dict(zip(encoder.output_shapes, graphs[0].run(None, inputs), strict=True)))

    times = take_turns({"whole": play}, max(TURN, forms.effort.hops // frames))["whole"]
    weights = sum(
        value.numel() * value.element_size() for value in forms.subject.checkpoint.model.state_dict().values()
    )
    return summary([ms / frames for ms in times], forms.subject.hop_ms) | {
        "p99": None,
        "p99.9": None,
        "weight_bytes": weights,
        "difference": None,
    }


def backend_times(forms: Forms, way: Way) -> dict[str, Any]:
    """One form in every precision of ONNX Runtime, with what it costs, and in torch's own ways, all in one run.

    Returns "precision or backend" → summary; or why there is none.
    """
    subject, spectra, rate = forms.subject, forms.held_out, forms.subject.rate
    model = forms(way).model
    pair = streaming_graphs(system_of(subject.checkpoint.model), model)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        bundles = {"fp32": written(Path(place) / "fp32", pair, model, subject.checkpoint.features)}
        feeds = record_feeds(bundles["fp32"].path, spectra, rate, FEED_HOPS)
        bundles |= {
            precision: quantized(bundles["fp32"], Path(place) / precision, precision, feeds).bundle
            for precision in LOWER
        }
        runs = {precision: run_streaming(bundle.path, spectra, rate) for precision, bundle in bundles.items()}
        players: dict[str, Player] = {}
        for precision, bundle in bundles.items():
            cost = precision_cost(runs["fp32"], runs[precision], spectra.log_amplitude[0].numpy(), model.lookahead)
            found[f"ONNX Runtime, {precision}"] = {
                "weight_bytes": weight_bytes(bundle),
                "cost": vars(cost) | {"mse_change": cost.mse_change},
            }
            players[f"ONNX Runtime, {precision}"] = in_onnxruntime(StreamingModel(bundle, "cpu"), spectra, rate)
        players["TorchScript"] = in_modules(pair, traced(pair), spectra, rate)
        players["torch, the graphs' modules"] = in_modules(pair, pair, spectra, rate)
        players["torch, the model's layers"] = in_layers(model, spectra, rate)
        if forms.effort.compiler:
            players |= _if_it_works("torch.compile", in_modules(pair, compiled(pair), spectra, rate), found)
        bandwidth = [memory_bandwidth(forms.effort.memory_bytes, forms.effort.memory_seconds)]
        for name, times in take_turns(players, forms.effort.hops).items():
            found[name] = found.get(name, {}) | summary(times, subject.hop_ms)
        bandwidth.append(memory_bandwidth(forms.effort.memory_bytes, forms.effort.memory_seconds))
    return {"way": way.name, "backends": found, "gb_s": max(bandwidth)}


def _if_it_works(name: str, player: Player, found: dict[str, Any]) -> dict[str, Player]:
    """The player, if its first hops succeed; else the reason is what was found of it."""
    try:
        with one_core(collecting=False):
            for hop in range(3):
                player(hop)
    except Exception as error:  # what the compiler raises has no common base, and there may be no compiler
        found[name] = {"missing": (str(error).strip().splitlines() or [type(error).__name__])[0][:120]}
        return {}
    return {name: player}
