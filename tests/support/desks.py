"""A desk without a sound: every target that a bundle can have, and maps to turn it with."""

from __future__ import annotations

from pathlib import Path

from realtime.bundle import Anchor, Axis, Features, Graph, Manifest, PitchAnchor, Preset
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import KnobMap, load_map
from realtime.knobs.bank import KnobBank

FEATURES = Features(
    sample_rate=44100,
    window_samples=2048,
    hop_samples=256,
    log_floor=1e-3,
    cutoff_quefrency=64,
    level_seconds=1.0,
    silence_dbfs=-60.0,
)


def desk_of(dimensions: int = 8, presets: int = 3) -> Desk:
    names = [f"timbre[{i}]" for i in range(dimensions)]
    axes = [Axis(name=name, label=name, direction=(0.0,) * dimensions, effect_db=1.0) for name in names]
    graph = Graph(file="x.onnx", sha256="", inputs=(), outputs=())
    manifest = Manifest(
        format_version=1,
        producer="test",
        model_kind="test",
        precision="fp32",
        features=FEATURES,
        latents={"timbre": dimensions, "variation": 1, "pitch": 1},
        graphs={"streaming/encoder": graph, "streaming/decoder": graph},
        axes=tuple(axes),
        presets=tuple(
            Preset(name=f"p{i}", family="f", anchors=(Anchor(midi_note=None, timbre=(0.0,) * dimensions),))
            for i in range(presets)
        ),
        pitch_anchors=(PitchAnchor(midi_note=60.0, pitch=(0.0,)),),
        fidelity={},
    )
    return Desk(KnobBank(manifest))


def value(desk: Desk, name: str) -> float:
    return desk.value(desk.index[name])


def custom(tmp_path: Path, text: str, desk: Desk) -> KnobMap:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    return load_map(path, desk)


def play(knobs: KnobMap, desk: Desk, *messages: list[int]) -> bool:
    """Whether the last message set a target."""
    return [knobs.apply(message, desk) for message in messages][-1]
