"""The bundle: everything the runtime knows about a model, in one folder. The reader defines the contract.

    manifest.json                            this file's `Manifest`
    streaming/encoder.onnx  decoder.onnx     one hop per call, causal, explicit state
    streaming/voices.onnx                    of a harmonic model: what keys play
    offline/encoder.onnx    decoder.onnx     the original, whole sounds (absent from a streaming-only bundle)
    fused.onnx                               the whole runtime in one graph, for other hosts (only if asked for; see
    `export.fused.step`) report.md  report.json                   what the streaming form costs against the original

Which streaming graphs there are, and their ports, follows from the manifest's `kind`; see `realtime.kinds`. Every
streaming graph also has its states, state.<name> in and next.<name> out, of the fixed shapes listed under `states`;
a reset fills them with zeros. With `lookahead_hops` = k the answer at frame t is about frame t − k, and the runtime
delays the sound by k hops.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realtime.kinds import KINDS, Kind, Sizes

FORMAT_VERSION = 1
STREAMING = KINDS["latents"].graphs
OFFLINE = ("offline/encoder", "offline/decoder")
Precision = Literal["fp32", "int8", "int4"]
Latent = Literal["timbre", "variation", "pitch"]


class BundleError(Exception):
    """A bundle that cannot be used; the message says what to do."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Port(_Record):
    """One input, output or state of a graph. A string in `shape` names a free axis (offline graphs only)."""

    name: str
    shape: tuple[int | str, ...]


class Graph(_Record):
    file: str
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...] = ()
    precision: Precision = "fp32"  # of its matrix products' weights


class Features(_Record):
    """How frames are made; the same numbers the model was trained with.

    Frame n holds the last `window_samples` samples up to and including hop n.
    """

    sample_rate: Annotated[int, Field(ge=4000, le=192000)]
    window_samples: Annotated[int, Field(ge=64, le=65536)]
    hop_samples: Annotated[int, Field(ge=1, le=8192)]
    log_floor: Annotated[float, Field(gt=0)]  # added to the level-normalised amplitude before the logarithm
    cutoff_quefrency: Annotated[int, Field(ge=1)]  # samples; below it is envelope, from it on fine structure
    level_seconds: Annotated[float, Field(gt=0)]  # time constant of the running level
    # Whether the level is the mean amplitude, or the root of the mean power.
    level: Literal["amplitude", "power"] = "amplitude"
    silence_dbfs: Annotated[float, Field(le=0)]  # frames below this freeze level and latents

    @property
    def bins(self) -> int:
        return self.window_samples // 2 + 1

    @property
    def hop_seconds(self) -> float:
        return self.hop_samples / self.sample_rate

    @model_validator(mode="after")
    def _consistent(self) -> Features:
        if self.window_samples % 2 or self.hop_samples > self.window_samples:
            raise ValueError("window_samples must be even and at least hop_samples")
        if self.cutoff_quefrency > self.window_samples // 2:
            raise ValueError("cutoff_quefrency must be at most window_samples / 2")
        return self


class Axis(_Record):
    """One knob: moves z^t by `value * direction`, whose length gives the unit (see `training.knobs.knobs`)."""

    name: str  # the knob's target, e.g. "timbre[3]", "brightness", "raw[12]"
    label: str
    direction: tuple[float, ...]
    low: float = -3.0
    high: float = 3.0
    effect_db: float  # measured: RMS change of the decoded log-spectrum, in dB, for value = 1
    descriptor: str | None = None  # labelled axes: the descriptor regressed on, and ...
    correlation: float | None = None  # ... its correlation on held-out sounds


class Anchor(_Record):
    """z^t of an instrument near one pitch, and, where a preset moves it too, its z^p. `midi_note` is None for unpitched
    instruments.
    """

    midi_note: float | None
    timbre: tuple[float, ...]
    pitch: tuple[float, ...] | None = None


class Preset(_Record):
    """A named instrument's timbre, as a function of pitch: anchors in ascending order of `midi_note`."""

    name: str
    family: str
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1)]


