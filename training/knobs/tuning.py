"""Tunes the curve of pitch: z^p near the averages of real sounds, chosen so that the decoder plays the note in most
timbres.

An average over instruments lies where few real sounds do, and the decoder draws its harmonics faintly or those of the
octave. What is asked of each note's z^p instead: the autocorrelation of the decoded spectrum shall have its first high
peak at the note's period. How far it may go for that is measured by how far real sounds of one note lie from their
average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.features import FeatureConfig, FeatureExtractor
from training.knobs.decoded_pitch import HIGHEST_NOTE, hz, steady_amplitude, window_shape
from training.knobs.pitch_curve import Curve
from training.models.latents import TimbreVAE
from training.timed_loop import Budget, Schedule, TimedLoop

LOWEST_NOTE = 21.0
GRID_SEMITONES = 0.25
TEMPERATURE = 0.03  # of autocorrelation
# handicaps: a shorter period is taken for the note when nearly as high, a longer one, its multiple, only when higher
SHORTER = 0.2
LONGER = -0.08
OTHER_NOTE = 1.0  # semitones from which they hold
NEARNESS = 0.1  # weight of the distance from the averages, in variances of real sounds
LEARNING_RATE = 0.1
TIMBRES = 3  # of each note in each step
FRAMES = 20
REGULARISATION = 1e-3


def tuned(
    model: TimbreVAE,
    features: FeatureExtractor,
    curve: Curve,
    timbres: Sequence[np.ndarray],
    rest: np.ndarray | None,
    steps: int,
) -> Curve:
    """The curve after so many steps from the averages.

    timbres : for each note the z^t of the instruments that play it, (instruments, D)
    rest : (D,), the z^v that all have; None for a model without
    """
    notes, size = curve.notes, len(curve.spread)
    comb = _Comb(notes, features.config)
    nearness = torch.from_numpy(np.linalg.inv(curve.spread + REGULARISATION * np.eye(size))).float() / size
    average = torch.from_numpy(curve.pitch).float()
    z = average.clone().requires_grad_(True)
    rng = np.random.default_rng(0)

    def loss() -> Tensor:
        timbre = np.stack([some[rng.integers(0, len(some), TIMBRES)] for some in timbres])
        rows = {"timbre": torch.from_numpy(timbre).float().flatten(0, 1), "pitch": z.repeat_interleave(TIMBRES, 0)}
        if rest is not None:
            rows["variation"] = torch.from_numpy(rest).float().expand(len(notes) * TIMBRES, -1)
        away = z - average
        far = ((away @ nearness) * away).sum(1).mean()
        return comb.mistuning(steady_amplitude(model, features, rows, FRAMES)) + NEARNESS * far

    TimedLoop([z], Budget(steps=steps), Schedule(LEARNING_RATE, decay="cosine")).run(loss)
    return dataclasses.replace(curve, pitch=z.detach().double().numpy())


class _Comb:
    """Autocorrelation of decoded spectra at the periods of a grid of notes, and how clearly it tells the notes
    wanted.
    """

    def __init__(self, notes: np.ndarray, config: FeatureConfig) -> None:
        grid = np.arange(LOWEST_NOTE, HIGHEST_NOTE + GRID_SEMITONES / 2, GRID_SEMITONES)
        lags = np.minimum(config.sample_rate / np.array([hz(note) for note in grid]), config.window_samples / 2)
        twice = np.full(config.bins, 2.0)
        twice[0] = twice[-1] = 1.0
        waves = np.cos(2 * np.pi * np.outer(np.arange(config.bins), lags) / config.window_samples)
        self._waves = torch.from_numpy(twice[:, None] * waves / window_shape(lags, config)).float()
        self._twice = torch.from_numpy(twice).float()
        above = grid[None] - notes[:, None]  # (notes, grid)
        handicap = np.where(above > OTHER_NOTE, SHORTER, np.where(above < -OTHER_NOTE, LONGER, 0.0))
        self._handicap = torch.from_numpy(handicap).float().repeat_interleave(TIMBRES, 0)
        self._wanted = torch.from_numpy(np.abs(above).argmin(1)).repeat_interleave(TIMBRES)

    def mistuning(self, amplitude: Tensor) -> Tensor:
        """Cross-entropy of the note wanted among all on the grid, mean.  amplitude : (notes · TIMBRES, bins)"""
        power = amplitude.square()
        correlation = (power @ self._waves) / (power @ self._twice)[:, None].clamp_min(1e-9)
        return torch.nn.functional.cross_entropy((correlation + self._handicap) / TEMPERATURE, self._wanted)
