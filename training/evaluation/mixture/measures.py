"""What is measured of S3 (Luo 2019): classifiers trained on original notes judge drawn and transferred ones; which
dimension is brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor

from training.checkpoint import Checkpoint
from training.data.manifest import SoundSet
from training.evaluation.bootstrap import interval
from training.evaluation.probes import batches
from training.features import Amplitudes, FeatureExtractor
from training.knobs.descriptors import brightness
from training.models.latents import Latents
from training.models.mixture import MixtureVAE

LABELS = ("instrument", "pitch")
# principal components that the classifiers read, as they are: whitened ones would magnify what a decoder leaves out
COMPONENTS = 200
INVERSE_PENALTY = 0.1  # of the logistic regression; with it, originals held out are told best
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIGMAS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
DECODED_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Notes:
    """Sounds as the model reads them.

    mel : (sounds, frames, bands), scaled;  latents : posterior means, (sounds, D) each
    labels : "instrument" → component of the prior, "pitch" → MIDI note, (sounds,)
    centroid : (sounds,), octaves above 1 kHz
    """

    mel: Tensor
    latents: Latents
    labels: dict[str, np.ndarray]
    centroid: np.ndarray


@dataclass(frozen=True)
class Score:
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def segment_seconds(checkpoint: Checkpoint) -> float:
    """As much of a sound as the model reads."""
    return checkpoint.model.config.frames * checkpoint.features.hop_samples / checkpoint.features.sample_rate


@torch.no_grad()
def read_notes(checkpoint: Checkpoint, sounds: SoundSet) -> Notes:
    """The sounds' first second; they must be of the model's instruments and pitches."""
    model, features = checkpoint.model, FeatureExtractor(checkpoint.features)
    assert isinstance(model, MixtureVAE)
    mels, centroids = [], []
    for rows, audio in batches(sounds, segment_seconds(checkpoint)):
        amplitudes = features.amplitudes(audio)
        mels.append(model.mel(features.log_amplitude(amplitudes)))
        centroids.append(brightness(amplitudes, checkpoint.features, sounds.pitch[rows]).numpy())
    parts = [model.encode_mel(mel).latents for mel in mels]
    latents = Latents(**{name: torch.cat([part[name] for part in parts]) for name in model.latent_sizes})
    position = {name: i for i, name in enumerate(model.config.instruments)}
    labels = {
        "instrument": np.array([position[name] for name in sounds.instrument]),
        "pitch": np.rint(sounds.pitch).astype(int),
    }
    return Notes(torch.cat(mels), latents, labels, np.concatenate(centroids))


@torch.no_grad()
def decode_mel(model: MixtureVAE, latents: Latents) -> Tensor:
    """(sounds, frames, bands), some at a time."""
    pairs = zip(latents.timbre.split(DECODED_AT_ONCE), latents.pitch.split(DECODED_AT_ONCE), strict=True)
    return torch.cat([model.decode_mel(Latents(timbre=timbre, pitch=pitch)) for timbre, pitch in pairs])


def train_classifiers(notes: Notes, seed: int) -> dict[str, Pipeline]:
    """Instrument and pitch from original mel chunks: principal components, then logistic regression."""
    chunks = notes.mel.flatten(1).numpy()
    count = min(COMPONENTS, len(chunks) - 1, chunks.shape[1])
    return {
        label: make_pipeline(PCA(count, random_state=seed), LogisticRegression(C=INVERSE_PENALTY, max_iter=300)).fit(
            chunks, notes.labels[label]
        )
        for label in LABELS
    }


def f_score(wanted: np.ndarray, found: np.ndarray) -> float:
    """Mean over the classes that occur in `wanted` of the harmonic mean of precision and recall."""
    return float(f1_score(wanted, found, labels=np.unique(wanted), average="macro", zero_division=0.0))


def scores(classifiers: dict[str, Pipeline], mel: Tensor, labels: dict[str, np.ndarray], seed: int) -> dict[str, Score]:
    """Macro F-score per label.  mel : (sounds, frames, bands)."""
    result = {}
    for label, classifier in classifiers.items():
        wanted, found = labels[label], classifier.predict(mel.flatten(1).numpy())
        low, high = interval(wanted, lambda rows, w=wanted, f=found: f_score(w[rows], f[rows]), seed=seed)  # type: ignore[misc]
        result[label] = Score(f_score(wanted, found), low, high)
    return result


@dataclass(frozen=True, eq=False)
class Transfer:
    """z^t moved from one component's mean towards another's, by each share of ALPHAS: (alphas,) each, over the source's
    test sounds.

    source, target : mean probability of the two instruments;  pitch : F-score of the note that was played
    """

    pair: tuple[int, int]
    source: np.ndarray
    target: np.ndarray
    pitch: np.ndarray


@torch.no_grad()
def transfer(model: MixtureVAE, notes: Notes, classifiers: dict[str, Pipeline], pair: tuple[int, int]) -> Transfer:
    """Many-to-many timbre transfer: z^t + α (μ_target − μ_source), z^p as it is."""
    source, target = pair
    rows = np.flatnonzero(notes.labels["instrument"] == source)
    z = Latents(**{name: value[rows] for name, value in notes.latents.items()})
    step = model.timbre_means[target] - model.timbre_means[source]
    classes = classifiers["instrument"].classes_.tolist()
    shares, pitch = [], []
    for alpha in ALPHAS:
        chunks = decode_mel(model, z.with_(timbre=z.timbre + alpha * step)).flatten(1).numpy()
        shares.append(
            classifiers["instrument"].predict_proba(chunks)[:, [classes.index(source), classes.index(target)]].mean(0)
        )
        pitch.append(f_score(notes.labels["pitch"][rows], classifiers["pitch"].predict(chunks)))
    each = np.array(shares)
    return Transfer(pair, each[:, 0], each[:, 1], np.array(pitch))


@dataclass(frozen=True)
class Dimension:
    """How one dimension of z^t goes with brightness.

    r, p, holm : Pearson correlation with the spectral centroid of the sounds, its two-sided p-value, and that corrected
        for the number of dimensions
    slope : octaves that the decoded sound's centroid moves for one standard deviation of the prior, average over the
        instruments' typical notes
    """

    index: int
    r: float
    p: float
    holm: float
    slope: float


def brightness_table(checkpoint: Checkpoint, notes: Notes) -> list[Dimension]:
    """Every dimension of z^t, on test sounds."""
    timbre = notes.latents.timbre.numpy()
    found = [correlation(column, notes.centroid) for column in timbre.T]
    corrected = holm([p for _, p in found])
    slopes = [centroid_slope(checkpoint, i) for i in range(timbre.shape[1])]
    return [Dimension(i, *found[i], corrected[i], slopes[i]) for i in range(timbre.shape[1])]


def correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Pearson's r and its two-sided p-value; 0 and 1 where there is nothing to correlate."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0, 1.0
    test = stats.pearsonr(np.asarray(a, float), np.asarray(b, float))
    return float(test.statistic), float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected (Holm 1979): the smallest times their number, the next times one less, never
    falling, at most 1.
    """
    order = np.argsort(p_values)
    raised = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in raised[np.argsort(order)]]


