"""Latents as functions of pitch: linear between anchors, constant beyond them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from realtime.bundle import Anchor, Manifest, Preset


class Curve:
    """notes : (anchors,), MIDI notes, ascending;  points : (anchors, dimensions)"""

    def __init__(self, notes: Sequence[float], points: Sequence[Sequence[float]]) -> None:
        self.notes, self.points = np.array(notes, float), np.array(points, float)

    def at(self, midi_note: float, out: np.ndarray) -> None:  # audio thread
        """out : (dimensions,)"""
        above = int(np.searchsorted(self.notes, midi_note))
        if above in (0, len(self.notes)):
            np.copyto(out, self.points[min(above, len(self.notes) - 1)])
            return
        share = (midi_note - self.notes[above - 1]) / (self.notes[above] - self.notes[above - 1])
        np.subtract(self.points[above], self.points[above - 1], out=out)
        out *= share
        out += self.points[above - 1]


def preset_curves(manifest: Manifest) -> list[Curve]:
    """z^t of every preset."""
    return [preset_curve(preset) for preset in manifest.presets]


def preset_pitch_curves(manifest: Manifest) -> list[Curve | None]:
    """z^p of every preset that moves it, too."""
    return [
        None if preset.anchors[0].pitch is None else preset_curve(preset, lambda anchor: anchor.pitch or ())
        for preset in manifest.presets
    ]


def pitch_curve(manifest: Manifest) -> Curve | None:
    """z^p of every note, if the bundle knows."""
    anchors = manifest.pitch_anchors
    return Curve([anchor.midi_note for anchor in anchors], [anchor.pitch for anchor in anchors]) if anchors else None


def preset_curve(preset: Preset, point: Callable[[Anchor], Sequence[float]] = lambda anchor: anchor.timbre) -> Curve:
    """point : what of an anchor the curve goes through"""
    pitched = [anchor for anchor in preset.anchors if anchor.midi_note is not None]
    chosen = sorted(pitched, key=lambda anchor: anchor.midi_note or 0.0) or [preset.anchors[0]]
    return Curve([anchor.midi_note or 0.0 for anchor in chosen], [point(anchor) for anchor in chosen])
