"""The instrument: sound and knob values in, reshaped sound out, in blocks of any size. It knows no device and no file.

Once per hop the model hears the newest frame; its answer tells every way out what to play until the next one. The mixer
plays the ways out side by side, each at its level. Models that answer about an earlier frame delay all of them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from realtime.bundle import Bundle
from realtime.dsp.deadline import Deadline
from realtime.dsp.decibels import DB_PER_NEPER
from realtime.dsp.framing import Downmix, HopSource
from realtime.dsp.history import SampleDelay
from realtime.dsp.limiter import Limiter, repair
from realtime.dsp.rates import POSSIBLE_RATES, is_possible
from realtime.hop.meters import FIRST_OUTPUT, Summary, new_meters, summarize
from realtime.hop.overload import OverloadGuard
from realtime.hop.published import new_published
from realtime.hop.step import HopStep
from realtime.hop.worker import Worker
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import DEFAULT_LATENCY_MS, mixed_outputs, targets_of
from realtime.outputs.base import Answer
from realtime.outputs.mixer import Mixer
from realtime.outputs.rack import make_outputs

CHUNK_SAMPLES = 2048  # larger blocks are taken in pieces
# of the input: what is beyond would be remembered for minutes as the level. Files may have another scale.
LOUDEST_LIVE = 16.0
LOUDEST = 1e6
SMALLEST = 1e-30  # a block below it is silence: numbers near 1e-310 are slow
MOST_POWER = 1e30  # that a meter shows
MISSED_ANSWERS = 4  # hops in a row without an answer from the worker, then the dry sound


@dataclass(frozen=True)
class SessionOptions:
    """How a session plays.

    Parameters
    ----------
    provider : "auto", "cpu" or "cuda"
    latency_ms : of the resynth way out, 3 … 50; the nearest possible is taken
    limit : keep the output below full scale
    live : the clock counts: leave the model out for a while when it is late
    hurry : rebuilt phases get fewer rounds where a block is about to be late; the same sound then no longer gives the
        same bits
    resume : go on with the timbre, level and held latents that a session that is gone left in the `published` record
    worker : make the steps in a thread of their own; answers come a hop later, a slow one never holds the sound up
    flush_denormals : ONNX Runtime takes numbers too small to be normal for zero, for this thread and those it starts,
        as long as it lives
    """

    provider: str = "auto"
    latency_ms: float = DEFAULT_LATENCY_MS
    limit: bool = False
    live: bool = False
    hurry: bool = False
    resume: bool = False
    worker: bool = False
    flush_denormals: bool = False


class Session:
    """One sound through one model.

    Parameters
    ----------
    bundle : Bundle
    knobs : KnobBank, of the same bundle; its values are read once per hop
    channels : int, every channel gets the same filter, made from their mean, or from the loudest where they cancel
    sample_rate : float, Hz, the device's or file's; need not be the model's
    options : SessionOptions
    meters : ndarray, a `realtime.hop.meters.METERS` record to write to, perhaps in shared memory
    published : a `realtime.hop.published` record to write to, perhaps in shared memory

    Raises
    ------
    realtime.hop.model.EngineError
        If the model cannot run as asked.
    """

    def __init__(
        self,
        bundle: Bundle,
        knobs: KnobBank,
        *,
        channels: int,
        sample_rate: float,
        options: SessionOptions = SessionOptions(),
        meters: np.ndarray | None = None,
        published: np.ndarray | None = None,
    ) -> None:
        if channels < 1 or not is_possible(sample_rate):
            raise ValueError(
                f"{channels} channels at {sample_rate:g} Hz: at least 1 channel and {POSSIBLE_RATES} Hz are possible"
            )
        if knobs.values.shape != (wanted := (len(targets_of(bundle.manifest)),)):
            raise ValueError(
                f"the knobs have shape {knobs.values.shape}, this bundle's have {wanted}; make them from its manifest"
            )
        features = bundle.manifest.features
        self.knobs, self.channels, self.sample_rate = knobs, channels, sample_rate
        self.meters = new_meters() if meters is None else meters
        self._meters = {name: self.meters[name] for name in self.meters.dtype.names or ()}  # views, quicker to reach
        self.published = new_published(bundle.manifest) if published is None else published
        self._hops = HopSource(features, sample_rate)
        self._hurries, self._hurry = options.hurry, Deadline()
        fade, most = self._hops.fade_samples, self._hops.most_samples
        self._outputs = make_outputs(
            bundle.manifest, channels, sample_rate, options.latency_ms, fade, most, self._hurry
        )
        self._mixer = Mixer(self._outputs, channels, fade, most, self._meters["stage_seconds"][FIRST_OUTPUT:])
        self._most = most
        self._step = HopStep(
            bundle,
            knobs,
            self._outputs,
            options.provider,
            self.meters,
            self.published,
            flush_denormals=options.flush_denormals,
        )
        self._lookahead_samples = round(bundle.manifest.lookahead_hops * features.hop_seconds * sample_rate)
        self._delay = SampleDelay(channels, self._lookahead_samples, CHUNK_SAMPLES)
        self._limiter = Limiter(sample_rate, CHUNK_SAMPLES) if options.limit else None
        self._overload = OverloadGuard(features.hop_seconds) if options.live else None
        self._dry = np.zeros((channels, CHUNK_SAMPLES))
        self._downmix = Downmix(channels, CHUNK_SAMPLES)
        self._mono, self._late = np.zeros(CHUNK_SAMPLES), np.zeros(CHUNK_SAMPLES)
        self._level_places = [knobs.index[name] for name in mixed_outputs(bundle.manifest)]
        self._answer = self._step.new_answer()
        self._worker: Worker | None = None
        self.reset()
        self._warm_up(self._step.new_answer())
        self.resumed = options.resume and self._step.resume()
        if options.worker:
            self._worker = Worker(self._step, features.hop_samples)

    @property
    def latencies(self) -> dict[str, int]:
        """Samples from in to out at the session's rate, by way out. The model may add some hops to each."""
        return {output.name: self._lookahead_samples + output.latency_samples for output in self._outputs}

    def latency_of(self, way: str) -> int:
        """`latencies` of one way out."""
        return self.latencies[way]

    @property
    def latency_samples(self) -> int:
        """The latest of the ways out beside morph that have a level now; morph's if none has."""
        late = 0
        for place, output in zip(self._level_places, self._outputs[1:], strict=True):
            if self.knobs.values[place] > 0.0:
                late = max(late, output.latency_samples)
        return self._lookahead_samples + late

    @property
    def provider(self) -> str:
        """What the model really runs on: "cpu" or "cuda"."""
        return self._step.model.provider

    @property
    def provider_note(self) -> str:
        """How that was decided, one sentence."""
        return self._step.model.provider_note

    def summary(self, bundle_name: str) -> Summary:
        return summarize(
            self.meters,
            sample_rate=round(self.sample_rate),
            latency_samples=self.latency_samples,
            provider=self.provider,
            bundle=bundle_name,
        )

    def reset(self) -> None:
        """As new: the same sound gives the same answer, bit for bit. Meters and knobs stay as they are."""
        self.settle()
        if self._worker is not None:
            self._worker.fetch()
        for part in (self._step, self._hops, self._downmix, self._delay, self._mixer, self._limiter, self._overload):
            if part is not None:
                part.reset()
        mixed, mix = [self._knob(output.name) for output in self._outputs[1:]], self._knob("mix")
        self._answer.gain = math.exp(self._knob("gain_db") / DB_PER_NEPER)
        self._mixer.begin([max(0.0, 1 - sum(mixed)), *mixed], mix, self._answer.gain)
        self._missed = 0

    def _knob(self, name: str) -> float:
        target, value = self.knobs.target(name), float(self.knobs.values[self.knobs.index[name]])
        return min(max(value, target.low), target.high) if math.isfinite(value) else target.default

    def settle(self) -> None:
        """Wait until the worker, if there is one, has nothing to do. Not on the audio thread."""
        if self._worker is not None:
            self._worker.settle()

    def close(self) -> None:
        """End the worker's thread, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _warm_up(self, answer: Answer) -> None:
        """Touch every buffer and code path that a first hop would otherwise pay for."""
        with np.errstate(all="ignore"):
            self._step.warm_up(self._hops.hop, answer)
            self._mixer.warm_up(answer)
        self.reset()

    def process_block(self, block_in: np.ndarray, block_out: np.ndarray) -> None:  # audio thread
        """block_in, block_out : (frames, channels), float32, full scale 1; may be the same array.

        Never raises on bad samples: what is not a number counts as silence.
        """
        started = time.perf_counter()
        frames, meters = len(block_in), self._meters
        peak_in, power_in = 0.0, 0.0
        if self._hurries:
            self._hurry.begin(started, frames / self.sample_rate)
        with np.errstate(all="ignore"):
            for start in range(0, frames, CHUNK_SAMPLES):
                chunk = slice(start, start + CHUNK_SAMPLES)
                peak, power = self._take_in(block_in[chunk])
                peak_in, power_in = max(peak_in, peak), power_in + power
                self._process(min(CHUNK_SAMPLES, frames - start), peak, block_out[chunk])
            self._hand_out(block_out, frames)
        meters["peak_in"][...], meters["rms_in"][...] = peak_in, math.sqrt(power_in / max(1, frames * self.channels))
        meters["latency_samples"][...] = self.latency_samples
        meters["frames"] += frames
        if self._hurry.shortened:
            meters["shortened_steps"] += self._hurry.shortened
            self._hurry.shortened = 0
        meters["busy_seconds"] += time.perf_counter() - started

    def _take_in(self, block_in: np.ndarray) -> tuple[float, float]:  # audio thread
        """At most CHUNK_SAMPLES frames, cleaned.  Returns their peak and their energy."""
        dry = self._dry[:, : len(block_in)]
        np.copyto(dry, block_in.T)
        peak = _peak(dry)
        if not math.isfinite(peak):
            self.meters["repaired"] += repair(dry)
            peak = _peak(dry)
        if peak < SMALLEST:
            dry[:] = 0.0
        elif self._limiter is not None and peak > LOUDEST_LIVE:
            np.clip(dry, -LOUDEST_LIVE, LOUDEST_LIVE, out=dry)
        return peak, float(np.vdot(dry, dry))

    def _process(self, n: int, peak: float, block_out: np.ndarray) -> None:  # audio thread
        """The first n samples of `_dry`, of that peak."""
        out = block_out.T
        mono = self._mixed(self._dry[:, :n], self._mono, peak)
        dry = self._delay.process(self._dry[:, :n])
        late = self._mixed(dry, self._late, peak) if self._lookahead_samples else mono
        done = 0
        while True:
            taken = self._hops.take(mono[done : done + self._most])
            if taken:
                self._downmix.heard(self._dry[:, done : done + taken])
                part = slice(done, done + taken)
                self._mixer.process(dry[:, part], late[part], out[:, part])
                done += taken
            if self._hops.ended:
                if self._downmix.hop_ended():
                    self._mixed(self._dry[:, done:n], self._mono[done:], peak)
                    if self._lookahead_samples:
                        self._mixed(dry[:, done:], self._late[done:], peak)
                self._hop_ended()
            elif done == n:
                return

    def _mixed(self, sound: np.ndarray, out: np.ndarray, peak: float) -> np.ndarray:  # audio thread
        """sound : (channels, n).  Returns what the model hears of it, (n,), in `out`."""
        mono = self._downmix.mix(sound, out)
        if peak > LOUDEST:
            np.clip(mono, -LOUDEST, LOUDEST, out=mono)
        return mono

    def _hop_ended(self) -> None:  # audio thread
        hop, answer, overload = self._hops.hop, self._answer, self._overload
        if self._worker is not None:
            newest = self._fetch(self._worker, hop)
            if newest is None:
                return
            answer = newest
        elif overload is None:
            self._step.run(hop, answer)
        elif overload.pausing():
            self._step.rest(hop, answer)
            overload.rested()
        else:
            started = time.perf_counter()
            self._step.run(hop, answer)
            overload.took(time.perf_counter() - started)
            if overload.pausing():
                answer.pass_dry(answer.gain)
        self._mixer.change(answer)

    def _fetch(self, worker: Worker, hop: np.ndarray) -> Answer | None:  # audio thread
        """Give the worker a hop, take what it has ready: nothing to do, or an answer; the dry sound if it has been
        silent for too long.
        """
        newest = worker.fetch()
        given = worker.give(hop)
        self._missed = 0 if newest is not None else self._missed + 1
        if newest is not None:
            self._answer.gain = newest.gain  # for the dry sound, if the next ones fail to come
        if not given:
            self.meters["bypassed_hops"] += 1
        if newest is None and self._missed == MISSED_ANSWERS:
            self._answer.pass_dry(self._answer.gain)
            return self._answer
        return newest

    def _hand_out(self, block_out: np.ndarray, frames: int) -> None:  # audio thread
        meters = self._meters
        peak = _peak(block_out) if frames else 0.0
        if not math.isfinite(peak):
            repair(block_out)
            peak = _peak(block_out)
        if self._limiter is not None:
            for start in range(0, frames, CHUNK_SAMPLES):
                meters["limited"] += self._limiter.process(block_out[start : start + CHUNK_SAMPLES].T, peak)
            peak = min(peak, 1.0)
        elif peak > 1.0:
            meters["clipped"] += np.count_nonzero(np.abs(block_out) > 1.0)
        meters["peak_out"][...] = peak
        meters["rms_out"][...] = (
            math.sqrt(min(float(np.vdot(block_out, block_out)), MOST_POWER) / block_out.size) if frames else 0.0
        )


def _peak(block: np.ndarray) -> float:  # audio thread
    return max(float(block.max()), -float(block.min()))