@torch.no_grad()
def traversal(model: MixtureVAE, start: Latents, dimension: int) -> Latents:
    """One note's latents (1, D) with one dimension of z^t moved by each of SIGMAS, in standard deviations of the
    prior.
    """
    timbre = start.timbre.repeat(len(SIGMAS), 1)
    timbre[:, dimension] += model.config.timbre_sigma * torch.tensor(SIGMAS)
    return Latents(timbre=timbre, pitch=start.pitch.repeat(len(SIGMAS), 1))


@torch.no_grad()
def centroid_slope(checkpoint: Checkpoint, dimension: int) -> float:
    model, features = checkpoint.model, FeatureExtractor(checkpoint.features)
    assert isinstance(model, MixtureVAE)
    moved = [
        traversal(model, model.component(i, middle_pitch(model)), dimension)
        for i in range(len(model.config.instruments))
    ]
    every = Latents(**{name: torch.cat([z[name] for z in moved]) for name in model.latent_sizes})
    amplitude = features.linear(model.scale.log_amplitude(decode_mel(model, every)))
    sounding = torch.ones(amplitude.shape[:2], dtype=torch.bool)
    centroid = (
        brightness(Amplitudes(amplitude, sounding), checkpoint.features, np.empty(0)).numpy().reshape(-1, len(SIGMAS))
    )
    return float(np.polyfit(SIGMAS, centroid.T, 1)[0].mean())


def middle_pitch(model: MixtureVAE) -> int:
    """Middle C, or the nearest note the model knows."""
    return int(np.clip(60, model.config.lowest_pitch, model.config.lowest_pitch + model.config.pitches - 1))
