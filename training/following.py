"""What a decoder learns in order to follow its knobs: to draw at once what it would draw had they stood there from the
sound's beginning.

A training sound has one z^t from beginning to end, so a recurrent decoder may keep in its state what it heard first; a
knob turned while playing then does little. Here z^t switches in the middle of sounds, and the state comes from other
sounds. The target is what the original decoder draws from zero state with the z^t now asked for, held since the sound
began; where nothing was switched it is half of that and half the data, so that the decoder goes on learning to
reconstruct.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.manifest import SoundSet
from training.data.store import SoundStore
from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import Latents, tiled
from training.models.perturbation import PerturbationVAE
from training.recurrent import State
from training.units import TIMBRE_SECONDS

# sounds: one half whole, with the encoders' noise as in training, the other half streamed behind another sound
BATCH = 12
SOUND_SECONDS = 1.4
FROM_ONSET = 0.6  # share of the sounds that begin at their onset
GRACE_FRAMES = 8  # over which an error after a switch comes to count in full
DATA_SHARE = 0.5  # of the target where nothing was switched
FROM_ZERO = 0.25  # share of the sounds that find the decoder in zero state
# shares: no switch; a sound's own timbre before it; a timbre offset along an axis
UNSWITCHED = 0.25
OWN_FIRST = 0.65
MOVED = 0.5
MOST_OFFSET = 3.0  # standard deviations, as far as the knobs go
LOUDEST_AXES = 16
# batches that are used again, since hearing them costs more than learning from them; new ones come every so many steps
KEPT = 40
HEAR_EVERY = 5


@dataclass(frozen=True)
class EncodedBatch:
    """Sounds as the frozen encoders hear them.

    latents : z^t too has a value per frame;  log_amplitude : (batch, frames, bins)
    counts : (batch, frames), 1 where a frame sounds
    whole : (batch,), whether a sound was encoded as in training, so that the data is a fair target
    """

    latents: Latents
    log_amplitude: Tensor
    counts: Tensor
    whole: Tensor


class Following:
    """A decoder that learns from its own original.  knobs : as a checkpoint carries them, None where they were not
    measured
    """

    def __init__(
        self,
        model: PerturbationVAE,
        features: FeatureConfig,
        sounds: SoundSet,
        knobs: Mapping[str, Any] | None,
        seed: int,
    ) -> None:
        self.student, self._teacher = model, copy.deepcopy(model).requires_grad_(False)
        self._features, self._sounds, self._store = FeatureExtractor(features), sounds, SoundStore(sounds)
        self._samples = round(SOUND_SECONDS * features.sample_rate / features.hop_samples) * features.hop_samples
        self._rate = torch.tensor(features.hop_samples / (features.sample_rate * TIMBRE_SECONDS))
        self._random, self._noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        presets, axes = (knobs or {}).get("presets", []), (knobs or {}).get("axes", [])
        self._anchors = _table([anchor["timbre"] for preset in presets for anchor in preset["anchors"]])
        timbre = [axis for axis in axes if axis["name"].startswith("timbre[")][:LOUDEST_AXES]
        self._axes = _table([axis["direction"] for axis in (*timbre, *(axis for axis in axes if "descriptor" in axis))])
        self._left: State | None = None  # the decoder's states after the last batch
        self._kept: list[EncodedBatch] = []
        self._steps = 0

    def taught(self) -> list[nn.Parameter]:
        return [*self.student.decoder_stack.parameters(), *self.student.output.parameters()]

    def loss(self) -> Tensor:
        """Mean squared error of the log-amplitude of one batch."""
        heard = self._next()
        first, second, switched = self._schedule(heard)
        state, zero = self._state(len(heard.counts))
        with torch.no_grad():
            target = self._target(heard, first, second, switched)
        z = heard.latents.with_(timbre=torch.where(switched[..., None], second, first))
        drawn, left = self.student.stream_decode(z, state)
        self._left = {name: value.detach() for name, value in left.items()}
        weight = heard.counts * _grace(switched, zero)
        return ((drawn - target).square().mean(-1) * weight).sum() / weight.sum().clamp_min(1)

    def _next(self) -> EncodedBatch:
        """A new batch now and then, else one of those before."""
        if self._steps % HEAR_EVERY == 0:
            self._kept = [*self._kept[1 - KEPT :], self._hear()]
        chosen = (
            len(self._kept) - 1 if self._steps % HEAR_EVERY == 0 else int(self._random.integers(0, len(self._kept)))
        )
        self._steps += 1
        return self._kept[chosen]

    @torch.no_grad()
    def _hear(self) -> EncodedBatch:
        half = BATCH // 2
        z, amplitude, counts = self._hear_whole(self._audio(half))
        others, other_amplitude, other_counts = self._hear_behind(self._audio(BATCH - half), self._audio(BATCH - half))
        latents = Latents(**{name: torch.cat([value, others[name]]) for name, value in z.items()})
        return EncodedBatch(
            latents,
            torch.cat([amplitude, other_amplitude]),
            torch.cat([counts, other_counts]),
            torch.arange(BATCH) < half,
        )

    def _audio(self, count: int) -> Tensor:
        """Random sounds, (count, samples), zero-padded."""
        audio = np.zeros((count, self._samples), np.float32)
        for i, row in enumerate(self._random.integers(0, len(self._sounds), count)):
            spare = max(0, int(self._sounds.length[row]) - self._samples)
            start = 0 if self._random.random() < FROM_ONSET else int(self._random.integers(0, spare + 1))
            sound = self._store.read(int(row), start, self._samples)
            audio[i, : len(sound)] = sound
        return torch.from_numpy(audio)

    def _hear_whole(self, audio: Tensor) -> tuple[Latents, Tensor, Tensor]:
        spectra = self._features(audio)
        frames = spectra.sounding.shape[1]
        noise = {
            name: torch.randn(len(audio), *shape, generator=self._noise)
            for name, shape in self._teacher.noise_shapes(frames).items()
        }
        z = self._teacher.encode(spectra.envelope, spectra.fine, spectra.sounding, Latents(**noise)).latents
        return (
            Latents(**{name: tiled(value, frames) for name, value in z.items()}),
            spectra.log_amplitude,
            spectra.sounding.float(),
        )

    def _hear_behind(self, earlier: Tensor, audio: Tensor) -> tuple[Latents, Tensor, Tensor]:
        """As live: level, running means and the encoders' states go on from the sound before."""
        spectra = self._features(torch.cat([earlier, audio], 1))
        z, _ = self._teacher.stream_encode(
            spectra.envelope, spectra.fine, self._rate, self._teacher.encoder_state(len(audio))
        )
        frames = audio.shape[1] // self._features.config.hop_samples
        return (
            Latents(**{name: value[:, -frames:] for name, value in z.items()}),
            spectra.log_amplitude[:, -frames:],
            spectra.sounding[:, -frames:].float(),
        )

    def _schedule(self, heard: EncodedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """z^t before and after a switch, (batch, frames, D), and where the second is asked for, (batch, frames)."""
        own = heard.latents.timbre
        batch, frames = heard.counts.shape
        first, second = own.clone(), own.clone()
        switched = torch.zeros(batch, frames, dtype=torch.bool)
        for row in range(batch):
            if self._random.random() >= OWN_FIRST:
                first[row] = self._timbre(own, row)
            second[row] = self._timbre(own, row)
            if self._random.random() >= UNSWITCHED:
                # beyond the sound's end for a third of the draws: often the second z^t stays to the end
                start, end = sorted(self._random.integers(0, round(1.5 * frames), 2).tolist())
                switched[row, start:end] = True
        return first, second, switched

    def _timbre(self, own: Tensor, row: int) -> Tensor:
        """Some z^t that knobs could ask for while this sound plays, (frames, D) or (1, D)."""
        kind = self._random.integers(0, 3 if len(self._anchors) else 2)
        if kind == 2:
            z = self._anchors[int(self._random.integers(0, len(self._anchors)))][None]
        else:
            z = own[row] if kind == 0 and len(self._axes) else own[int(self._random.integers(0, len(own))), -1:]
        if len(self._axes) and (kind == 0 or self._random.random() < MOVED):
            axis = self._axes[int(self._random.integers(0, len(self._axes)))]
            z = z + float(self._random.uniform(-MOST_OFFSET, MOST_OFFSET)) * axis
        return z

    def _state(self, batch: int) -> tuple[State, Tensor]:
        """What earlier sounds left behind, dealt out anew, or zero; and which sounds have the latter, (batch,)."""
        zero = torch.from_numpy(self._random.random(batch) < FROM_ZERO)
        if self._left is None:
            return self.student.decoder_state(batch), torch.ones(batch, dtype=torch.bool)
        order = torch.from_numpy(self._random.permutation(batch))
        return {name: value[:, order] * (~zero)[None, :, None] for name, value in self._left.items()}, zero

    def _target(self, heard: EncodedBatch, first: Tensor, second: Tensor, switched: Tensor) -> Tensor:
        """(batch, frames, bins)"""
        batch = len(switched)
        both = Latents(**{name: torch.cat([value, value]) for name, value in heard.latents.items()}).with_(
            timbre=torch.cat([first, second])
        )
        h, _ = self._teacher.decoder_stack(
            torch.cat([both[name] for name in self._teacher.latent_sizes], -1), self._teacher.decoder_state(2 * batch)
        )
        drawn: Tensor = self._teacher.output(torch.where(switched[..., None], h[batch:], h[:batch]))
        plain = heard.whole & (first == heard.latents.timbre).flatten(1).all(1)
        share = DATA_SHARE * (plain[:, None] & ~switched)[..., None].to(drawn.dtype)
        return drawn.lerp(heard.log_amplitude, share)


def _grace(switched: Tensor, zero: Tensor) -> Tensor:
    """Weights that rise to 1 after every switch and, except from zero state, after the beginning, (batch, frames)."""
    change = torch.cat([~zero[:, None], switched[:, 1:] != switched[:, :-1]], 1)
    frame = torch.arange(switched.shape[1]).expand_as(switched)
    last = torch.where(change, frame, -GRACE_FRAMES).cummax(1).values
    return ((frame - last).clamp(max=GRACE_FRAMES) / GRACE_FRAMES).float()


def _table(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32) if rows else torch.zeros(0, 0)
