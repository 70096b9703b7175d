"""Figures and sounds of S3's evaluation: transfer curves, traversals, both latent spaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure as Picture
from sklearn.manifold import TSNE

from training.data.labels import note_name
from training.decibels import DB_PER_NEPER
from training.evaluation.mixture.measures import ALPHAS, SIGMAS, Notes, Transfer, traversal
from training.evaluation.report import picture
from training.features import FeatureConfig
from training.models.latents import Latents
from training.models.mixture import MixtureVAE
from training.sample import as_sound

RANGE_DB = 70
TOP_KHZ = 6.0
MOST_LINES = 6
COLOURS = colormaps["tab20"]


def transfer_picture(transfers: Sequence[Transfer], names: Sequence[str]) -> Picture:
    """Probability of the target and of the source, and the pitch's F-score, over α; some pairs thin, the mean of all
    thick.
    """
    figure = picture((13, 4.2))
    parts = {
        "probability of the target": "target",
        "probability of the source": "source",
        "F-score of the pitch": "pitch",
    }
    shown = [
        transfers[i] for i in np.unique(np.linspace(0, len(transfers) - 1, min(MOST_LINES, len(transfers))).astype(int))
    ]
    for column, (title, part) in enumerate(parts.items(), 1):
        axes = figure.add_subplot(1, 3, column)
        for one in shown:
            axes.plot(
                ALPHAS,
                getattr(one, part),
                marker="o",
                markersize=3,
                linewidth=1,
                label=" → ".join(names[i] for i in one.pair),
            )
        axes.plot(
            ALPHAS,
            np.mean([getattr(one, part) for one in transfers], 0),
            color="black",
            linewidth=3,
            label=f"mean of {len(transfers)} pairs",
        )
        axes.set(title=title, xlabel="α, share of the way between the means", ylim=(-0.03, 1.03), xticks=ALPHAS)
        axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def traversal_picture(model: MixtureVAE, features: FeatureConfig, start: Latents, dimensions: Sequence[int]) -> Picture:
    """A row of spectrograms per dimension, a column per standard deviation of the prior."""
    figure = picture((2.1 * len(SIGMAS), 2.0 * len(dimensions) + 0.6))
    for row, dimension in enumerate(dimensions):
        decoded = decode(model, traversal(model, start, dimension))
        top = float(decoded.max()) * DB_PER_NEPER
        extent = (0, decoded.shape[1] * features.hop_samples / features.sample_rate, 0, features.sample_rate / 2000)
        for column, log_amplitude in enumerate(decoded):
            axes = figure.add_subplot(len(dimensions), len(SIGMAS), row * len(SIGMAS) + column + 1)
            axes.imshow(
                log_amplitude.T * DB_PER_NEPER,
                origin="lower",
                aspect="auto",
                extent=extent,
                vmin=top - RANGE_DB,
                vmax=top,
                cmap="magma",
            )
            axes.set(ylim=(0, min(TOP_KHZ, features.sample_rate / 2000)))
            axes.set_title(f"{SIGMAS[column]:+.0f} σ" if SIGMAS[column] else "0", fontsize=9)
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(dimensions) - 1, labelsize=8)
            if column == 0:
                axes.set_ylabel(f"dimension {dimension}\nkHz")
            if row == len(dimensions) - 1:
                axes.set_xlabel("s", fontsize=8)
    return figure


@torch.no_grad()
def decode(model: MixtureVAE, latents: Latents) -> np.ndarray:
    """Log-amplitude, (sounds, frames, bins)."""
    return model.decode(latents).numpy()


def write_traversal(model: MixtureVAE, features: FeatureConfig, start: Latents, dimension: int, path: Path) -> None:
    """The notes of a traversal one after another, into a sound file."""
    notes = [as_sound(log_amplitude, features) for log_amplitude in decode(model, traversal(model, start, dimension))]
    soundfile.write(path, np.concatenate(notes), features.sample_rate)


def spaces_picture(notes: Notes, names: Sequence[str], seed: int) -> Picture:
    """t-SNE of z^t and of z^p, coloured by instrument and by pitch."""
    figure = picture((12.5, 9))
    for row, (space, values) in enumerate(notes.latents.items()):
        plane = TSNE(perplexity=min(30.0, (len(values) - 1) / 3), random_state=seed, init="pca").fit_transform(
            values.numpy()
        )
        for column, label in enumerate(("instrument", "pitch")):
            axes = figure.add_subplot(2, 2, 2 * row + column + 1)
            axes.set_title(f"{'timbre z^t' if space == 'timbre' else 'pitch z^p'}, coloured by {label}")
            axes.set(xticks=[], yticks=[])
            if label == "pitch":
                dots = axes.scatter(plane[:, 0], plane[:, 1], c=notes.labels["pitch"], s=12, cmap="viridis")
                bar = figure.colorbar(dots, ax=axes)
                ticks = list(
                    range(12 * (int(notes.labels["pitch"].min()) // 12 + 1), int(notes.labels["pitch"].max()) + 1, 12)
                )
                bar.set_ticks(ticks, labels=[note_name(tick) for tick in ticks])
                continue
            for i, name in enumerate(names):
                rows = notes.labels["instrument"] == i
                axes.scatter(
                    plane[rows, 0], plane[rows, 1], s=14, color=COLOURS(i % 20), marker="o^sDv"[i % 5], label=name
                )
            axes.legend(fontsize=7, markerscale=1.2, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
