"""What happens once per hop: the model hears the newest frame, the knobs edit its latents, and the answer says what to
do with the sound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from realtime.bundle import Bundle, Features
from realtime.dsp.pitch import PitchTracker
from realtime.dsp.spectrum import FrameAnalyser, FrameDelay
from realtime.hop.edits import Edits
from realtime.hop.hearing import Hearing
from realtime.hop.memory import Memory
from realtime.hop.meters import DECODER, EDITS, ENCODER, FILTER, HOP_HISTORY, STFT
from realtime.hop.model import HarmonicModel, open_model
from realtime.hop.smoothing import glide_rate, timbre_rate
from realtime.hop.voices import HarmonicVoices
from realtime.knobs.bank import KnobBank
from realtime.outputs.base import Answer, DecodedHop, Output

# For so long after the last edit the decoder's edited state is drawn towards the unedited one; then it is the same.
SETTLE_SECONDS = 0.1
SETTLE_RATE_SECONDS = 0.02
FAINTEST = 1e-9
SYNTH = -1  # its place among the levels of a harmonic bundle
REMEMBER_HOPS = 32  # how often what must outlive the process is written down


class HopStep:
    """Model, edits, and what they tell the ways out, of one sound, hop by hop.

    outputs : whose hop side is called

    published : a `realtime.hop.published` record to write to
    meters : a `realtime.hop.meters.METERS` record to write to

    Raises
    ------
    realtime.hop.model.EngineError
        If the model cannot run as asked.
    """

    def __init__(
        self,
        bundle: Bundle,
        knobs: KnobBank,
        outputs: Sequence[Output],
        provider: str,
        meters: np.ndarray,
        published: np.ndarray,
        flush_denormals: bool = False,
    ) -> None:
        features = bundle.manifest.features
        self.knobs, self._meters, self._published = knobs, meters, published
        self._hop_seconds = features.hop_seconds
        self._settle_hops, self._settle_share = settling(features)
        self.model = open_model(bundle, provider, flush_denormals=flush_denormals)
        self._frame = FrameAnalyser(features)
        self._heard = FrameDelay(self._frame, bundle.manifest.lookahead_hops)
        self._voices = (
            HarmonicVoices(bundle.manifest, self.model, knobs.index) if isinstance(self.model, HarmonicModel) else None
        )
        self._pitch: PitchTracker | Hearing = self._voices.heard if self._voices else PitchTracker(features)
        self._edits = Edits(bundle.manifest)
        self._outputs = tuple(outputs)
        self._hop = DecodedHop(features.bins, self._voices.played if self._voices else None)
        self._memory = Memory(self.model, self._frame, self._pitch, self._edits)
        self._stage, self._hop_ms = meters["stage_seconds"], meters["hop_ms"]
        self._hops_made, self._silent_hops, self._late_hops = (
            meters[name] for name in ("hops", "silent_hops", "late_hops")
        )
        self._made = int(self._hops_made)
        self._timbre, self._note = published["timbre"], published["midi_note"]
        self.reset()

    def new_answer(self) -> Answer:
        return Answer([output.new_part() for output in self._outputs])

    def reset(self) -> None:
        for part in (self.model, self._frame, self._heard, self._pitch, self._edits, self._voices):
            if part is not None:
                part.reset()
        for output in self._outputs:
            output.reset_hop_side()
        self._rest_hops = self._settle_hops  # hops since the last edit
        self._hops = 0

    def resume(self) -> bool:
        """Go on with what a session before this one had written down, if it had."""
        return self._memory.read(self._published)

    def warm_up(self, hop: np.ndarray, answer: Answer) -> None:
        """Touch every buffer and code path that a first hop would otherwise pay for."""
        self._frame.push(hop)
        self._heard.push()
        self._look()
        self._hop.sounding, self._hop.settled = True, False
        for output, part in zip(self._outputs, answer.parts, strict=True):
            output.describe(self._hop, part)
        self.reset()

    def run(self, hop: np.ndarray, answer: Answer) -> None:  # audio thread
        """hop : (1, hop_samples), float64, finite;  answer : is filled"""
        started = time.perf_counter()
        frame, heard, edits = self._frame, self._heard, self._edits
        frame.push(hop)
        heard.push()
        if self._voices is not None:
            self._voices.listen(hop, frame, edits.timbre_seconds)
        analysed = time.perf_counter()
        self._stage[STFT] += analysed - started
        edits.follow(self.knobs.values, self.knobs.smoothing, self.model.latents)
        self._rest_hops = self._rest_hops + 1 if edits.at_rest else 0
        settled = self._rest_hops >= self._settle_hops
        answered = self._answer(analysed)
        decoded = time.perf_counter()
        self._fill(answer, answered, settled)
        if not answered:
            self._meters["failed_hops"] += 1
            self.model.reset()
        if edits.at_rest:
            self.model.merge_decoder_rows(1.0 if settled else self._settle_share)
        self._publish()
        ended = time.perf_counter()
        self._stage[FILTER] += ended - decoded
        self._hop_ms[self._made % HOP_HISTORY] = 1000 * (ended - started)
        self._made += 1
        self._hops_made[...] = self._made
        if not frame.sounding:
            self._silent_hops += 1
        if ended - started > self._hop_seconds:
            self._late_hops += 1

    def rest(self, hop: np.ndarray, answer: Answer) -> None:  # audio thread
        """Only listen: no model, the dry sound."""
        self._frame.push(hop)
        self._heard.push()
        if self._voices is not None:
            self._voices.listen(hop, self._frame, self._edits.timbre_seconds)
        self._edits.follow(self.knobs.values, self.knobs.smoothing, self.model.latents)
        self._rest(answer)
        self._meters["bypassed_hops"] += 1

    def _answer(self, started: float) -> bool:  # audio thread
        """Run the model on the present frame. False if it failed or its answer is not finite."""
        model, frame, edits, stage = self.model, self._frame, self._edits, self._stage
        try:
            if frame.sounding:
                model.encode(frame.envelope, frame.fine, timbre_rate(self._hop_seconds, edits.timbre_seconds))
            encoded = time.perf_counter()
            stage[ENCODER] += encoded - started
            if self._heard.sounding and not edits.at_rest:
                self._pitch.update(self._heard.amplitude)
            inputs = model.decoder_inputs
            for name, value in model.latents.items():
                inputs[name][:] = value
            edits.apply(model.latents, self.knobs.slots, self._pitch.midi_note, inputs)
            if self._voices is not None:
                self._voices.tell(edits, edits.value)
            edited = time.perf_counter()
            stage[EDITS] += edited - encoded
            model.decode()
            if self._voices is not None and edits.levels[SYNTH] > 0.0:
                self._voices.play(edits, self.knobs.slots, edits.value, edits.target)
            stage[DECODER] += time.perf_counter() - edited
        except Exception:  # whatever the runtime throws, the music goes on
            return False
        return math.isfinite(float(np.vdot(model.log_amplitude, model.log_amplitude)))

    def _fill(self, answer: Answer, answered: bool, settled: bool) -> None:  # audio thread
        """Tell every way out that has a level what the model decoded, or that there is nothing to tell."""
        if not answered:
            self._rest(answer)
            return
        edits = self._edits
        self._look()
        self._hop.settled = settled
        answer.gain, answer.wet, answer.dry = edits.gain, edits.mix, 1 - edits.mix
        for i, output in enumerate(self._outputs):
            level = answer.levels[i] = edits.levels[i]
            if i == 0 or level > 0.0:
                output.describe(self._hop, answer.parts[i])
                share = getattr(answer.parts[i], "share", 1.0)
                if share < 1.0:
                    answer.levels[i] = level * max(share, FAINTEST)  # it goes on unheard
                    answer.levels[0] += level * (1 - share)

    def _rest(self, answer: Answer) -> None:  # audio thread
        self._look()
        for output in self._outputs:
            output.rest(self._hop)
        answer.pass_dry(self._edits.gain)

    def _look(self) -> None:  # audio thread
        """The hop as it stands now."""
        hop, heard, edits = self._hop, self._heard, self._edits
        hop.decoded = self.model.log_amplitude
        hop.log_amplitude, hop.amplitude, hop.sounding = heard.log_amplitude, heard.amplitude, heard.sounding
        hop.level, hop.period_samples = self._frame.level, self._pitch.period_samples
        hop.mix, hop.gain, hop.phase = edits.mix, edits.gain, edits.phase
        hop.keys, hop.velocity = edits.keys, edits.velocity

    def _publish(self) -> None:  # audio thread
        note = self._pitch.midi_note
        self._timbre[:] = self.model.latents["timbre"][0]
        self._note[...] = math.nan if note is None else note
        if self._hops % REMEMBER_HOPS == 0:
            self._memory.write(self._published)
        self._hops += 1


def settling(features: Features) -> tuple[int, float]:
    """In how many hops after the last edit the decoder has settled, and how much nearer it comes in each."""
    hops = max(1, math.ceil(SETTLE_SECONDS / features.hop_seconds))
    return hops, glide_rate(features.hop_seconds, SETTLE_RATE_SECONDS)
