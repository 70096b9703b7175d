"""What a harmonic model must be told of the sound beside its spectra: pitch, voicing, loudness and level."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest
from realtime.dsp.f0 import F0Tracker
from realtime.dsp.spectrum import FrameAnalyser
from realtime.hop.smoothing import glide_rate
from realtime.outputs.synth.spectra import a_weighting

FIRST_HZ = 220.0  # told before any pitch was heard
SMALLEST_POWER = 1e-6
SURE_SECONDS, UNSURE_SECONDS = 0.01, 0.03  # how fast trust in the pitch comes and goes
SURE_VOICING = (0.1, 0.6)  # between which the way out crosses over
VIBRATO_SECONDS = 0.15  # a pitch that stays within a semitone is averaged over so long
SAME_NOTE_OCTAVES = 0.75 / 12
ONSET_SECONDS, ONSET_RATIO = 0.03, 4.0  # a hop so much stronger than the mean of the last ones begins a note
TRANSIENT_SECONDS = 0.025


class Hearing:
    """Listens to every hop.

    Attributes
    ----------
    f0_hz : Hz, as measured, for the decoder;  now_hz : Hz, carried on to this moment, to be played
    centre_hz : Hz, of `centre_hops` ago, where the partials of the newest frame lie
    steady_log : natural log of the note's mean pitch, without its vibrato
    voicing : 0 … 1;  sure : 0 … 1, the same as smooth as a crossfade must be
    loudness : as the decoder is told it;  level : linear, A-weighted, of the newest frame
    transient : 0 … 1, 1 when a note begins, falling from then on
    midi_note : of the last pitch that was surely heard, None before;  period_samples : of it, 0 while there is none
    """

    def __init__(self, manifest: Manifest) -> None:
        facts, features = manifest.harmonic, manifest.features
        assert facts is not None  # a harmonic bundle has them
        self._facts, self._hop_seconds, self._rate = facts, features.hop_seconds, features.sample_rate
        self._tracker = F0Tracker(features.sample_rate, features.hop_samples)
        self._weight = np.square(a_weighting(np.linspace(0, features.sample_rate / 2, features.bins)))
        self._floor = features.log_floor
        self._past = np.full(facts.centre_hops + 1, FIRST_HZ)
        self._linear = np.zeros(features.bins)
        self._come, self._go = (glide_rate(self._hop_seconds, seconds) for seconds in (SURE_SECONDS, UNSURE_SECONDS))
        self._steady = glide_rate(self._hop_seconds, VIBRATO_SECONDS)
        self._energy_rate = glide_rate(self._hop_seconds, ONSET_SECONDS)
        self._transient_left = math.exp(-self._hop_seconds / TRANSIENT_SECONDS)
        self.reset()

    def reset(self) -> None:
        self._tracker.reset()
        self._past[:] = FIRST_HZ
        self.f0_hz = self.now_hz = self.centre_hz = FIRST_HZ
        self.steady_log = math.log(FIRST_HZ)
        self.voicing = self.sure = self.loudness = self.level = self.transient = 0.0
        self._mean, self._count, self._energy = 0.0, 0, 0.0
        self.midi_note: float | None = None
        self.period_samples = 0.0

    def push(self, hop: np.ndarray, frame: FrameAnalyser, rate: float) -> None:  # audio thread
        """hop : (1, hop_samples), float64, finite;  frame : after it was pushed the same
        rate : least share of the newest frame in the mean loudness
        """
        tracker = self._tracker
        tracker.push(hop)
        self._follow(tracker)
        self._weigh(frame, rate)
        energy = float(np.vdot(hop, hop))
        began = energy > ONSET_RATIO * self._energy and energy > SMALLEST_POWER
        self._energy += self._energy_rate * (energy - self._energy)
        self.transient = 1.0 if began else self.transient * self._transient_left

    def _follow(self, tracker: F0Tracker) -> None:  # audio thread
        low, high = self._facts.confidence
        self.voicing = min(1.0, max(0.0, (tracker.confidence - low) / (high - low)))
        if tracker.f0_hz > 0:
            self.f0_hz, self.now_hz = tracker.f0_hz, tracker.now_hz or tracker.f0_hz
            now = math.log(self.now_hz)
            apart = now - self.steady_log
            new = abs(apart) > SAME_NOTE_OCTAVES * math.log(2)
            self.steady_log = now if new else self.steady_log + self._steady * apart
        past = self._past
        past[:-1] = past[1:]
        past[-1] = self.f0_hz
        self.centre_hz = float(past[0])
        low, high = SURE_VOICING
        wanted = min(1.0, max(0.0, (self.voicing - low) / (high - low)))
        self.sure += (self._come if wanted > self.sure else self._go) * (wanted - self.sure)
        if self.voicing >= high:
            self.midi_note = 69 + 12 * math.log2(self.f0_hz / 440)
        self.period_samples = self._rate / self.f0_hz if self.voicing >= high else 0.0

    def _weigh(self, frame: FrameAnalyser, rate: float) -> None:  # audio thread
        """Loudness and level of the newest frame."""
        linear = np.exp(frame.log_amplitude, out=self._linear)
        linear -= self._floor
        np.maximum(linear, 0.0, out=linear)
        np.multiply(linear, linear, out=linear)
        power = float(np.dot(linear, self._weight))
        self.level = math.sqrt(power) * frame.level
        loudness = 0.5 * math.log(power + SMALLEST_POWER) - self._facts.loudness_mean
        if self._facts.loudness_centred:
            if frame.sounding:
                self._count += 1
                self._mean += max(1 / self._count, rate) * (loudness - self._mean)
            loudness -= self._mean
        self.loudness = loudness

    def update(self, amplitude: np.ndarray) -> None:  # audio thread
        """The note was heard already; see `realtime.dsp.pitch.PitchTracker`."""
