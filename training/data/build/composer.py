"""Random phrases, joined as players and singers join notes: glides, legato, vibrato, scoops, staccato, repeated notes,
rests, swells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.data.build.fluid import BLOCK_SAMPLES
from training.data.build.phrases import Phrase, PhraseNote, Rest, wheel_steps

_STEPS = {0: 3, 1: 4, 2: 5, 3: 3, 4: 2, 5: 2, 7: 2, 12: 1}  # semitones up or down to the next note, and their weights
_JOINTS = {"legato": 8, "detached": 5, "staccato": 3, "rest": 4}
_GLIDE_REACH, _KEY_REACH = 7, 11  # semitones at most: of one glide; of all glides of a key (the wheel reaches 12)
_GLIDES, _SCOOPS, _VIBRATOS, _SWELLS, _LATE_STARTS = 0.35, 0.2, 0.5, 0.5, 0.5  # probabilities
_LAST_START = 0.1  # seconds before the end; no note begins later

Choice = TypeVar("Choice", int, str)


@dataclass(frozen=True)
class _Glide:
    start: float  # seconds after the note-on
    end: float
    semitones: int


@dataclass(frozen=True)
class _Held:
    """How a key is played."""

    seconds: float
    glides: tuple[_Glide, ...]
    pitch: int  # where the glides lead


def compose(rng: np.random.Generator, *, low: int, high: int, seconds: float, sample_rate: int) -> Phrase:
    """A phrase within the MIDI notes low … high, from `rng` alone.

    seconds : its length; the end may cut the last note
    """
    block_seconds = BLOCK_SAMPLES / sample_rate
    compass = min(high - low, int(rng.integers(7, 24, endpoint=True)))
    lowest = int(rng.integers(low, high - compass, endpoint=True))
    bounds = lowest, lowest + compass
    pitch, loudness = int(rng.integers(*bounds, endpoint=True)), rng.uniform(45, 105)
    time = rng.uniform(0, 0.2) if rng.random() < _LATE_STARTS else 0.0
    rests, notes = [_rest(0.0, 0.0, time, block_seconds)], list[PhraseNote]()
    while not notes or time < seconds - _LAST_START:
        key, start, held = pitch, time, _held(rng, pitch, bounds)
        pitch = held.pitch + _step(
            rng, [step for step in _both_ways(_STEPS) if bounds[0] <= held.pitch + step <= bounds[1]]
        )
        joint = _joint(rng, held, repeated=pitch == held.pitch)
        release, time = _joined(rng, joint, start, held.seconds)
        if joint == "rest":
            silence = release + rng.uniform(0.05, 0.15)
            time = silence + rng.uniform(0.1, 0.6)
            rests.append(_rest(release, silence, time, block_seconds))
        first, last = (
            round(start / block_seconds),
            max(round(release / block_seconds), round(start / block_seconds) + 1),
        )
        bend = _bend(rng, np.arange(last - first) * block_seconds, held)
        notes.append(PhraseNote(key, int(np.clip(rng.normal(loudness, 12), 20, 127)), first, last, wheel_steps(bend)))
    blocks = math.ceil(round(seconds * sample_rate) / BLOCK_SAMPLES)
    return Phrase(
        tuple(notes),
        tuple(rest for rest in rests if rest.end > rest.start < blocks),
        _expression(rng, np.arange(blocks) * block_seconds),
    )


def _rest(fade: float, start: float, end: float, block_seconds: float) -> Rest:
    return Rest(round(fade / block_seconds), round(start / block_seconds), round(end / block_seconds))


def _held(rng: np.random.Generator, key: int, bounds: tuple[int, int]) -> _Held:
    """How long, and which glides: the key stays down while the pitch moves on."""
    seconds, glides, pitch = _log_uniform(rng, 0.12, 1.2), list[_Glide](), key
    while rng.random() < _GLIDES:
        reachable = [
            step
            for step in _both_ways(_STEPS)
            if 0 < abs(step) <= _GLIDE_REACH
            and abs(pitch + step - key) <= _KEY_REACH
            and bounds[0] <= pitch + step <= bounds[1]
        ]
        if not reachable:
            break
        glides.append(_Glide(seconds, seconds + rng.uniform(0.1, 0.4), _step(rng, reachable)))
        pitch += glides[-1].semitones
        seconds = glides[-1].end + _log_uniform(rng, 0.08, 0.6)
    return _Held(seconds, tuple(glides), pitch)


def _joint(rng: np.random.Generator, held: _Held, *, repeated: bool) -> str:
    """How the key is joined to the next: a repeated note must be let go between, and staccato leaves no time to
    glide.
    """
    return _weighted(
        rng,
        {
            joint: weight
            for joint, weight in _JOINTS.items()
            if not ((joint == "legato" and repeated) or (joint == "staccato" and held.glides))
        },
    )


def _joined(rng: np.random.Generator, joint: str, start: float, seconds: float) -> tuple[float, float]:
    """When the key is let go, and when the next goes down (seconds in the phrase)."""
    if joint == "staccato":
        return start + rng.uniform(0.05, 0.1), start + rng.uniform(0.14, 0.3)
    end = start + seconds
    overlap = {"legato": rng.uniform(0.02, 0.06), "detached": -rng.uniform(0.02, 0.08), "rest": 0.0}[joint]
    return end + max(overlap, 0.0), end - min(overlap, 0.0)


def _bend(rng: np.random.Generator, times: np.ndarray, held: _Held) -> np.ndarray:
    """Semitones above the key at these seconds after the note-on."""
    bend = sum(
        (glide.semitones * _smooth(times, glide.start, glide.end) for glide in held.glides), np.zeros(len(times))
    )
    scooped, vibrated = rng.random() < _SCOOPS, rng.random() < _VIBRATOS
    if scooped and held.seconds > 0.2:
        bend -= rng.uniform(0.5, 2.0) * (1 - _smooth(times, 0.0, rng.uniform(0.06, 0.15)))
    if vibrated and held.seconds > 0.45:
        begins = rng.uniform(0.05, 0.25)
        depth = _log_uniform(rng, 0.1, 0.6) * _smooth(times, begins, begins + rng.uniform(0.15, 0.4))
        bend += depth * np.sin(2 * np.pi * rng.uniform(4, 7) * (times - begins))
    return bend


def _expression(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Control 11 at these seconds: full, or swelling and falling."""
    if rng.random() >= _SWELLS:
        return np.full(len(times), 127)
    softest, period, phase = rng.uniform(50, 100), rng.uniform(1.5, 5.0), rng.uniform(0, 2 * np.pi)
    return np.rint(127 - (127 - softest) * (0.5 + 0.5 * np.cos(2 * np.pi * times / period + phase))).astype(int)


def _smooth(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """From 0 at `start` to 1 at `end`, half a cosine."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((times - start) / (end - start), 0, 1))


def _both_ways(steps: Mapping[int, int]) -> list[int]:
    return sorted({sign * step for step in steps for sign in (-1, 1)})


def _step(rng: np.random.Generator, steps: list[int]) -> int:
    return _weighted(rng, {step: _STEPS[abs(step)] for step in steps})


def _weighted(rng: np.random.Generator, weights: Mapping[Choice, float]) -> Choice:
    choices = list(weights)
    return choices[int(rng.choice(len(choices), p=np.array(list(weights.values())) / sum(weights.values())))]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
