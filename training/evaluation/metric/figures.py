"""Figures 3 to 5 of Tanaka 2021: both spaces by t-SNE, denseness by class, distances between classes. Model → space →
its classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture
from sklearn.manifold import TSNE

from training.data.labels import note_name
from training.evaluation.metric.classes import Classes
from training.evaluation.report import picture

POINTS = 1000  # frames shown by t-SNE, at most
PERPLEXITY = 30.0
COLOURS = ("0.6", "tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple")
Models = Mapping[str, Mapping[str, Classes]]


def tsne_figure(models: Models, seed: int) -> Picture:
    """A row per model; each space once coloured by pitch and once by instrument; a point per frame."""
    figure = picture((17, 4.2 * len(models)))
    grid: Any = figure.subplots(len(models), 4, squeeze=False)
    for row, (name, spaces) in zip(grid, models.items(), strict=True):
        for k, (space, classes) in enumerate(spaces.items()):
            sounds, frames = classes.frames.shape[:2]
            chosen = np.random.default_rng(seed).permutation(sounds * frames)[:POINTS]
            flat = classes.frames.reshape(sounds * frames, -1)[chosen]
            points = TSNE(perplexity=min(PERPLEXITY, (len(flat) - 1) / 3), init="pca", random_state=seed).fit_transform(
                flat
            )
            for colouring, axes in zip(("pitch", "timbre"), row[2 * k : 2 * k + 2], strict=True):
                label = np.repeat(spaces[colouring].label, frames)[chosen]
                draw = _by_pitch if colouring == "pitch" else _by_instrument
                draw(figure, axes, points, label, spaces[colouring].names)
                axes.set(xticks=[], yticks=[])
                axes.set_title(
                    f"{name}: {space} space by {'pitch' if colouring == 'pitch' else 'instrument'}", fontsize=10
                )
    return figure


def _by_pitch(figure: Picture, axes: Any, points: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> None:
    notes = np.array([float(name) for name in names])[label]
    bar = figure.colorbar(axes.scatter(*points.T, c=notes, cmap="turbo", s=6), ax=axes)
    ticks = np.unique(np.linspace(notes.min(), notes.max(), 6).round()).tolist()
    bar.set_ticks(ticks, labels=[note_name(tick) for tick in ticks])


def _by_instrument(_: Picture, axes: Any, points: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> None:
    for k in np.unique(label):
        axes.scatter(*points[label == k].T, s=6, color=f"C{k % 10}", label=names[k])
    if len(names) <= 10:
        axes.legend(fontsize=7, markerscale=2, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.01))


def denseness_figure(models: Models) -> Picture:
    """Above the pitch space pitch by pitch, below the timbre space instrument by instrument."""
    figure = picture((12, 7))
    grid: Any = figure.subplots(2, 1)
    for axes, space in zip(grid, ("pitch", "timbre"), strict=True):
        width = 0.8 / len(models)
        for k, (name, spaces) in enumerate(models.items()):
            place = spaces[space].present - 0.4 + width * (k + 0.5)
            axes.bar(place, spaces[space].per_class, width, color=COLOURS[k % len(COLOURS)], label=name)
        labels = _labels(space, next(iter(models.values()))[space].names)
        axes.set_xticks(range(len(labels)), labels, fontsize=7 if len(labels) > 12 else 9)
        axes.set(ylabel="denseness", title=f"{space} space")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(models))
    return figure


def distances_figure(models: Models) -> Picture:
    """A column per model, above the pitch space and below the timbre space; one colour scale per space."""
    figure = picture((5.5 * len(models), 9))
    grid: Any = figure.subplots(2, len(models), squeeze=False)
    for row, space in zip(grid, ("pitch", "timbre"), strict=True):
        top = max(float(spaces[space].distances.max()) for spaces in models.values())
        for axes, (name, spaces) in zip(row, models.items(), strict=True):
            drawn = axes.imshow(spaces[space].distances, vmin=0, vmax=top, cmap="viridis")
            labels = _labels(space, spaces[space].names)
            shown = range(0, len(labels), max(1, len(labels) // 12))
            axes.set_xticks(shown, [labels[k] for k in shown], rotation=60, ha="right", fontsize=8)
            axes.set_yticks(shown, [labels[k] for k in shown], fontsize=8)
            axes.set_title(f"{name}: {space} space")
            figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def _labels(space: str, names: tuple[str, ...]) -> list[str]:
    return [note_name(float(name)) for name in names] if space == "pitch" else list(names)
