"""`realtime.hop.edits.Edits`, as far as the morph way out knows it, as a pure step.

A knob's state is where it is going and how far it still has to go: the distance stays exact in float32 when the knob is
nearly there, and that decides in which hop it has arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from export.fused.analysis import State
from realtime.bundle import Manifest, Preset
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.hop.smoothing import SNAP, glide_rate
from realtime.hop.step import settling
from realtime.knobs.curves import preset_curve
from realtime.knobs.targets import morph_targets


@dataclass(frozen=True)
class Knobs:
    """values : (batch, targets), smoothed;  share, mix, gain : (batch, 1)
    chosen : (batch, 1), the preset's number, from 1
    from_nothing, at_rest, settled : (batch, 1), bool: there was no preset a hop ago; nothing is edited; and has not
        been for a while
    """

    values: Tensor
    share: Tensor
    mix: Tensor
    gain: Tensor
    chosen: Tensor
    from_nothing: Tensor
    at_rest: Tensor
    settled: Tensor


class Edits(nn.Module):
    """`follow`: (knobs (batch, targets), state) → (Knobs, next state but for the preset)

    `forward`: (timbre (batch, D), midi_note (batch, 1), Knobs, preset (batch, D)) → (edited timbre, next preset)
    """

    low: Tensor
    high: Tensor
    default: Tensor
    is_share: Tensor
    edits: Tensor
    matrix: Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        targets, dimensions = morph_targets(manifest), manifest.latents["timbre"]
        index = {target.name: i for i, target in enumerate(targets)}
        self.preset, self.share, self.mix, self.gain = (
            index[name] for name in ("preset", "preset_amount", "mix", "gain_db")
        )
        for name in ("low", "high", "default"):
            self.register_buffer(
                name, torch.tensor([float(getattr(target, name)) for target in targets]), persistent=False
            )
        place = torch.arange(len(targets))
        self.register_buffer("is_share", place == self.share, persistent=False)
        self.register_buffer("edits", ((place < len(manifest.axes)) | (place == self.share)).float(), persistent=False)
        matrix = np.zeros((len(targets), dimensions))
        matrix[: len(manifest.axes)] = np.array([axis.direction for axis in manifest.axes]).reshape(-1, dimensions)
        self.register_buffer("matrix", torch.from_numpy(matrix).float(), persistent=False)
        self.presets = PresetTable(manifest.presets, dimensions)
        self.settle_hops = float(settling(manifest.features)[0])
        self.rate = glide_rate(manifest.features.hop_seconds)
        wide, one = (1, len(targets)), (1, 1)
        self.state_shapes = {
            "target": wide,
            "distance": wide,
            "started": one,
            "unsettled": one,
            "chosen": one,
            "preset": (1, dimensions),
        }

    def follow(self, knobs: Tensor, state: State) -> tuple[Knobs, State]:
        gliding = state["started"] > 0
        before = torch.where(gliding, state["target"], self.default)
        target = torch.where(torch.isnan(knobs), before, torch.minimum(torch.maximum(knobs, self.low), self.high))
        chosen = torch.round(_one(target, self.preset))
        target = torch.where(self.is_share & (chosen == 0), 0.0, target)
        distance = torch.where(gliding, (1 - self.rate) * (state["distance"] + (target - state["target"])), 0.0)
        distance = torch.where(distance.abs() <= SNAP, 0.0, distance)
        values = target - distance
        chosen = torch.where(chosen == 0, state["chosen"], chosen)  # the last preset is still there to fade out of
        there = _one(state["target"], self.share) - _one(state["distance"], self.share)
        gain = torch.exp(_one(values, self.gain) * (1 / DB_PER_NEPER))
        at_rest = (values.abs() * self.edits).amax(1, keepdim=True) == 0
        unsettled = torch.where(at_rest, torch.clamp(state["unsettled"] - 1, min=0.0), self.settle_hops)
        share, mix = _one(values, self.share), _one(values, self.mix)
        now = Knobs(values, share, mix, gain, chosen, there == 0, at_rest, unsettled == 0)
        started = torch.ones_like(chosen)
        return now, {
            "target": target,
            "distance": distance,
            "started": started,
            "unsettled": unsettled,
            "chosen": chosen,
        }

    def forward(self, timbre: Tensor, midi_note: Tensor, knobs: Knobs, preset: Tensor) -> tuple[Tensor, Tensor]:
        wanted = self.presets(knobs.chosen, midi_note)
        glided = torch.where(knobs.from_nothing, wanted, preset + self.rate * (wanted - preset))
        preset = torch.where(knobs.share > 0, glided, preset)
        return timbre + knobs.values @ self.matrix + knobs.share * (preset - timbre), preset


class PresetTable(nn.Module):
    """(chosen (batch, 1), midi_note (batch, 1)) → (batch, D): the first anchor, and what each stretch to the next one
    adds as far as it is passed.
    """

    first: Tensor
    added: Tensor
    start: Tensor
    inverse_length: Tensor

    def __init__(self, presets: Sequence[Preset], dimensions: int) -> None:
        super().__init__()
        known = [preset_curve(preset) for preset in presets]
        stretches = max([1, *(len(preset.notes) - 1 for preset in known)])
        first, added = np.zeros((max(1, len(known)), dimensions)), np.zeros((max(1, len(known)), stretches, dimensions))
        start, inverse = np.zeros(added.shape[:2]), np.zeros(added.shape[:2])
        for i, preset in enumerate(known):
            n = len(preset.notes) - 1
            first[i], added[i, :n] = preset.points[0], np.diff(preset.points, axis=0)
            start[i, :n], inverse[i, :n] = preset.notes[:-1], 1 / np.maximum(np.diff(preset.notes), 1e-3)
        for name, value in (("first", first), ("added", added), ("start", start), ("inverse_length", inverse)):
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    def forward(self, chosen: Tensor, midi_note: Tensor) -> Tensor:
        row = torch.clamp(chosen[:, 0] - 1, min=0.0).long()
        passed = torch.clamp((midi_note - self.start[row]) * self.inverse_length[row], 0.0, 1.0)
        return self.first[row] + (passed[:, None] @ self.added[row])[:, 0]


def _one(values: Tensor, index: int) -> Tensor:
    return values[:, index : index + 1]
