"""Training of S3: the evidence lower bound under mixture priors, and the labels there are (Luo 2019)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.build.cutting import UNLABELLED
from training.data.contract import TrainingSet
from training.data.manifest import DataError
from training.features import FeatureConfig, RecipeError
from training.losses import kl_between, kl_to_mixture, kl_to_uniform
from training.models.latents import Encoding
from training.models.mixture import MixtureConfig, MixtureVAE
from training.plots import preview
from training.sample import log_samples
from training.tasks.base import Batch, MatmulPrecision, VAETask


@dataclass(frozen=True)
class MixtureWeights:
    """Weight of each term. The authors have 1 everywhere; the squared error is summed over frames and bands, so it is
    by far the largest.
    """

    reconstruction: float = 1.0
    timbre: float = 1.0  # KL of z^t to the mixture
    responsibilities: float = 1.0  # KL of the responsibilities to equal shares
    instrument: float = 1.0  # cross-entropy of the responsibilities, labelled sounds
    pitch: float = 1.0  # KL of z^p to its pitch's component
    pitch_class: float = 1.0  # cross-entropy of the classifier on z^p


class MixtureTask(VAETask):
    """Train the Gaussian-mixture VAE (Luo 2019).

    Parameters
    ----------
    model, features : sizes and frames; bins, rate and floor follow from the features; instruments left out are those of
        the data set
    learning_rate, decay_per_epoch : of Adam (amsgrad), and the factor it is multiplied with after every epoch
    label_portion : share of the training sounds whose instrument label is used, 0 … 1; which ones follows from
        `label_seed` and the data set
    weights : of the terms
    late_starts : share of training windows that begin in silence, up to the whole window before the sound (for live
        use)
    preview_epochs, float32_matmul : see `VAETask`
    """

    model: MixtureVAE

    def __init__(
        self,
        model: MixtureConfig,
        features: FeatureConfig,
        learning_rate: float = 1e-4,
        decay_per_epoch: float = 1.0,
        label_portion: float = 1.0,
        label_seed: int = 0,
        weights: MixtureWeights | None = None,
        late_starts: float = 0.0,
        preview_epochs: int = 10,
        float32_matmul: MatmulPrecision = "highest",
    ) -> None:
        super().__init__(
            features,
            learning_rate=learning_rate,
            decay_per_epoch=decay_per_epoch,
            preview_epochs=preview_epochs,
            float32_matmul=float32_matmul,
        )
        for name, share in (("label_portion", label_portion), ("late_starts", late_starts)):
            if not 0 <= share <= 1:
                raise RecipeError(f"{name}={share:g} must lie in 0 … 1")
        self.config = dataclasses.replace(
            model, bins=features.bins, sample_rate=features.sample_rate, log_floor=features.log_floor
        )
        self.label_portion, self.label_seed, self.weights = label_portion, label_seed, weights or MixtureWeights()
        self.late_starts = late_starts
        self.labelled: Tensor | None = None  # per row of the training split; None: all
        # The data set's instruments as components of the prior, -1 for none; None: the same order.
        self.component_of: Tensor | None = None

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, amsgrad=True)

    def spectrograms(self, batch: Batch) -> dict[str, np.ndarray]:
        return preview(self.model, self.features, batch["audio"])

    def about(self) -> dict[str, Any]:
        return {
            "label_portion": self.label_portion,
            "label_seed": self.label_seed,
            "weights": dataclasses.asdict(self.weights),
        }

    def setup(self, stage: str) -> None:
        """Make the model, once the data set has said which instruments there are."""
        data = self.training_data()
        if data is not None:
            self._read_labels(data.training_set())
        self.build()

    def _refuse_unsuitable(self, found: TrainingSet) -> None:
        """Refuse data without the labels that the priors need, too."""
        super()._refuse_unsuitable(found)
        check_labels(found, self.config)

    def build(self) -> None:
        """Make the weights, if they are not there."""
        if "model" not in self._modules:
            self.model = MixtureVAE(self.config)

    def _read_labels(self, data: TrainingSet) -> None:
        check_labels(data, self.config)
        names = [name for name in data.instruments if name != UNLABELLED]
        if not self.config.instruments:
            self.config = dataclasses.replace(self.config, instruments=tuple(names))
        position = {name: i for i, name in enumerate(self.config.instruments)}
        self.component_of = torch.tensor([position.get(name, -1) for name in data.instruments])
        self.labelled = torch.from_numpy(
            labelled_rows(data.of_split("train").instrument, self.label_portion, self.label_seed)
        )

    def instruments(self, batch: Batch, *, training: bool) -> Tensor:
        """Component of the timbre prior per sound, (batch,); -1 where the label is missing or held back."""
        label = batch["instrument"]
        if self.component_of is not None:
            label = torch.where(label < 0, -1, self.component_of.to(label.device)[label.clamp_min(0)])
        if training and self.labelled is not None:
            label = torch.where(self.labelled.to(label.device)[batch["row"]], label, -1)
        return label

    def terms(self, batch: Batch, *, training: bool) -> dict[str, Tensor]:
        """In validation the loss leaves the instrument labels out, as a semi-supervised model may not choose its best
        by them.
        """
        log_amplitude = self.features.log_amplitude(self.features.amplitudes(batch["audio"]))
        mel = self.model.mel(log_amplitude)
        noise = self.noise(batch, mel.shape[1]) if training else None
        mel = begun_late(mel, self.late_starts, noise.pitch) if noise and self.late_starts else mel
        encoding = self.model.encode_mel(mel, noise)
        label, pitch = self.instruments(batch, training=training), batch["pitch"] - self.config.lowest_pitch
        terms, w = self.bound(mel, encoding, label, pitch), self.weights
        loss = (
            w.reconstruction * terms["squared_error"]
            + w.timbre * terms["kl_timbre"]
            + w.responsibilities * terms["kl_responsibilities"]
        )
        loss = loss + w.pitch * terms["kl_pitch"] + w.pitch_class * terms["pitch_cross_entropy"]
        return terms | {"loss": loss + (w.instrument * terms["instrument_cross_entropy"] if training else 0)}

    def bound(self, mel: Tensor, encoding: Encoding, label: Tensor, pitch: Tensor) -> dict[str, Tensor]:
        """Every term, unweighted, averaged over the sounds; cross-entropy of the instrument over those with a label.

        mel : (batch, frames, bands);  label : (batch,), component or -1;  pitch : (batch,), component
        """
        model, timbre, z_pitch = self.model, encoding.timbre, encoding.pitch
        squared = (model.decode_mel(encoding.latents) - mel).square()
        shares = model.instrument_log_probability(encoding.latents.timbre)
        classes = model.pitch_classifier(encoding.latents.pitch)
        known = label >= 0
        instrument = (
            torch.nn.functional.nll_loss(shares[known], label[known]) if bool(known.any()) else shares.new_zeros(())
        )
        right = (shares.argmax(-1) == label)[known].float()
        return {
            "squared_error": squared.sum((1, 2)).mean(),
            "mse": squared.mean(),
            "kl_timbre": kl_to_mixture(
                timbre.mean, timbre.variance, shares, model.timbre_means, self.config.timbre_sigma**2
            ).mean(),
            "kl_responsibilities": kl_to_uniform(shares).mean(),
            "instrument_cross_entropy": instrument,
            "instrument_accuracy": right.mean() if len(right) else shares.new_zeros(()),
            "kl_pitch": kl_between(
                z_pitch.mean, z_pitch.variance, model.pitch_means[pitch], self.config.pitch_sigma**2
            ).mean(),
            "pitch_cross_entropy": torch.nn.functional.cross_entropy(classes, pitch),
            "pitch_accuracy": (classes.argmax(-1) == pitch).float().mean(),
        }

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if (
            self.preview_epochs
            and self.current_epoch % self.preview_epochs == 0
            and self.trainer.is_global_zero
            and self.preview is not None
        ):
            log_samples(self.logger, self.model, self.features.config, self.preview["pitch"].tolist(), self.global_step)


def begun_late(mel: Tensor, share: float, noise: Tensor) -> Tensor:
    """A share of the windows moved to an earlier time: silence comes before the sound, whose end is cut off.

    mel : (batch, frames, bands), -1 is silence;  noise : (batch, ≥ 2), standard normal, the source of chance
    """
    uniform, frames = torch.special.ndtr(noise[:, -2:]), mel.shape[1]
    late = torch.where(uniform[:, 0] < share, (uniform[:, 1] * frames).floor().clamp(max=frames - 1), 0).long()
    source = torch.arange(frames, device=mel.device) - late[:, None]
    moved = mel.gather(1, source.clamp_min(0)[..., None].expand_as(mel))
    return torch.where(source[..., None] < 0, -1.0, moved)


def check_labels(data: TrainingSet, config: MixtureConfig) -> None:
    """Refuse data that S3 cannot be trained on.

    Raises
    ------
    DataError
        If there are fewer than two instruments, a pitch is missing or has no component, phrases are mixed in, or
        batches are of one sound.
    """
    names = [name for name in data.instruments if name != UNLABELLED]
    if len(names) < 2 and not config.instruments:
        raise DataError(
            f"{data.directory} has {len(names)} labelled instrument, the timbre prior needs at least 2; choose more, "
            "or name them in the recipe"
        )
    if data.phrases is not None:
        raise DataError(f"{data.phrases} has phrases, this system reads single notes; leave data.sequences out")
    pitch = data.sounds.pitch
    missing = int(np.sum(~np.isfinite(pitch)))
    if missing:
        raise DataError(
            f"{missing} of {len(pitch)} sounds of {data.directory} have no pitch, this system needs it of all; choose "
            "pitched instruments"
        )
    low, high = config.lowest_pitch, config.lowest_pitch + config.pitches - 1
    if round(pitch.min()) < low or round(pitch.max()) > high:
        raise DataError(
            f"{data.directory} has pitches {pitch.min():g} … {pitch.max():g}, the model knows {low} … {high}; "
            f"set data.pitches to [{low}, {high}], or model.lowest_pitch and model.pitches"
        )
    if data.batch_size < 2:
        raise DataError(f"batch_size={data.batch_size} is too small for batch normalisation; make it at least 2")


def labelled_rows(instrument: np.ndarray, portion: float, seed: int) -> np.ndarray:
    """Which sounds keep their instrument label: ⌊portion · sounds⌋ of them, as equal a share of every instrument as can
    be.

    instrument : (sounds,), names;  returns (sounds,), bool, the same for the same seed and sounds, and growing with the
        portion
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(instrument))
    for name in np.unique(instrument):
        rows = np.flatnonzero(instrument == name)
        place[rows[rng.permutation(len(rows))]] = (np.arange(len(rows)) + rng.random()) / len(rows)
    chosen = np.zeros(len(instrument), bool)
    chosen[np.argsort(place, kind="stable")[: int(portion * len(instrument) + 1e-9)]] = True
    return chosen
