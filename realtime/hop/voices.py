"""What a harmonic model is told in every hop, and what the voices that it draws shall play."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest
from realtime.dsp.spectrum import FrameAnalyser
from realtime.hop.edits import Edits
from realtime.hop.hearing import Hearing
from realtime.hop.keys import Keys
from realtime.hop.model import HarmonicModel
from realtime.hop.smoothing import timbre_rate
from realtime.kinds import VOICES
from realtime.outputs.synth.played import Played

SMOOTHED = ("harmonics", "noise", "vibrato", "attack", "portamento")


class HarmonicVoices:
    """One per session of a harmonic bundle.

    heard : what it hears;  played : filled by every `play`
    """

    def __init__(self, manifest: Manifest, model: HarmonicModel, index: dict[str, int]) -> None:
        assert manifest.harmonic is not None  # a harmonic bundle has it
        self.heard, self.played = Hearing(manifest), Played(manifest.harmonic)
        self._model, self._keys = model, Keys(manifest, index)
        self._hop_seconds = manifest.features.hop_seconds
        self._place = {name: index[name] for name in (*SMOOTHED, "legato", "synth", "resynth")}

    def reset(self) -> None:
        self.heard.reset()
        self._keys.reset()
        self.played.clear()

    def listen(self, hop: np.ndarray, frame: FrameAnalyser, timbre_seconds: float) -> None:  # audio thread
        """hop : (1, hop_samples);  frame : after it was pushed the same"""
        self.heard.push(hop, frame, timbre_rate(self._hop_seconds, timbre_seconds))

    def tell(self, edits: Edits, value: np.ndarray) -> None:  # audio thread
        """The decoder's inputs beside the latents. The edited row is told the transposed pitch; its partials lie where
        the heard ones do, since morph filters those, but for resynth, which plays them.

        value : (targets,), the knobs as they stand
        """
        heard, inputs = self.heard, self._model.decoder_inputs
        ratio = 2.0 ** (edits.semitones / 12)
        edited_hz, centre_hz = heard.f0_hz * ratio, heard.centre_hz
        if value[self._place["resynth"]] > 0.0:
            centre_hz *= ratio
            if edits.note is not None:
                edited_hz = centre_hz = _hz(edits.note + edits.semitones)
        for row, (f0, centre) in enumerate(((heard.f0_hz, heard.centre_hz), (edited_hz, centre_hz))):
            inputs["f0"][row], inputs["centre_f0"][row] = f0, centre
            inputs["voicing"][row], inputs["loudness"][row] = heard.voicing, heard.loudness
        if edits.note is not None:
            inputs["voicing"][1], inputs["loudness"][1] = 1.0, 0.0

    def play(self, edits: Edits, slots: np.ndarray, value: np.ndarray, target: np.ndarray) -> None:  # audio thread
        """After `decode`: what sounds until the next hop.

        slots : the knob bank's;  value, target : (targets,), the knobs as they stand and where they lead
        """
        played, heard, place, voice = self.played, self.heard, self._place, self._model.voice
        vibrato = float(value[place["vibrato"]])
        now = math.log(heard.now_hz)
        played.f0_hz[0] = math.exp(now + (vibrato - 1) * (now - heard.steady_log)) * 2.0 ** (edits.semitones / 12)
        played.level[0] = 0.0 if edits.keys else heard.level
        played.voicing[0] = heard.voicing
        played.inharmonicity[0] = voice["inharmonicity"][1, 0]
        for name, rows in (("envelope", played.envelope), ("offsets", played.offsets), ("noise", played.noise)):
            np.copyto(rows[0], voice[name][1])
        played.harmonics, played.hiss = float(value[place["harmonics"]]), float(value[place["noise"]])
        played.transient = 0.0 if edits.keys else heard.transient * float(value[place["attack"]])
        played.sure = 1.0 if edits.keys else heard.sure
        self._keys.follow(target, edits.keys, float(value[place["portamento"]]), target[place["legato"]] >= 0.5)
        self._play_keys(edits, slots)

    def _play_keys(self, edits: Edits, slots: np.ndarray) -> None:  # audio thread
        keys, played, model = self._keys, self.played, self._model
        played.level[1:] = keys.level
        played.struck[1:] = keys.struck
        if not keys.level.any():
            return
        inputs, voice = model.key_inputs, model.key_voice
        inputs["voicing"][:] = 1.0
        for i in range(VOICES):
            if keys.begins[i]:
                model.begin_key(i)
            if keys.level[i] > 0.0:
                note = float(keys.note[i])
                edits.apply(model.latents, slots, None, inputs, i, note)
                played.f0_hz[1 + i] = _hz(note + edits.semitones)
                inputs["f0"][i], inputs["loudness"][i] = played.f0_hz[1 + i], keys.loudness[i]
        model.play_keys()
        for name, rows in (("envelope", played.envelope), ("offsets", played.offsets), ("noise", played.noise)):
            np.copyto(rows[1:], voice[name])
        np.copyto(played.inharmonicity[1:], voice["inharmonicity"][:, 0])
        played.voicing[1:] = 1.0


def _hz(midi_note: float) -> float:  # audio thread
    return 440.0 * 2.0 ** ((midi_note - 69) / 12)
