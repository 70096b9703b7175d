"""The values of the knobs: one float per target. The session reads them, the control side writes them."""

from __future__ import annotations

import difflib
import re

import numpy as np

from realtime.bundle import Manifest
from realtime.knobs.targets import SLOTS, SMOOTHING_SECONDS, KnobError, Target, targets_of


class KnobBank:
    """Targets and their present values.

    values : ndarray, (targets,), float64. Writer: the control side. The session reads it once per hop.
        Pass an array to place the values in shared memory; it is filled with the defaults.
    smoothing : ndarray, (targets,), float64, seconds. Same writer. The session follows each value with this time
        constant.
    slots : ndarray, (SLOTS, timbre), float64. Same writer. Timbres that were captured or loaded: presets after the
        bundle's own. A row of NaN is empty and means "your own timbre". A row may be read half written; the session
        glides to it anyway.
    """

    def __init__(
        self,
        manifest: Manifest,
        values: np.ndarray | None = None,
        smoothing: np.ndarray | None = None,
        slots: np.ndarray | None = None,
    ) -> None:
        self.targets = targets_of(manifest)
        self.index = {target.name: i for i, target in enumerate(self.targets)}
        shapes = ((len(self.targets),), (len(self.targets),), (SLOTS, manifest.timbre_size))
        self.values, self.smoothing, self.slots = (
            np.empty(shape) if array is None else array
            for array, shape in zip((values, smoothing, slots), shapes, strict=True)
        )
        for name, array, shape in zip(
            ("values", "smoothing", "slots"), (self.values, self.smoothing, self.slots), shapes, strict=True
        ):
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        self.values[:] = [target.default for target in self.targets]
        self.smoothing[:] = SMOOTHING_SECONDS
        self.slots[:] = np.nan

    def target(self, name: str) -> Target:
        if name not in self.index:
            close = difflib.get_close_matches(name, self.index, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"there are {_ranges(self.index)}"
            raise KnobError(f"no knob named {name!r}; {hint}")
        return self.targets[self.index[name]]

    def check(self, name: str, value: float) -> None:
        """Refuse a value outside its target's range."""
        target = self.target(name)
        if not target.low <= value <= target.high:
            raise KnobError(f"{name}={value:g} is outside {target.low:g} … {target.high:g} ({target.unit})")
        if target.whole and value != round(value):
            raise KnobError(f"{name}={value:g} must be a whole number from {target.low:g} to {target.high:g}")

    def set(self, name: str, value: float) -> None:
        """Set one target, refusing values outside its range."""
        self.check(name, value)
        self.values[self.index[name]] = value


def _ranges(names: dict[str, int]) -> str:
    """'timbre[0…63], brightness, mix' instead of 64 names."""
    families: dict[str, list[int]] = {}
    for name in names:
        match = re.fullmatch(r"(\w+)\[(\d+)\]", name)
        families.setdefault(match[1] if match else name, []).append(int(match[2]) if match else -1)
    return ", ".join(f"{name}[0…{max(i)}]" if i != [-1] else name for name, i in families.items())
