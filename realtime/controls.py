"""The knobs: which targets a bundle offers, and their values. One float per target; the session reads, others write."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import numpy as np

from realtime.bundle import Manifest


class KnobError(Exception):
    """A knob or value that does not exist; the message says what does."""


@dataclass(frozen=True)
class Target:
    """Something a knob can move."""

    name: str
    low: float
    high: float
    default: float
    unit: str
    whole: bool = False  # takes whole numbers only, and is not smoothed


def targets_of(manifest: Manifest) -> tuple[Target, ...]:
    """All axes of the bundle, in its order, then the targets every bundle has."""
    axes = [Target(axis.name, axis.low, axis.high, 0.0, "standard deviations") for axis in manifest.axes]
    return (
        *axes,
        Target("preset", 0, len(manifest.presets), 0, "0 = your own timbre, k = the k-th preset", whole=True),
        Target("preset_amount", 0.0, 1.0, 1.0, "share of the preset in the timbre"),
        Target("mix", 0.0, 1.0, 1.0, "0 = dry, 1 = edited"),
        Target("gain_db", -60.0, 12.0, 0.0, "dB"),
    )


class KnobBank:
    """Targets and their present values.

    values : ndarray, (targets,), float64. Writer: the control side. The session reads it once per hop.
        Pass an array to place the values in shared memory; it is filled with the defaults.
    """

    def __init__(self, manifest: Manifest, values: np.ndarray | None = None) -> None:
        self.targets = targets_of(manifest)
        self.index = {target.name: i for i, target in enumerate(self.targets)}
        self.values = np.empty(len(self.targets)) if values is None else values
        if self.values.shape != (len(self.targets),):
            raise ValueError(f"values has shape {self.values.shape}, expected ({len(self.targets)},)")
        self.values[:] = [target.default for target in self.targets]

    def target(self, name: str) -> Target:
        if name not in self.index:
            close = difflib.get_close_matches(name, self.index, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"there are {_ranges(self.index)}"
            raise KnobError(f"no knob named {name!r}; {hint}")
        return self.targets[self.index[name]]

    def set(self, name: str, value: float) -> None:
        """Set one target, refusing values outside its range."""
        target = self.target(name)
        if not target.low <= value <= target.high:
            raise KnobError(f"{name}={value:g} is outside {target.low:g} … {target.high:g} ({target.unit})")
        if target.whole and value != round(value):
            raise KnobError(f"{name}={value:g} must be a whole number from {target.low:g} to {target.high:g}")
        self.values[self.index[name]] = value


def parse_assignment(text: str) -> tuple[str, float]:
    """'timbre[3]=1.5' → ('timbre[3]', 1.5)."""
    name, separator, number = text.partition("=")
    try:
        if not separator:
            raise ValueError
        return name.strip(), float(number)
    except ValueError:
        raise KnobError(f"cannot read the knob {text!r}; write NAME=NUMBER, for example timbre[3]=1.5") from None


def _ranges(names: dict[str, int]) -> str:
    """'timbre[0…63], brightness, mix' instead of 64 names."""
    families: dict[str, list[int]] = {}
    for name in names:
        match = re.fullmatch(r"(\w+)\[(\d+)\]", name)
        families.setdefault(match[1] if match else name, []).append(int(match[2]) if match else -1)
    return ", ".join(f"{name}[0…{max(i)}]" if i != [-1] else name for name, i in families.items())
