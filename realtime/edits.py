"""From knob values to the edited timbre: z + share · (preset(note) − z) + Σ value · direction, all smoothed."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest, Preset
from realtime.controls import targets_of

SMOOTHING_SECONDS = 0.02
SNAP = 1e-4  # closer than this to its target, a knob is there
FIRST_NOTE = 60.0  # assumed until a note is heard


class PitchedTimbre:
    """A preset's z^t at any pitch: linear between its anchors, constant beyond them."""

    def __init__(self, preset: Preset) -> None:
        pitched = [anchor for anchor in preset.anchors if anchor.midi_note is not None]
        chosen = sorted(pitched, key=lambda anchor: anchor.midi_note or 0.0) or [preset.anchors[0]]
        self.notes = np.array([anchor.midi_note or 0.0 for anchor in chosen])
        self.timbres = np.array([anchor.timbre for anchor in chosen])

    def at(self, midi_note: float, out: np.ndarray) -> None:  # audio thread
        above = int(np.searchsorted(self.notes, midi_note))
        if above in (0, len(self.notes)):
            np.copyto(out, self.timbres[min(above, len(self.notes) - 1)])
            return
        share = (midi_note - self.notes[above - 1]) / (self.notes[above] - self.notes[above - 1])
        np.subtract(self.timbres[above], self.timbres[above - 1], out=out)
        out *= share
        out += self.timbres[above - 1]


class TimbreEdits:
    """Follows the knobs, one call of `follow` per hop, and edits z^t with what they say.

    Attributes
    ----------
    mix : float, 0 = dry, 1 = edited;  gain : float, linear. Both smoothed.
    at_rest : bool, the edited z^t is z^t itself
    """

    def __init__(self, manifest: Manifest) -> None:
        targets = targets_of(manifest)
        index = {target.name: i for i, target in enumerate(targets)}
        self._axes = len(manifest.axes)
        self._matrix = np.array([axis.direction for axis in manifest.axes]).reshape(self._axes, manifest.latents["timbre"])
        self._presets = [PitchedTimbre(preset) for preset in manifest.presets]
        self._preset, self._share, self._mix, self._gain = (index[name] for name in ("preset", "preset_amount", "mix", "gain_db"))
        self._low = np.array([target.low for target in targets])
        self._high = np.array([target.high for target in targets])
        self._default = np.array([target.default for target in targets])
        self._rate = 1 - math.exp(-manifest.features.hop_seconds / SMOOTHING_SECONDS)
        self._target, self._value, self._step = (np.empty(len(targets)) for _ in range(3))
        self._close = np.empty(len(targets), bool)
        self._timbre, self._wanted, self._difference = (np.empty(manifest.latents["timbre"]) for _ in range(3))
        self.reset()

    def reset(self) -> None:
        """The next `follow` takes the knobs as they stand, without gliding there."""
        self._target[:] = self._default
        self._value[:] = self._default
        self._value[self._share] = 0.0
        self._chosen, self._started, self._from_nothing = 0, False, True
        self.mix, self.gain, self.at_rest = 1.0, 1.0, True

    def follow(self, values: np.ndarray) -> None:  # audio thread
        """values : (targets,), the knob bank's; what is not a number leaves its knob where it is."""
        target, value, step = self._target, self._value, self._step
        np.clip(values, self._low, self._high, out=step)
        np.copyto(target, step, where=np.isfinite(step, out=self._close))
        chosen = round(float(target[self._preset]))
        if chosen == 0:
            target[self._share] = 0.0
        self._chosen = chosen or self._chosen  # the last preset is still there to fade out of
        self._from_nothing = float(value[self._share]) == 0.0
        self._glide(value, target, step)
        np.abs(np.subtract(target, value, out=step), out=step)
        np.copyto(value, target, where=np.less_equal(step, SNAP, out=self._close))
        self._started = True
        self.mix = float(value[self._mix])
        gain_db = float(value[self._gain])
        self.gain = 10 ** (gain_db / 20) if gain_db else 1.0
        share = float(value[self._share])
        self.at_rest = share == 0.0 and not value[: self._axes].any()

    def apply(self, timbre: np.ndarray, midi_note: float | None, out: np.ndarray) -> None:  # audio thread
        """timbre : (D,), as heard;  out : (D,), as edited;  midi_note : the last one heard, None if none was."""
        if self.at_rest:
            np.copyto(out, timbre)
            return
        wanted, preset = self._wanted, self._timbre
        share = float(self._value[self._share])
        if share > 0.0:
            self._presets[self._chosen - 1].at(FIRST_NOTE if midi_note is None else midi_note, wanted)
            if self._from_nothing:
                np.copyto(preset, wanted)
            else:
                self._glide(preset, wanted, self._difference)
        np.dot(self._value[: self._axes], self._matrix, out=wanted)
        wanted += timbre
        if share > 0.0:
            np.subtract(preset, timbre, out=self._difference)
            self._difference *= share
            wanted += self._difference
        np.copyto(out, wanted, casting="same_kind")

    def _glide(self, value: np.ndarray, target: np.ndarray, work: np.ndarray) -> None:  # audio thread
        np.subtract(target, value, out=work)
        work *= self._rate if self._started else 1.0
        value += work
