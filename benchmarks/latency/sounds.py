"""Sounds whose onsets are known to the sample.

Impulses, noise bursts and plucked notes come at random places; a steady sound never stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from training.data.build.fluid import NoteRenderer, default_soundfont

GUITAR, PIANO, VIOLIN = 24, 0, 40
GAP_SECONDS = 0.45  # at least so long after a beginning comes the next
LEAD_SECONDS = 0.5  # silence before the first
BURST_SECONDS = 0.08
NOTE_SECONDS = 0.25
PEAK = 0.5


@dataclass(frozen=True)
class MarkedSound:
    """samples : (n,), float32;  starts : (events,), the sample at which each begins"""

    samples: np.ndarray
    starts: np.ndarray
    sample_rate: int


def impulses(rng: np.random.Generator, sample_rate: int, count: int) -> MarkedSound:
    """Single samples."""
    starts, samples = _places(rng, sample_rate, count)
    samples[starts] = PEAK
    return MarkedSound(samples, starts, sample_rate)


def bursts(rng: np.random.Generator, sample_rate: int, count: int) -> MarkedSound:
    """White noise that begins at once and fades."""
    length = round(BURST_SECONDS * sample_rate)
    fade = np.exp(-5 * np.arange(length) / length)
    return _placed(rng, sample_rate, [PEAK / 3 * rng.standard_normal(length) * fade for _ in range(count)])


def plucked(rng: np.random.Generator, sample_rate: int, count: int) -> MarkedSound:
    """Notes of a sampled nylon guitar, each cut to begin with its first audible sample."""
    with NoteRenderer(default_soundfont(), bank=0, program=GUITAR, sample_rate=sample_rate) as guitar:
        length = round(NOTE_SECONDS * sample_rate)
        notes = []
        for _ in range(count):
            sound = guitar.note(int(rng.integers(48, 72)), 100, held_samples=length, samples=2 * length)
            sound = sound / np.abs(sound).max()
            first = int(np.argmax(np.abs(sound) > 0.02))
            fade = np.minimum(1.0, (length - np.arange(length)) / (0.05 * sample_rate))
            notes.append(PEAK * sound[first : first + length] * fade)
    return _placed(rng, sample_rate, notes)


def steady(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Harmonics of 220 Hz over noise, never silent, for hearing a knob move at any moment.  (n,), float32"""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = sum(np.sin(2 * np.pi * 220 * k * time + rng.uniform(0, 6)) / k for k in range(1, 13))
    return (0.1 * tone + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def melody(program: int, sample_rate: int, seconds: float) -> np.ndarray:
    """Half-second notes of a sampled instrument between C4 and C5, (n,), float32."""
    length = round(0.5 * sample_rate)
    count = round(seconds / 0.5)
    with NoteRenderer(default_soundfont(), bank=0, program=program, sample_rate=sample_rate) as player:
        notes = [player.note(60 + (5 * k) % 13, 95, held_samples=length, samples=length)[:length] for k in range(count)]
    sound = np.concatenate(notes)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def resampled(sound: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    return sound if source_rate == target_rate else soxr.resample(sound, source_rate, target_rate).astype(np.float32)


def _placed(rng: np.random.Generator, sample_rate: int, sounds: list[np.ndarray]) -> MarkedSound:
    starts, samples = _places(rng, sample_rate, len(sounds))
    for start, sound in zip(starts, sounds, strict=True):
        samples[start : start + len(sound)] += sound
    return MarkedSound(samples, starts, sample_rate)


def _places(rng: np.random.Generator, sample_rate: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random samples, and silence to put sounds into; after the last there is room for its echo."""
    gap = round(GAP_SECONDS * sample_rate)
    steps = gap + rng.integers(0, gap // 4, count)
    starts = round(LEAD_SECONDS * sample_rate) + np.cumsum(steps) - steps[0]
    return starts, np.zeros(int(starts[-1]) + 2 * gap, np.float32)