class PitchAnchor(_Record):
    """z^p at one pitch: averaged over training sounds, tuned where that makes the decoder play the note. Between
    anchors it is taken as linear.
    """

    midi_note: float
    pitch: tuple[float, ...]
    # Measured distance of the decoded pitch from the note; None = no pitch was found.
    error_cents: float | None = None


class Harmonic(_Record):
    """What a harmonic decoder is told, and what it draws (see `training.models.harmonic`).

    The partials of f0, f_h = h f0 √(1 + B h²), have the amplitudes exp(Σ_k envelope_k cos(π k p(f_h)) + offset_h), the
    noise exp(Σ_k noise_k cos(π k p(f)) + noise_log), with p(f) = log(1 + f/warp_hz) / log(1 + nyquist/warp_hz).
    """

    confidence: tuple[float, float]  # of the pitch tracker, where the voicing is 0 and 1; linear between
    centre_hops: Annotated[int, Field(ge=0, le=64)]  # age of a frame's middle, where its partials lie
    loudness_mean: float  # subtracted from the log of the A-weighted level of the level-normalised frame
    loudness_centred: bool  # then minus its running mean
    warp_hz: Annotated[float, Field(gt=0)]
    envelope_cosines: Annotated[int, Field(ge=1, le=4096)]
    offsets: Annotated[int, Field(ge=1, le=4096)]  # partials that have one
    noise_cosines: Annotated[int, Field(ge=1, le=4096)]
    noise_log: float
    most_log: float  # amplitudes are clipped there

    @property
    def voice(self) -> dict[str, int]:
        """What the decoder draws: name → how many numbers."""
        return {
            "envelope": self.envelope_cosines,
            "offsets": self.offsets,
            "noise": self.noise_cosines,
            "inharmonicity": 1,
        }


