"""Latents frame by frame, with the pitch that is heard in each frame: of notes that keep it, and of phrases that move
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.data.manifest import DataError, SoundSet
from training.data.store import PITCH_STEP_SAMPLES, SoundStore
from training.evaluation.probes import batches, device_of
from training.features import FeatureConfig, FeatureExtractor
from training.models.latents import TimbreVAE

REACH_SECONDS = 0.1  # a frame is near a transition if within this …
MOVING_SEMITONES = 0.5  # … the pitch covers more than that


@dataclass(frozen=True, eq=False)
class Frames:
    """latents : name → (rows, D), of the latents that have a value per frame;  pitch : (rows,), MIDI note
    moving : (rows,), near a transition
    sound : (rows,), which sound of the set each frame is of.
    """

    latents: dict[str, np.ndarray]
    pitch: np.ndarray
    moving: np.ndarray
    sound: np.ndarray


@torch.no_grad()
def gather(
    model: TimbreVAE, features: FeatureExtractor, sounds: SoundSet, seconds: float, per_sound: int, seed: int
) -> Frames:
    """Up to `per_sound` frames of every sound, drawn at random from those that sound and have a pitch.

    Raises
    ------
    DataError
        If a sound has neither a pitch nor a pitch track.
    """
    rng, device, store = np.random.default_rng(seed), device_of(model), SoundStore(sounds)
    latents: dict[str, list[np.ndarray]] = {}
    pitch, moving, sound = [], [], []
    for rows, audio in batches(sounds, seconds):
        spectra = features(audio.to(device))
        z = model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        values = {name: value.cpu().numpy() for name, value in z.items() if value.dim() == 3}
        for place, row in enumerate(rows):
            heard, moves = frame_pitch(track_of(store, int(row)), spectra.sounding.shape[1], features.config)
            usable = np.flatnonzero(spectra.sounding[place].cpu().numpy() & np.isfinite(heard))
            chosen = np.sort(rng.permutation(usable)[:per_sound])
            for name, value in values.items():
                latents.setdefault(name, []).append(value[place, chosen])
            pitch.append(heard[chosen])
            moving.append(moves[chosen])
            sound.append(np.full(len(chosen), row))
    joined = {name: np.concatenate(parts) for name, parts in latents.items()}
    return Frames(joined, np.concatenate(pitch), np.concatenate(moving), np.concatenate(sound))


def track_of(store: SoundStore, row: int) -> np.ndarray:
    """The pitch of a sound in every block of `PITCH_STEP_SAMPLES`: its track, or its one pitch throughout."""
    track = store.pitch_track(row)
    if track is not None:
        return track
    sounds = store.sound_set
    if np.isnan(sounds.pitch[row]):
        raise DataError(
            f"{sounds.directory} has no pitch tracks; make phrases with: python -m training.data.sequences --out DIR"
        )
    return np.full(-(-int(sounds.length[row]) // PITCH_STEP_SAMPLES), sounds.pitch[row])


def frame_pitch(track: np.ndarray, frames: int, config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """What is heard in the middle of each frame's window, and whether it moves there.

    track : (blocks,), MIDI note, NaN where nothing is heard

    Returns
    -------
    pitch : (frames,), NaN where nothing is heard;  moving : (frames,), bool
    """
    middle = (np.arange(1, frames + 1) * config.hop_samples - config.window_samples // 2) // PITCH_STEP_SAMPLES
    reach = max(1, round(REACH_SECONDS * config.sample_rate / PITCH_STEP_SAMPLES))
    padded = np.concatenate([np.full(reach, np.nan), track, np.full(reach, np.nan)])
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)  # (blocks, 2·reach + 1)
    span = np.where(np.isnan(near), -np.inf, near).max(1) - np.where(np.isnan(near), np.inf, near).min(1)
    inside = (middle >= 0) & (middle < len(track))
    block = np.clip(middle, 0, len(track) - 1)
    return np.where(inside, track[block], np.nan), inside & (span[block] > MOVING_SEMITONES)
