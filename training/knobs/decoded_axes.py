"""The sounds on which directions are measured, and labelled directions found through the decoder itself.

A regression from z^t to a descriptor of the sound says which timbres have more of it, not that a step of a knob gives
more. Where the decoder is told the pitch and draws what is asked of it, the derivative of the descriptor of what it
draws does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch

from training.data.manifest import SoundSet
from training.dsp.control import Decoder, decoder_for
from training.evaluation.probes import batches
from training.features import Amplitudes, FeatureConfig, FeatureExtractor
from training.knobs.descriptors import DESCRIPTORS, LABELS
from training.knobs.directions import effects_db
from training.knobs.presets import rounded
from training.models.latents import Latents, TimbreVAE

PROBE_SOUNDS = 24  # on which the effects of directions are measured
# The loudness of a harmonic decoder is given, so no direction moves the attack time.
MOVABLE = ("brightness", "noisiness", "odd_even")
KNOB_VALUES = (-2.0, -1.0, 0.0, 1.0, 2.0)


@dataclass(frozen=True, eq=False)
class Probe:
    """A few sounds, spread over a set.

    decoder : decodes their latents, edited or not;  sounding : (sounds, frames);  pitch : (sounds,), MIDI, NaN for none
    """

    decoder: Decoder
    latents: Latents
    sounding: torch.Tensor
    pitch: np.ndarray


@torch.no_grad()
def probe_of(model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float) -> Probe:
    chosen = sounds.spread(PROBE_SOUNDS)
    rows, audio = next(iter(batches(chosen, min(seconds, 1.0))))
    spectra = features(audio)
    z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
    return Probe(decoder_for(model, features, audio), z, spectra.sounding, chosen.pitch[rows])


def descriptors_of(probe: Probe, config: FeatureConfig, step: np.ndarray) -> dict[str, np.ndarray]:
    """Of what is drawn with z^t moved by `step`, (D,): name → (sounds,)"""
    moved = probe.latents.with_(timbre=probe.latents.timbre + torch.from_numpy(step).float())
    amplitude = (torch.exp(probe.decoder.decode(moved)) - config.log_floor).clamp_min(0)
    drawn = Amplitudes(amplitude, probe.sounding[:, : amplitude.shape[1]])
    return {name: DESCRIPTORS[name](drawn, config, probe.pitch).numpy() for name in MOVABLE}


@torch.no_grad()
def decoded_axes(probe: Probe, config: FeatureConfig, timbre: np.ndarray) -> list[dict[str, Any]]:
    """For every descriptor that z^t can move the direction that moves it most for its likelihood; a unit is a standard
    deviation over real sounds. `correlation` is Spearman's, of knob and descriptor, mean over the probe's sounds.

    timbre : (sounds, D), z^t of real sounds
    """
    covariance = np.cov(timbre.T)
    variances, vectors = np.linalg.eigh(covariance)
    whitened = (vectors * np.sqrt(np.maximum(variances, 0))).T  # rows: one standard deviation each, uncorrelated
    slopes: dict[str, list[float]] = {name: [] for name in MOVABLE}
    for row in whitened:
        up, down = (descriptors_of(probe, config, sign * row) for sign in (0.5, -0.5))
        for name, found in slopes.items():
            found.append(_mean(up[name] - down[name]))
    axes = []
    for name, found in slopes.items():
        weight = np.array(found)
        if not np.isfinite(weight).all() or not weight.any():
            continue
        direction = (weight / np.linalg.norm(weight)) @ whitened
        heard = [descriptors_of(probe, config, value * direction)[name] for value in KNOB_VALUES]
        ranks = [
            scipy.stats.spearmanr(KNOB_VALUES, one).statistic for one in np.transpose(heard) if np.isfinite(one).all()
        ]
        axes.append(
            {
                "name": name,
                "label": LABELS[name],
                "direction": rounded(direction),
                "effect_db": round(effects_db(probe.decoder, probe.latents, [direction])[0], 3),
                "descriptor": name,
                "correlation": round(_mean(np.array(ranks)), 4),
            }
        )
    return axes


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