class Manifest(_Record):
    format_version: Literal[1]
    producer: str
    # Which graphs and ports it has, see `realtime.kinds`; older bundles, which do not say it, are of this kind.
    kind: str = "latents"
    model_kind: str  # the system that was trained
    precision: Literal["fp32", "int8", "int4", "mixed"]  # of the streaming graphs
    features: Features
    lookahead_hops: Annotated[int, Field(ge=0, le=64)] = 0  # how many hops later the model answers
    latents: dict[Latent, int]  # dimensions
    harmonic: Harmonic | None = None  # of the kind of this name, and of no other
    graphs: dict[str, Graph]
    axes: tuple[Axis, ...]
    presets: tuple[Preset, ...]
    variation_axes: tuple[Axis, ...] = ()  # directions of z^v, names "variation[0]", …
    pitch_axes: tuple[Axis, ...] = ()  # directions of z^p, names "pitch[0]", …
    pitch_anchors: tuple[PitchAnchor, ...] = ()  # in ascending order of `midi_note`
    fidelity: dict[str, float]  # the export's own measurements; the full account is report.json

    @property
    def streaming(self) -> tuple[str, ...]:
        """Names of the graphs that run once per hop, in this order."""
        return KINDS[self.kind].graphs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the ways out to sound, morph first."""
        return KINDS[self.kind].outputs

    @property
    def timbre_size(self) -> int:
        """Dimensions of z^t, 0 if the model has none."""
        return self.latents.get("timbre", 0)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none that this version of Neiro plays ({', '.join(KINDS)})")
        if (self.harmonic is not None) != (self.kind == "harmonic"):
            raise ValueError(f"a bundle of kind {self.kind!r} {'lacks' if self.harmonic is None else 'has'} `harmonic`")
        missing = [name for name in self.streaming if name not in self.graphs]
        if missing:
            raise ValueError(f"graphs lack {', '.join(missing)}")
        lacking = [name for name in KINDS[self.kind].latents if name not in self.latents]
        if lacking:
            raise ValueError(f"latents lack {', '.join(lacking)}")
        families: dict[Latent, tuple[Axis, ...]] = {
            "timbre": self.axes,
            "variation": self.variation_axes,
            "pitch": self.pitch_axes,
        }
        for latent, axes in families.items():
            for axis in axes:
                if len(axis.direction) != self.latents.get(latent):
                    raise ValueError(
                        f"axis {axis.name} has {len(axis.direction)} dimensions, {latent} has "
                        f"{self.latents.get(latent)}"
                    )
        self._check_anchors()
        return self

    def _check_anchors(self) -> None:
        notes = [anchor.midi_note for anchor in self.pitch_anchors]
        if notes != sorted(set(notes)):
            raise ValueError("pitch_anchors are not in ascending order of midi_note")
        if any(len(anchor.pitch) != self.latents.get("pitch") for anchor in self.pitch_anchors):
            raise ValueError(f"a pitch anchor does not have {self.latents.get('pitch')} dimensions")
        for preset in self.presets:
            if any(len(anchor.timbre) != self.timbre_size for anchor in preset.anchors):
                raise ValueError(f"preset {preset.name} does not have {self.timbre_size} dimensions")
            told = {None if anchor.pitch is None else len(anchor.pitch) for anchor in preset.anchors}
            if told not in ({None}, {self.latents.get("pitch")}):
                raise ValueError(f"preset {preset.name} does not have {self.latents.get('pitch')} pitch dimensions")


@dataclass(frozen=True)
class Bundle:
    path: Path
    manifest: Manifest

    def graph_path(self, name: str) -> Path:
        return self.path / self.manifest.graphs[name].file


def embedded_bundle() -> Path:
    """The streaming-only bundle that ships inside this package."""
    return Path(__file__).with_name("default.bundle")


def find_bundle(working_directory: Path) -> Path:
    """The newest `*.bundle` folder in the working directory, else the embedded one."""
    found = [path for path in working_directory.glob("*.bundle") if (path / "manifest.json").is_file()]
    return max(found, key=lambda path: (path / "manifest.json").stat().st_mtime, default=embedded_bundle())


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle: the schema, every file's hash, the paths.

    Raises
    ------
    BundleError
        With one sentence: what is wrong and what to do.
    """
    path = Path(path)
    remedy = "make one with: python -m export.onnx ckpt.pt"
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}; {remedy}")
    manifest_path = path / "manifest.json"
    if not manifest_path.is_file():
        raise BundleError(f"{path} has no manifest.json, so it is not a bundle; {remedy}")
    try:
        content = json.loads(manifest_path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{manifest_path} is not readable JSON ({_one_line(error)}); export the bundle again"
        ) from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has bundle format {version!r}, this runtime reads {FORMAT_VERSION}; export it again with this "
            "version of Neiro"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{manifest_path}: {where}: {first['msg']}; export the bundle again") from None
    for name, graph in manifest.graphs.items():
        _check_file(path, name, graph)
    _check_ports(path, manifest)
    return Bundle(path=path, manifest=manifest)


def _check_ports(path: Path, manifest: Manifest) -> None:
    """Every streaming graph has the ports of its kind."""
    kind: Kind = KINDS[manifest.kind]
    latents = {str(name): size for name, size in manifest.latents.items()}
    voice = manifest.harmonic.voice if manifest.harmonic else {}
    for name, wanted in kind.ports(Sizes(manifest.features.bins, latents, voice)).items():
        graph = manifest.graphs[name]
        for what, ports, expected in (
            ("input", graph.inputs, wanted.inputs),
            ("output", graph.outputs, wanted.outputs),
        ):
            found = {port.name: tuple(port.shape) for port in ports}
            for port in sorted(found.keys() | expected.keys()):
                if found.get(port) != expected.get(port):
                    told = [f"{shape[port]}" if port in shape else "none" for shape in (found, expected)]
                    raise BundleError(
                        f"{path}: {name}: {what} {port} is {told[0]}, a bundle of the kind {manifest.kind!r} has "
                        f"{told[1]}; export the bundle again"
                    )


def _check_file(path: Path, name: str, graph: Graph) -> None:
    file = path / graph.file
    if not file.resolve().is_relative_to(path.resolve()):
        raise BundleError(f"{path}: {name} points outside the bundle ({graph.file}); do not use it, export it again")
    if not file.is_file():
        raise BundleError(f"{path}: {graph.file} is missing; export the bundle again")
    if file_sha256(file) != graph.sha256:
        raise BundleError(
            f"{path}: {graph.file} has been changed since the export (hash differs); export the bundle again"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
