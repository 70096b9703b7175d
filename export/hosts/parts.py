"""What every host file is made of: the instrument as steps of one hop, and their traced forms."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.fused.step import FusedStep
from export.hosts.steps import DecodeStep, EncodeStep, Packed
from realtime.bundle import Axis, Bundle, Features
from realtime.knobs.targets import Target, morph_targets

PLAIN_AXES = 8  # timbre axes offered beside the labelled ones: the strongest


@dataclass(frozen=True)
class Parts:
    """bundle : the same model for the runtime, whose session is the reference
    encoder, decoder : its streaming graphs (`export.graphs`)
    sound : (samples,), real sound to verify with, at the model's rate
    """

    name: str
    bundle: Bundle
    encoder: Any
    decoder: Any
    sound: Tensor

    @property
    def features(self) -> Features:
        return self.bundle.manifest.features

    @property
    def hop(self) -> int:
        return self.features.hop_samples

    @property
    def latency_samples(self) -> int:
        """Of the reshaped sound: none, unless the model looks ahead."""
        return self.bundle.manifest.lookahead_hops * self.hop

    def targets(self) -> tuple[Target, ...]:
        return morph_targets(self.bundle.manifest)

    def steps(self) -> dict[str, Packed]:
        """step: sound and knobs to sound;  encode: sound to latents and level;  decode: back to sound."""
        fused = FusedStep(self.bundle.manifest, self.encoder, self.decoder)
        encode = EncodeStep(self.features, self.encoder, self.bundle.manifest.lookahead_hops)
        whole = {"step": fused, "encode": encode, "decode": DecodeStep(self.features, self.decoder)}
        return {name: Packed(step).eval() for name, step in whole.items()}

    def latent_names(self) -> list[str]:
        """Of every channel between `encode` and `decode`."""
        sizes = {name: shape[1] for name, shape in self.decoder.input_shapes.items()}
        return [*(f"{name} {i}" for name, size in sizes.items() for i in range(size)), "level (dB)"]


@dataclass(frozen=True)
class Offered:
    """A knob that a host shows.  index : its place among the targets;  label : for people"""

    name: str
    index: int
    target: Target
    label: str


def offered_knobs(parts: Parts) -> list[Offered]:
    """Every labelled axis, the strongest timbre axes, and what every bundle has; names that are legal wherever names
    are.
    """
    axes = {axis.name: axis for axis in parts.bundle.manifest.axes}
    strongest = sorted(
        (axis for axis in axes.values() if axis.name.startswith("timbre[")), key=lambda axis: -axis.effect_db
    )[:PLAIN_AXES]
    wanted = {axis.name for axis in axes.values() if axis.descriptor} | {axis.name for axis in strongest}
    knobs = []
    for index, target in enumerate(parts.targets()):
        if target.name in wanted or target.name not in axes:
            label = axes[target.name].label if target.name in axes else target.unit
            knobs.append(Offered(re.sub(r"\W+", "_", target.name).strip("_"), index, target, label))
    return knobs


def macro_axes(axes: tuple[Axis, ...], count: int) -> list[Axis]:
    """The axes a host with few knobs shows: the labelled ones that do most of what they say (correlation × effect),
    then the strongest.
    """
    labelled = sorted(
        (a for a in axes if a.descriptor and a.correlation), key=lambda a: -abs(a.correlation or 0.0) * a.effect_db
    )
    plain = sorted((a for a in axes if not a.descriptor and not a.name.startswith("raw[")), key=lambda a: -a.effect_db)
    return [*labelled, *plain][:count]


@contextmanager
def quiet() -> Iterator[None]:
    """TorchScript is on its way out and says so at every call; users need not hear it. Neither of tracing, nor of other
    kits' progress.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def traced(step: Packed) -> torch.jit.ScriptModule:
    """A step as TorchScript; any batch size."""
    with quiet():
        return torch.jit.trace(step, step.example(), check_trace=False)


def scripted(module: nn.Module, extra: str = "") -> torch.jit.ScriptModule:
    """A module as TorchScript.  extra : source of further methods, which cannot be written where their number is not
    known
    """
    with quiet():
        script = torch.jit.script(module.eval())
        if extra:
            script.define(extra)
        return script


def loaded(path: Path) -> torch.jit.ScriptModule:
    with quiet():
        return torch.jit.load(str(path), map_location="cpu")
