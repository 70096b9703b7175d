"""The instrument: sound and knob values in, reshaped sound out, in blocks of any size. It knows no device and no file.

Once per hop the model hears the newest frame and answers with a filter; the sound itself only ever passes through that filter, so
it is not delayed, but for models that answer about an earlier frame: then by as much. At rest the filter is 1, bit for bit.
"""

from __future__ import annotations

import math
import time

import numpy as np

from realtime.bundle import Bundle
from realtime.controls import KnobBank, targets_of
from realtime.convolver import Convolver
from realtime.edits import TimbreEdits
from realtime.engine import StreamingModel
from realtime.hops import HopSource
from realtime.lookahead import FrameDelay, SampleDelay
from realtime.meters import HOP_HISTORY, Summary, new_meters, summarize
from realtime.morph import MinimumPhase, MorphGain
from realtime.pitch import PitchTracker
from realtime.spectrum import FrameAnalyser

SETTLE_SECONDS = 0.1  # after the last edit the decoder's edited state is drawn to the unedited one for so long, then is the same
SETTLE_RATE_SECONDS = 0.02
CHUNK_SAMPLES = 2048  # larger blocks are taken in pieces


class Session:
    """One sound through one model.

    Parameters
    ----------
    bundle : Bundle
    knobs : KnobBank, of the same bundle; its values are read once per hop
    channels : int, every channel gets the same filter, made from their mean
    sample_rate : float, Hz, the device's or file's; need not be the model's
    meters : ndarray, a `realtime.meters.METERS` record to write to, perhaps in shared memory
    provider : "auto", "cpu" or "cuda"
    timbre_seconds : time constant of the running timbre

    Raises
    ------
    realtime.engine.EngineError
        If the model cannot run as asked.
    """

    def __init__(
        self,
        bundle: Bundle,
        knobs: KnobBank,
        *,
        channels: int,
        sample_rate: float,
        meters: np.ndarray | None = None,
        provider: str = "auto",
        timbre_seconds: float = 2.0,
    ) -> None:
        if channels < 1 or not 1000 <= sample_rate <= 768000:
            raise ValueError(f"{channels} channels at {sample_rate:g} Hz: at least 1 channel and 1000 … 768000 Hz are possible")
        if knobs.values.shape != (wanted := (len(targets_of(bundle.manifest)),)):
            raise ValueError(f"the knobs have shape {knobs.values.shape}, this bundle's have {wanted}; make them from its manifest")
        features = bundle.manifest.features
        self.knobs, self.channels, self.sample_rate = knobs, channels, sample_rate
        self.meters = new_meters() if meters is None else meters
        self._hop_seconds = features.hop_seconds
        self._timbre_rate = min(1.0, features.hop_seconds / timbre_seconds)
        self._settle_hops = max(1, math.ceil(SETTLE_SECONDS / features.hop_seconds))
        self._settle_share = 1 - math.exp(-features.hop_seconds / SETTLE_RATE_SECONDS)
        self._model = StreamingModel(bundle, provider)
        self._hops = HopSource(features, sample_rate)
        self._frame = FrameAnalyser(features)
        lookahead = bundle.manifest.lookahead_hops
        self._heard = FrameDelay(self._frame, lookahead)
        self._latency_samples = round(lookahead * features.hop_seconds * sample_rate)
        self._delay = SampleDelay(channels, self._latency_samples, CHUNK_SAMPLES)
        self._pitch = PitchTracker(features)
        self._edits = TimbreEdits(bundle.manifest)
        self._gain = MorphGain(features)
        self._minimum_phase = MinimumPhase(features, sample_rate)
        self._convolver = Convolver(channels, self._minimum_phase.taps, self._hops.fade_samples, self._hops.most_samples)
        self._dry = np.zeros((channels, CHUNK_SAMPLES))
        self._mono = np.zeros(CHUNK_SAMPLES)
        self.reset()
        self._warm_up()

    @property
    def latency_samples(self) -> int:
        """Samples from in to out at the session's rate: the filter itself answers at once, the model perhaps some hops later."""
        return self._latency_samples

    @property
    def provider(self) -> str:
        """What the model really runs on: "cpu" or "cuda"."""
        return self._model.provider

    @property
    def provider_note(self) -> str:
        """How that was decided, one sentence."""
        return self._model.provider_note

    def summary(self, bundle_name: str) -> Summary:
        return summarize(
            self.meters, sample_rate=round(self.sample_rate), latency_samples=self.latency_samples, provider=self.provider, bundle=bundle_name
        )

    def reset(self) -> None:
        """As new: the same sound gives the same answer, bit for bit. Meters and knobs stay as they are."""
        for part in (self._model, self._hops, self._frame, self._heard, self._delay, self._pitch, self._edits, self._gain, self._convolver):
            part.reset()
        self._rest_hops = self._settle_hops  # hops since the last edit

    def _warm_up(self) -> None:
        """Touch every buffer and code path that a first hop would otherwise pay for."""
        self._frame.push(self._hops.hop)
        with np.errstate(all="ignore"):
            self._gain.update(self._model.log_amplitude, self._frame.log_amplitude, self._frame.amplitude, sounding=True)
            self._convolver.change(self._minimum_phase.response(self._gain))
            self._convolver.process(self._dry[:, : self._convolver.most])
        self.reset()

    def process_block(self, block_in: np.ndarray, block_out: np.ndarray) -> None:  # audio thread
        """block_in, block_out : (frames, channels), float32, full scale 1; may be the same array.

        Never raises on bad samples: what is not a number counts as silence.
        """
        started = time.perf_counter()
        frames, peak_in = len(block_in), 0.0
        with np.errstate(all="ignore"):
            for start in range(0, frames, CHUNK_SAMPLES):
                chunk = slice(start, start + CHUNK_SAMPLES)
                peak_in = max(peak_in, self._process(block_in[chunk], block_out[chunk]))
            self._count(frames, peak_in, block_out, started)

    def _process(self, block_in: np.ndarray, block_out: np.ndarray) -> float:  # audio thread
        """At most CHUNK_SAMPLES frames. Returns the input's peak."""
        n = len(block_in)
        dry, mono, out = self._dry[:, :n], self._mono[:n], block_out.T
        np.copyto(dry, block_in.T)
        peak = _peak(dry)
        if not math.isfinite(peak):
            np.nan_to_num(dry, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            peak = _peak(dry)
        np.add.reduce(dry, axis=0, out=mono)
        if self.channels > 1:
            mono /= self.channels
        dry = self._delay.process(dry)
        done = 0
        while True:
            taken = self._hops.take(mono[done : done + self._convolver.most])
            if taken:
                out[:, done : done + taken] = self._convolver.process(dry[:, done : done + taken])
                done += taken
            if self._hops.ended:
                self._step()
            elif done == n:
                return peak

    def _step(self) -> None:  # audio thread
        """A hop has ended: hear it, and change the filter."""
        started = time.perf_counter()
        frame, heard, edits, gain = self._frame, self._heard, self._edits, self._gain
        frame.push(self._hops.hop)
        heard.push()
        edits.follow(self.knobs.values)
        self._rest_hops = self._rest_hops + 1 if edits.at_rest else 0
        settled = self._rest_hops >= self._settle_hops
        meters = self.meters
        if not self._answer():
            meters["failed_hops"] += 1
            self._model.reset()
            gain.rest(heard.amplitude, heard.sounding)
            self._convolver.change(None, edits.gain)
        elif settled or edits.mix == 0.0:
            gain.rest(heard.amplitude, heard.sounding)
            self._convolver.change(None, edits.gain)
        else:
            gain.update(self._model.log_amplitude, heard.log_amplitude, heard.amplitude, heard.sounding, self._pitch.period_samples)
            response = self._minimum_phase.response(gain)
            response *= gain.level * edits.mix * edits.gain
            response[0] += (1 - edits.mix) * edits.gain
            self._convolver.change(response)
        if edits.at_rest:
            self._model.merge_decoder_rows(1.0 if settled else self._settle_share)
        seconds = time.perf_counter() - started
        meters["hop_ms"][int(meters["hops"]) % HOP_HISTORY] = 1000 * seconds
        meters["hops"] += 1
        meters["silent_hops"] += not frame.sounding
        meters["late_hops"] += seconds > self._hop_seconds

    def _answer(self) -> bool:  # audio thread
        """Run the model on the present frame. False if it failed or its answer is not finite."""
        model, frame = self._model, self._frame
        try:
            if frame.sounding:
                model.encode(frame.envelope, frame.fine, self._timbre_rate)
            if self._heard.sounding and not self._edits.at_rest:
                self._pitch.update(self._heard.amplitude)
            inputs = model.decoder_inputs
            for name, value in model.latents.items():
                inputs[name][:] = value
            self._edits.apply(model.latents["timbre"][0], self._pitch.midi_note, inputs["timbre"][1])
            model.decode()
        except Exception:  # whatever the runtime throws, the music goes on
            return False
        return math.isfinite(float(np.vdot(model.log_amplitude, model.log_amplitude)))

    def _count(self, frames: int, peak_in: float, block_out: np.ndarray, started: float) -> None:  # audio thread
        meters = self.meters
        peak_out = _peak(block_out) if frames else 0.0
        if not math.isfinite(peak_out):
            np.nan_to_num(block_out, copy=False, nan=0.0)
            peak_out = _peak(block_out)
        if peak_out > 1.0:
            meters["clipped"] += np.count_nonzero(np.abs(block_out) > 1.0)
        meters["peak_in"], meters["peak_out"] = peak_in, peak_out
        meters["frames"] += frames
        meters["busy_seconds"] += time.perf_counter() - started


def _peak(block: np.ndarray) -> float:  # audio thread
    return max(float(block.max()), -float(block.min()))
