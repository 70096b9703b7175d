"""Synth as a way out: every hop is rendered when it begins, and handed out in blocks of any size."""

from __future__ import annotations

import numpy as np

from realtime.bundle import Features, Harmonic
from realtime.dsp.fader import Fader
from realtime.outputs.base import Answer, DecodedHop
from realtime.outputs.synth.noise import FilteredNoise
from realtime.outputs.synth.oscillators import MOST_PARTIALS, Oscillators
from realtime.outputs.synth.played import ROWS, Played
from realtime.outputs.synth.spectra import Spectra


class SynthPart:
    """What a hop tells the synthesizer: the voices, and how sure it is of them."""

    def __init__(self, facts: Harmonic) -> None:
        self.played = Played(facts)
        self.share = 1.0

    def clear(self) -> None:  # audio thread
        self.played.clear()
        self.share = 1.0


class SynthOutput:
    """wet · synthesizer + dry · input; see `realtime.outputs.base.Output`. A hop's sound begins with its first sample:
    what is late is the analysis alone, which looks back.

    most : largest block, samples
    """

    name = "synth"
    latency_samples = 0

    def __init__(
        self,
        features: Features,
        facts: Harmonic,
        channels: int,
        device_rate: float,
        fade_samples: int,
        most: int,
    ) -> None:
        self._facts, self._most = facts, most
        self._oscillators = Oscillators(device_rate, fade_samples, most)
        self._noise = FilteredNoise(features, device_rate, fade_samples, most)
        self._spectra = Spectra(features, facts, device_rate, MOST_PARTIALS, self._noise.hz)
        self._hiss, self._band_power = np.zeros(len(self._noise.hz)), np.zeros(len(self._noise.hz))
        self._held = Played(facts)
        self._hop = np.zeros(most)
        self._place = 0  # in the hop
        self._wet, self._dry = Fader(fade_samples, most), Fader(fade_samples, most)
        self._sound, self._made = np.zeros((channels, most)), np.zeros(most)

    def new_part(self) -> SynthPart:
        return SynthPart(self._facts)

    def reset_hop_side(self) -> None:
        """It has no state there."""

    def describe(self, hop: DecodedHop, part: SynthPart) -> None:  # audio thread
        if hop.played is None:
            part.clear()
            return
        part.played.copy_from(hop.played)
        part.share = hop.played.sure

    def rest(self, hop: DecodedHop) -> None:  # audio thread
        """It has no state there."""

    def reset(self) -> None:
        for part in (self._oscillators, self._noise, self._wet, self._dry):
            part.reset()
        self._held.clear()
        self._hop[:] = 0.0
        self._place = 0

    def warm_up(self, part: SynthPart) -> None:
        part.played.level[:] = 1e-6
        self._begin(part.played)
        part.clear()

    def begin(self, mix: float, gain: float) -> None:
        self._wet.reset(mix * gain)
        self._dry.reset((1 - mix) * gain)

    def wake(self, answer: Answer, part: SynthPart) -> None:  # audio thread
        self._oscillators.reset()
        self._noise.reset()
        self._held.clear()
        self._place = 0
        self._wet.reset(answer.wet * answer.gain)
        self._dry.reset(self._dry_share(answer, part))

    def change(self, answer: Answer, part: SynthPart) -> None:  # audio thread
        self._wet.go(answer.wet * answer.gain)
        self._dry.go(self._dry_share(answer, part))
        self._begin(part.played)
        self._held.copy_from(part.played)
        self._held.struck[:] = False

    def process(self, dry: np.ndarray, mono: np.ndarray, heard: bool) -> np.ndarray:  # audio thread
        n = dry.shape[1]
        sound = self._sound[:, :n]
        if heard:
            made = self._take(n)
            made *= self._wet.process(n)
            np.multiply(dry, self._dry.process(n), out=sound)
            sound += made
        return sound

    def _take(self, n: int) -> np.ndarray:  # audio thread
        """The next samples; where no answer came for a hop, as the last one said."""
        made, done = self._made[:n], 0
        while done < n:
            if self._place == self._most:
                self._begin(self._held)
            part = min(n - done, self._most - self._place)
            made[done : done + part] = self._hop[self._place : self._place + part]
            self._place += part
            done += part
        return made

    def _begin(self, played: Played) -> None:  # audio thread
        """Render the hop from here on."""
        spectra, oscillators, power = self._spectra, self._oscillators, self._band_power
        oscillators.pass_by(self._place)
        power[:] = 0.0
        for row in range(ROWS):
            level = float(played.level[row])
            if not level > 0.0:
                oscillators.silence_row(row)
                continue
            f0 = float(played.f0_hz[row])
            count = spectra.draw(
                f0,
                level,
                float(played.voicing[row]),
                played.envelope[row],
                played.offsets[row],
                played.noise[row],
                float(played.inharmonicity[row]),
            )
            amplitude = spectra.amplitude[:count]
            amplitude *= played.harmonics
            oscillators.set_row(row, f0, amplitude, spectra.stretch[:count], bool(played.struck[row]))
            spectra.noise *= played.hiss
            np.multiply(spectra.noise, spectra.noise, out=self._hiss)
            power += self._hiss
        np.sqrt(power, out=self._hiss)
        np.add(oscillators.render(), self._noise.render(self._place, self._hiss), out=self._hop)
        self._place = 0

    @staticmethod
    def _dry_share(answer: Answer, part: SynthPart) -> float:  # audio thread
        return (answer.dry + answer.wet * part.played.transient) * answer.gain
