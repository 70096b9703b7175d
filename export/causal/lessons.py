"""The losses of a causal student while it streams: against the teacher's latents of whole sounds, against the data,
and against the teacher's output with another sound's timbre.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from export.streaming_play import live_features, play
from realtime.hop.smoothing import timbre_rate
from training.features import FeatureConfig, FeatureExtractor, Spectra
from training.models.latents import Latents, one_per_sound, tiled

BATCH = 32  # sounds
LATENT_WEIGHT = 2.0  # of what each latent misses, as a share of its variance, beside the reconstruction's error
MEAN_WEIGHT = 10.0  # the same of its average over the sound, by which sounds are told apart
STEADY_WEIGHT = 20.0  # the same of a latent that has one value per sound
SWAPPED = 12  # of the batch's sounds are decoded so
EXAMINED = 128  # sounds


class StreamingLessons:
    """One sound after another from silence, framed as the runtime frames them (S1).

    student : a causal `TimbreVAE`, folded or not;  audio, held_out : (sounds, samples), float32
    """

    learning_rate = 2e-3
    swap_weight = 0.5  # of the error of what is decoded with another sound's timbre

    def __init__(self, teacher: Any, student: Any, features: FeatureConfig, audio: Tensor, held_out: Tensor) -> None:
        self.teacher, self.student = teacher.requires_grad_(False), student
        self._whole, self._live = FeatureExtractor(features), live_features(features)
        self._rate = timbre_rate(features.hop_samples / features.sample_rate)
        self._audio = audio
        self._held_out = held_out[torch.linspace(0, len(held_out) - 1, min(EXAMINED, len(held_out))).long()]
        self._known: dict[int, Latents] = {}
        self._steady = one_per_sound(teacher)
        self._spread = self._spreads()

    def trainable(self) -> list[nn.Parameter]:
        """All but what only training needs: the posteriors' variances."""
        return [value for name, value in self.student.named_parameters() if ".variance." not in name]

    def batches(self, random: torch.Generator) -> Iterator[Tensor]:
        yield from torch.randperm(len(self._audio), generator=random).split(BATCH)

    def loss(self, rows: Tensor) -> Tensor:
        audio = self._audio[rows]
        new = [i for i, row in enumerate(rows.tolist()) if row not in self._known]
        if new:
            found = self._teach(audio[new])
            for k, i in enumerate(new):
                self._known[int(rows[i])] = Latents(**{name: value[k].clone() for name, value in found.items()})
        known = [self._known[row] for row in rows.tolist()]
        return self._missed(
            audio, Latents(**{name: torch.stack([z[name] for z in known]) for name in self.teacher.latent_sizes})
        )

    @torch.no_grad()
    def held_out_loss(self) -> float:
        losses = [float(self._missed(part, self._teach(part))) * len(part) for part in self._held_out.split(BATCH)]
        return sum(losses) / len(self._held_out)

    def error(self, decoded: Tensor, spectra: Spectra) -> Tensor:
        """Of the reconstruction, per frame, (batch, frames): squared, of the log-amplitude, averaged over bins."""
        return (decoded - spectra.log_amplitude).square().mean(-1)

    @torch.no_grad()
    def _teach(self, audio: Tensor) -> Latents:
        spectra = self._whole(audio)
        z: Latents = self.teacher.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        return z

    @torch.no_grad()
    def _spreads(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Total variance of each latent over frames, and of its averages over sounds."""
        spectra = self._whole(self._held_out)
        z = self.teacher.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        means = z.averaged(spectra.sounding)
        frames = {name: value if value.dim() == 2 else value[spectra.sounding] for name, value in z.items()}
        return {name: tuple(v.var(0).sum().clamp_min(1e-6) for v in (frames[name], means[name])) for name in z}  # type: ignore[misc]

    def _missed(self, audio: Tensor, wanted: Latents) -> Tensor:
        live = self._live(audio)
        z, decoded = play(self.student, live, self._rate)
        weight = live.sounding.to(decoded.dtype)
        total = weight.sum().clamp_min(1)
        loss = (self.error(decoded, live) * weight).sum() / total + self.swap_weight * self.swap_error(wanted, weight)
        later = weight * weight.cumsum(1)  # the longer a sound was heard, the better its timbre must be known
        for name, value in z.items():
            per_frame, per_sound = self._spread[name]
            if name in self._steady:
                missed = (value - wanted[name][:, None]).square().sum(-1)
                loss = loss + STEADY_WEIGHT * (missed * later).sum() / later.sum().clamp_min(1) / per_sound
                continue
            missed = (value - wanted[name]).square().sum(-1)
            loss = loss + LATENT_WEIGHT * (missed * weight).sum() / total / per_frame
            means = [
                (part * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1)
                for part in (value, wanted[name])
            ]
            loss = loss + MEAN_WEIGHT * (means[0] - means[1]).square().sum(-1).mean() / per_sound
        return loss

    def swap_error(self, wanted: Latents, weight: Tensor) -> Tensor:
        """Squared difference between the student's and the teacher's decoding of these latents with the timbre of the
        batch's next sound.

        Only the shape of the spectrum counts: the teacher's levels are those of whole sounds, so each frame's level is
        left to the reconstruction loss.

        weight : (batch, frames), 1 where a sound is heard
        """
        weight = weight[:SWAPPED]
        other = Latents(**{name: value[:SWAPPED] for name, value in wanted.items()})
        other = other.with_(timbre=other.timbre.roll(1, 0))
        with torch.no_grad():
            target = self.teacher.decode(other)
        frames = min(target.shape[1], weight.shape[1])
        each = Latents(**{name: tiled(value, frames)[:, :frames] for name, value in other.items()})
        found, _ = self.student.stream_decode(each, self.student.decoder_state(len(weight)))
        difference = found - target[:, :frames]
        both = (weight * weight.roll(1, 0))[:, :frames]
        missed = (difference - difference.mean(-1, keepdim=True)).square().mean(-1)
        return (missed * both).sum() / both.sum().clamp_min(1)


class MetricLessons(StreamingLessons):
    """The same for S2, whose logarithms of small powers would otherwise count most."""

    swap_weight = 0.05

    def error(self, decoded: Tensor, spectra: Spectra) -> Tensor:
        """Exponential negative log-likelihood of the power above that of a perfect mean, averaged over bins.

        Tanaka 2021, eq. 3.
        """
        floor = self.teacher.config.log_floor**2
        ratio = (self.teacher.observed(spectra.log_amplitude) + floor) / (self.teacher.observed(decoded) + floor)
        return (ratio - torch.log(ratio) - 1).mean(-1)


class PairLessons(StreamingLessons):
    """Two notes in a row, the first from silence: for S3, whose latents are a note's and must turn with it. Silent
    frames are left out, as live.
    """

    learning_rate = 3e-3

    def _missed(self, audio: Tensor, wanted: Latents) -> Tensor:
        live = self._live(audio)
        heard = torch.cat([live.sounding, live.sounding.roll(1, 0)], 1)
        order = torch.argsort((~heard).to(torch.uint8), dim=1, stable=True)  # those that sound first

        def pair(values: Tensor) -> Tensor:
            both = torch.cat([values, values.roll(1, 0)], 1)
            return both.gather(1, order[..., None].expand(-1, -1, both.shape[-1]))

        row = Spectra(pair(live.log_amplitude), pair(live.envelope), pair(live.fine), heard.gather(1, order))
        z, decoded = play(self.student, row, self._rate)
        weight = row.sounding.to(decoded.dtype)
        loss = (self.error(decoded, row) * weight).sum() / weight.sum().clamp_min(1)
        loss = loss + self.swap_weight * self.swap_error(wanted, live.sounding.to(decoded.dtype))
        since = live.sounding.cumsum(1)[..., None].to(decoded.dtype)  # frames of the present note
        later = weight * pair(since)[..., 0]
        for name, value in z.items():
            target = pair(tiled(wanted[name], live.sounding.shape[1]))
            missed = (value - target).square().sum(-1)
            loss = loss + STEADY_WEIGHT * (missed * later).sum() / later.sum().clamp_min(1) / self._spread[name][1]
        return loss
