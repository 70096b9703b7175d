"""Training of a harmonic model of one instrument by the sound it makes (DDSP, Engel 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.contract import TrainingSet
from training.data.manifest import DataError, SoundSet
from training.data.store import SoundStore
from training.dsp.differentiable import noise_samples, render
from training.dsp.f0 import track_pitch
from training.features import FeatureConfig, RecipeError, Spectra
from training.losses import SPECTRAL_SIZES, masked_mean, multiscale_spectral
from training.models.harmonic import VOICED, Control, HarmonicConfig, HarmonicVAE, Voice, fitted
from training.models.latents import drawn_noise
from training.plots import preview_rows
from training.tasks.base import Batch, MatmulPrecision, VAETask

HEARD_SOUNDS, HEARD_SECONDS, HEARD_HOP = 40, 2.0, 512  # looked at for pitch before the first step
LEAST_VOICED = 0.05  # of their frames


class DDSPTask(VAETask):
    """Train a harmonic model to sound like one instrument: an autoencoder without divergences.

    Its decoder's harmonics and noise are played, level and pitch as analysed, and compared with the recording by the
    multi-scale spectral distance.

    Parameters
    ----------
    model, features : sizes and frames; `model.one_timbre` must be true, for z^t is the instrument
    learning_rate, decay_per_epoch : Adam's, and the factor it is multiplied with after every epoch
    frames : weight of the squared difference of the drawn log-amplitude frames. The sound is as loud as what was heard,
        whatever is drawn, and its phases have no gradient, so level and inharmonicity are learned here alone.
    jitter_semitones : in training the decoder is told a pitch that is off by so much (standard deviation, one draw per
        example), while its partials stay where they are: what it draws then varies smoothly from note to note
    preview_epochs, float32_matmul : see `VAETask`
    """

    def __init__(
        self,
        model: HarmonicConfig,
        features: FeatureConfig,
        learning_rate: float = 2e-3,
        decay_per_epoch: float = 0.96,
        frames: float = 0.5,
        jitter_semitones: float = 0.0,
        preview_epochs: int = 0,
        float32_matmul: MatmulPrecision = "highest",
    ) -> None:
        super().__init__(
            features,
            learning_rate=learning_rate,
            decay_per_epoch=decay_per_epoch,
            preview_epochs=preview_epochs,
            float32_matmul=float32_matmul,
        )
        if not model.one_timbre:
            raise RecipeError(
                "one_timbre=False: this task trains one instrument; set model.one_timbre, or train with "
                "training/recipes/harmonic.yaml"
            )
        self.model: HarmonicVAE = HarmonicVAE(fitted(model, features))
        self.frames, self.jitter_semitones = frames, jitter_semitones

    @property
    def pitch_hop_samples(self) -> int:
        return self.features.config.hop_samples

    def noise_values(self, samples: int) -> int:
        """None: z^v and z^p are their means."""
        return 0

    def about(self) -> dict[str, Any]:
        return {"frames": self.frames, "jitter_semitones": self.jitter_semitones}

    def _refuse_unsuitable(self, found: TrainingSet) -> None:
        """Refuse sounds without pitch, too, which this model could only hiss."""
        super()._refuse_unsuitable(found)
        if voiced_share(found.of_split("train")) < LEAST_VOICED:
            raise DataError(
                f"{found.directory} has no pitched sound that a tracker is sure of, and this model plays pitches; give "
                "recordings of one voice at a time, or train with training/recipes/harmonic.yaml"
            )

    @torch.no_grad()
    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        heard = self._heard(batch)
        found = self.features(self._sound(heard, batch))
        return preview_rows(heard.spectra.log_amplitude, found.log_amplitude, None)

    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        heard = self._heard(batch, self.jitter_semitones if training else 0.0)
        found = self._sound(heard, batch)
        samples = found.shape[1]
        if samples < SPECTRAL_SIZES[0]:
            raise DataError(
                f"an example of {samples} samples is too short to compare; make data.segment_seconds at least "
                f"{SPECTRAL_SIZES[0] / self.features.config.sample_rate:.3f}"
            )
        drawn = self.model.spectrum(heard.voice, heard.control)
        error = (drawn - heard.spectra.log_amplitude).square().mean(-1)
        terms = {
            "spectral": multiscale_spectral(found, batch["audio"][:, :samples]).mean(),
            "mse": masked_mean(error, heard.spectra.sounding),
        }
        return terms | {"loss": terms["spectral"] + self.frames * terms["mse"]}

    def _heard(self, batch: Batch, jitter_semitones: float = 0.0) -> _Heard:
        spectra = self.features(batch["audio"])
        amplitude = self.features.amplitudes(batch["audio"]).amplitude
        control = self.model.control(
            spectra.log_amplitude,
            batch["f0_hz"],
            batch["confidence"],
            spectra.sounding,
            self.features.config.hop_samples,
        )
        latents = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        level = (amplitude * self.model.weighting).square().sum(-1).sqrt()
        told = control
        if jitter_semitones:
            off = torch.stack([drawn_noise(draw, 1) for draw in batch["draw"].tolist()]).to(control.f0.device)
            told = control._replace(f0=control.f0 * torch.exp2(off * jitter_semitones / 12))
        return _Heard(spectra, control, level, self.model.voice(latents, told))

    def _sound(self, heard: _Heard, batch: Batch) -> Tensor:
        hop = self.features.config.hop_samples
        count = noise_samples(self.model, heard.level.shape[1], hop)
        source = torch.stack([drawn_noise(draw, count) for draw in batch["draw"].tolist()]).to(heard.level.device)
        return render(self.model, heard.voice, heard.control, heard.level, hop, source)


@dataclass(frozen=True, eq=False)
class _Heard:
    """level : (batch, frames), linear, A-weighted"""

    spectra: Spectra
    control: Control
    level: Tensor
    voice: Voice


def voiced_share(sounds: SoundSet) -> float:
    """Of the frames of some sounds, spread over the set, those of whose pitch the tracker is sure, 0 … 1."""
    chosen = sounds.spread(min(HEARD_SOUNDS, len(sounds)))
    store, rate, sure = SoundStore(chosen), sounds.sample_rate, []
    for row in range(len(chosen)):
        sound = store.read(row, 0, min(round(HEARD_SECONDS * rate), int(chosen.length[row])))
        sure.append(track_pitch(sound, rate, HEARD_HOP).confidence >= VOICED)
    heard = np.concatenate(sure)
    return float(heard.mean()) if len(heard) else 0.0
