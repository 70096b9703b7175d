"""From knob values to the edited latents.

    timbre     z + h (held − z) + Σ w s (preset(note) − z) + Σ value · direction      h : hold
    w, s : place in the square, share of each corner
    variation  scale · (z + f (frozen − z)) + Σ value · direction
    pitch      ρ (z + f (frozen − z) − curve(note)) + curve(note + semitones) + Σ value · direction;  under keys
        curve(key + semitones)
               ρ falls from 1 to 0 within a semitone: measured on held-out sounds, more of them are then in tune (+7: 69
               % instead of 33 %)

Every value is smoothed, and z itself is what is heard: at rest each edited latent is the latent, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realtime.bundle import Manifest
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.hop.smoothing import LatentHold, ParameterSmoother
from realtime.knobs.curves import Curve, pitch_curve, preset_curves, preset_pitch_curves
from realtime.knobs.targets import TIMBRE_SECONDS, mixed_outputs

SWITCHES = {"timbre": "timbre_hold", "variation": "variation_freeze", "pitch": "pitch_freeze"}
FIRST_NOTE = 60.0  # assumed until a note is heard


class Edits:
    """Follows the knobs, one call of `follow` per hop, and edits the latents with what they say.

    Attributes
    ----------
    mix : float, 0 = dry, 1 = edited;  gain : float, linear;  phase : 0 … 1. All smoothed.
    levels : of every way out, morph first, 0 … 1, smoothed; together at least 1
    timbre_seconds : float, time constant of the running timbre
    semitones : float, by which the pitch is moved, smoothed
    at_rest : bool, the edited latents are the latents themselves, at their pitch
    keys : bool, notes play;  note : float or None, the key held;  velocity : 0 … 1
    kept : name → `LatentHold`, of every latent
    """

    def __init__(self, manifest: Manifest) -> None:
        self._turned = turned = ParameterSmoother(manifest)
        index, latents = turned.index, manifest.latents
        self._names: list[Any] = list(latents)
        self._active: list[Any] = []  # those of them that are not as heard
        self._place = index
        families = {"timbre": manifest.axes, "variation": manifest.variation_axes, "pitch": manifest.pitch_axes}
        self._axes, self._matrix = {}, {}
        for name, dimensions in latents.items():
            self._axes[name] = _span([index[axis.name] for axis in families[name]])
            self._matrix[name] = np.array([axis.direction for axis in families[name]]).reshape(-1, dimensions)
        self._curves: dict[str, Sequence[Curve | None]] = {"timbre": preset_curves(manifest)}
        if any(pitched := preset_pitch_curves(manifest)):
            self._curves["pitch"] = pitched
        self._curve = pitch_curve(manifest)
        self._switch = {name: index[SWITCHES[name]] for name in latents}
        self.kept = {name: LatentHold(latents[name], turned.rate) for name in latents}
        self._scale, self._semitones = index.get("variation_scale"), index.get("pitch_semitones")
        self._corner = {name: np.zeros((4, latents[name])) for name in self._curves}  # type: ignore[index]
        self._mixed = mixed_outputs(manifest)
        self._level_places = [index[name] for name in self._mixed]
        self._weight = [1.0, 0.0, 0.0, 0.0]
        self._edited, self._wanted, self._work = (
            {name: np.zeros(size) for name, size in latents.items()} for _ in range(3)
        )
        self.reset()

    def reset(self) -> None:
        """The next `follow` takes the knobs as they stand, without gliding there."""
        self._turned.reset()
        for kept in self.kept.values():
            kept.reset()
        self._weight[:] = [1.0, 0.0, 0.0, 0.0]
        self.mix, self.gain, self.phase, self.timbre_seconds = 1.0, 1.0, 0.0, TIMBRE_SECONDS
        self.levels = [1.0] + [0.0] * len(self._mixed)
        self.semitones = 0.0
        self.note: float | None = None
        self.keys, self.velocity, self.at_rest = False, 0.0, True
        self._fading, self._active = False, []

    @property
    def value(self) -> np.ndarray:  # audio thread
        """(targets,), the knobs as they stand."""
        return self._turned.value

    @property
    def target(self) -> np.ndarray:  # audio thread
        """(targets,), where they lead."""
        return self._turned.target

    def follow(
        self, values: np.ndarray, smoothing: np.ndarray, latents: Mapping[Any, np.ndarray]
    ) -> None:  # audio thread
        """values, smoothing : (targets,), the knob bank's;  latents : name → (1, dimensions), as heard"""
        turned, started = self._turned, self._turned.started
        if not (turned.follow(values, smoothing) or self._fading):
            return
        value, target, place = turned.value, turned.target, self._place
        for name, switch in self._switch.items():
            self.kept[name].follow(target[switch] >= 0.5, latents[name][0], started)
        self._fading = not all(kept.arrived for kept in self.kept.values())
        x, y = float(value[place["x"]]), float(value[place["y"]])
        self._weight[:] = ((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y)
        self.mix, gain_db = float(value[place["mix"]]), float(value[place["gain_db"]])
        self.gain = math.exp(gain_db / DB_PER_NEPER)
        self.phase = float(value[place["phase"]])
        for i, output in enumerate(self._level_places, 1):
            self.levels[i] = float(value[output])
        if self._semitones is not None:
            self.semitones = float(value[self._semitones])
        mixed = sum(self.levels[1:])
        self.levels[0] = max(0.0, 1.0 - mixed)
        self.timbre_seconds = float(value[place["timbre_seconds"]])
        if "keys" in place:
            note = float(target[place["note"]])
            self.keys = bool(target[place["keys"]] >= 0.5) and mixed > 0.0
            self.note = note if self.keys and note >= 0 else self.note if self.keys else None
            self.velocity = float(target[place["note_velocity"]]) if self.keys and note >= 0 else 0.0
        self._active = [name for name in self._names if self._moved(name)]
        self.at_rest = not self._active and self.note is None and self.semitones == 0.0

    def _moved(self, name: Any) -> bool:  # audio thread
        value = self._turned.value
        if self.kept[name].share > 0.0 or value[self._axes[name]].any():
            return True
        if name in self._curves and any(
            weight > 0.0 and share > 0.0 for weight, share in zip(self._weight, self._turned.share, strict=True)
        ):
            return True
        if name == "timbre":
            return False
        if name == "variation":
            return bool(value[self._scale] != 1.0)
        return self.note is not None or (self._semitones is not None and bool(value[self._semitones] != 0.0))

    def apply(
        self,
        latents: Mapping[Any, np.ndarray],
        slots: np.ndarray,
        midi_note: float | None,
        out: Mapping[Any, np.ndarray],
        row: int = 1,
        key: float | None = None,
    ) -> None:  # audio thread
        """latents : name → (1, dimensions), as heard;  slots : (SLOTS, timbre), the knob bank's
        midi_note : the last one heard, None if none was
        out : name → (rows, dimensions); this row becomes the latents as edited
        key : the note of a key that this row plays, whose presets do not glide from hop to hop; None for what is heard
        """
        note = FIRST_NOTE if midi_note is None else midi_note
        preset_note = key if key is not None else note if self.note is None else self.note
        for name in self._names:
            if name not in self._active:
                np.copyto(out[name][row], latents[name][0])
                continue
            edited, wanted, work = self._edited[name], self._wanted[name], self._work[name]
            np.copyto(edited, latents[name][0])
            self.kept[name].draw(edited, work)
            if name == "variation":
                edited *= float(self._turned.value[self._scale])
            elif name == "pitch":
                self._bend(edited, note, wanted)
            np.dot(self._turned.value[self._axes[name]], self._matrix[name], out=wanted)
            wanted += edited
            if name in self._curves:
                self._towards_presets(name, edited, slots, preset_note, wanted, work, glide=key is None)
            np.copyto(out[name][row], wanted, casting="same_kind")

    def _towards_presets(
        self,
        name: str,
        latent: np.ndarray,
        slots: np.ndarray,
        note: float,
        wanted: np.ndarray,
        work: np.ndarray,
        *,
        glide: bool,
    ) -> None:  # audio thread
        """Adds each corner's share of the way from `latent` to its preset."""
        turned, curves = self._turned, self._curves[name]
        for corner, weight in enumerate(self._weight):
            share = turned.share[corner]
            if share == 0.0:
                continue
            chosen, vector = turned.chosen[corner] - 1, self._corner[name][corner]
            curve = curves[chosen] if chosen < len(curves) else None
            if curve is not None:
                curve.at(note, work)
            elif chosen >= len(curves) and name == "timbre":
                np.copyto(work, slots[chosen - len(curves)])
                np.copyto(work, latent, where=~np.isfinite(work))  # an empty slot is the sound's own timbre
            else:
                np.copyto(work, latent)  # a preset that does not say it leaves it
            if not glide:
                vector = work
            elif turned.from_nothing[corner]:
                np.copyto(vector, work)
            else:
                work -= vector
                work *= turned.rate
                vector += work
            if weight > 0.0:
                np.subtract(vector, latent, out=work)
                work *= share * weight
                wanted += work

    def _bend(self, pitch: np.ndarray, heard: float, work: np.ndarray) -> None:  # audio thread
        """Moves z^p along the learned curve, or to a key's place on it."""
        curve = self._curve
        if curve is None or self._semitones is None:
            return
        semitones = float(self._turned.value[self._semitones])
        if self.note is not None:
            curve.at(self.note + semitones, pitch)
        elif semitones:
            curve.at(heard, work)
            pitch -= work
            pitch *= max(0.0, 1 - abs(semitones))  # what the curve does not know of this sound belongs to its own pitch
            curve.at(heard + semitones, work)
            pitch += work


def _span(places: Sequence[int]) -> slice:
    """Targets of one family stand side by side."""
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)
