"""Directions of a latent as they are heard: what a step does to the decoded spectrum, and which ways real sounds differ
most audibly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from training.dsp.control import Decoder
from training.models.latents import Latents
from training.units import DB_PER_NEPER

REGULARISATION = 1e-4
RIDGE = 1.0  # penalty on the weights of a prediction


@dataclass(frozen=True)
class AudibleDirection:
    """One direction, (D,), and its effect: RMS change of the decoded log-spectrum for one unit, in dB."""

    direction: np.ndarray
    effect_db: float


def ridge_weights(z: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The weights that predict a property from a latent, z @ weights, by ridge regression.

    z : (sounds, D), mean 0;  wanted : (sounds,), mean 0;  returns (D,)
    """
    return np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ wanted)


@torch.no_grad()
def effects_db(
    decoder: Decoder, probe: Latents, directions: Iterable[np.ndarray], latent: str = "timbre"
) -> list[float]:
    """For each direction of that latent: RMS change of the decoded log-spectrum for a knob value of 1, in dB."""
    plain = decoder.decode(probe)
    moved = (probe.with_(**{latent: probe[latent] + torch.from_numpy(direction).float()}) for direction in directions)
    return [float((decoder.decode(latents) - plain).square().mean().sqrt() * DB_PER_NEPER) for latents in moved]


@torch.no_grad()
def heard_most(
    decoder: Decoder,
    probe: Latents,
    latent: str,
    values: np.ndarray,
    *,
    most: int | None = None,
    apart_from: np.ndarray | None = None,
) -> list[AudibleDirection]:
    """The ways real values of a latent differ, the one heard most first; one unit is a standard deviation over the real
    values.

    A latent's own basis is arbitrary (its prior looks the same from every side) and neighbouring dimensions share what
    they say, so a knob per dimension does little. These are uncorrelated over real sounds, like principal directions,
    but ordered and separated by what they do to the decoded spectrum: the eigenvectors of its change under a whitened
    basis.

    values : (sounds or frames, D), of real sounds
    most : how many are wanted; None: all
    apart_from : (D,), weights of a prediction z @ weights that moving along the directions shall not change on average
    """
    covariance = np.cov(values.T).reshape(values.shape[1], -1)
    covariance += np.eye(len(covariance)) * max(1e-6, REGULARISATION * float(np.trace(covariance)) / len(covariance))
    variances, vectors = np.linalg.eigh(covariance)
    whitened = (vectors * np.sqrt(variances)).T  # rows: one standard deviation each, uncorrelated
    if apart_from is not None:  # in whitened coordinates "uncorrelated" is "at a right angle"
        whitened = np.linalg.svd((whitened @ apart_from)[None])[2][1:] @ whitened
    changes = np.stack([_mean_change(decoder, probe, latent, row) for row in whitened])
    _, mixing = np.linalg.eigh(changes @ changes.T)  # ascending
    chosen = mixing.T if most is None else mixing.T[-most:]
    directions = [_brighter(decoder, probe, latent, column @ whitened) for column in chosen]
    effects = effects_db(decoder, probe, directions, latent)
    return [AudibleDirection(directions[i], effects[i]) for i in np.argsort(effects)[::-1]]


def _mean_change(decoder: Decoder, probe: Latents, latent: str, direction: np.ndarray) -> np.ndarray:
    """Change of each probe sound's decoded spectrum from half a step down to half a step up, averaged over time.
    (sounds · bins,)
    """
    step = torch.from_numpy(direction / 2).float()
    up, down = (decoder.decode(probe.with_(**{latent: probe[latent] + sign * step})).mean(1) for sign in (1, -1))
    return (up - down).double().flatten().numpy()


def _brighter(decoder: Decoder, probe: Latents, latent: str, direction: np.ndarray) -> np.ndarray:
    """The direction or its opposite: the one that tilts the spectrum upwards."""
    change = _mean_change(decoder, probe, latent, direction).reshape(len(probe[latent]), -1).mean(0)
    tilt = float(change @ np.linspace(-1, 1, len(change)))
    return -direction if tilt < 0 else direction
