"""A tracker's answer against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.pitch.material import PitchedSound, hz

CLOSE_CENTS, OCTAVE_CENTS = 50.0, 600.0
LOUD_DB = 40.0  # a frame counts if its level comes so near the loudest
AFTER_ONSET_SECONDS = 0.025  # from then on frames count
AFTER_CHANGE_SECONDS = 0.15  # the note before has mostly died away by then
GLIDING_SEMITONES_PER_SECOND = 2.0
HOPS_RIGHT = 4  # an onset is found at the first of so many hops that are right
LOWEST_ONSET_HZ = 110.0


@dataclass(frozen=True, eq=False)
class Tracked:
    """One sound.

    cents : of the frames that count, signed;  gliding, settled : which of them glide, and lie well after a change
    onset_ms : of every onset from 110 Hz up, infinite where it is not found
    """

    cents: np.ndarray
    gliding: np.ndarray
    settled: np.ndarray
    onset_ms: np.ndarray


def compare(sound: PitchedSound, f0: np.ndarray, rate: int, hop: int) -> Tracked:
    """f0 : at the end of every hop."""
    ends = np.minimum((np.arange(len(f0)) + 1) * hop - 1, len(sound.audio) - 1)
    midi = sound.midi[ends]
    wanted = hz(np.nan_to_num(midi, nan=69.0))
    cents = 1200 * np.log2(np.maximum(f0, 1.0) / wanted)
    level = np.sqrt(np.convolve(np.square(sound.audio), np.ones(2 * hop) / (2 * hop))[ends])
    counts = np.isfinite(midi) & (level > level.max() * 10 ** (-LOUD_DB / 20)) & (wanted > 40) & (wanted < 2000)
    settled = np.ones(len(f0), bool)
    for change in sound.changes:
        after = (ends - change) / rate
        counts &= ~((after >= 0) & (after < AFTER_ONSET_SECONDS))
        settled &= ~((after >= 0) & (after < AFTER_CHANGE_SECONDS))
    speed = np.abs(np.gradient(np.nan_to_num(midi))) * rate / hop if len(midi) > 1 else np.zeros(len(midi))
    gliding = (speed > GLIDING_SEMITONES_PER_SECOND) & (speed < 100)
    onsets = [_delay(onset, cents, ends, wanted, rate) for onset in sound.onsets]
    found = np.array([delay for delay in onsets if delay is not None], float)
    return Tracked(cents[counts], gliding[counts], settled[counts], found)


def _delay(onset: int, cents: np.ndarray, ends: np.ndarray, wanted: np.ndarray, rate: int) -> float | None:
    """ms from an onset to the first hop that is right and stays so for some hops; None for low notes."""
    first = int(np.searchsorted(ends, onset))
    if first >= len(ends) or wanted[first] < LOWEST_ONSET_HZ:
        return None
    right = np.abs(cents[first : first + 60]) < CLOSE_CENTS
    for i in range(len(right) - HOPS_RIGHT + 1):
        if right[i : i + HOPS_RIGHT].all():
            return 1000 * (ends[first + i] + 1 - onset) / rate
    return float("inf")


def pooled(found: list[Tracked]) -> dict[str, float]:
    """The figures over all frames and onsets."""
    cents = np.concatenate([one.cents for one in found])
    gliding = np.concatenate([one.gliding for one in found])
    settled = np.concatenate([one.settled for one in found])
    onsets = np.concatenate([one.onset_ms for one in found])
    result = {"frames": float(len(cents)), **_of(cents)}
    if gliding.any():
        result["gliding_close"] = float((np.abs(cents[gliding]) < CLOSE_CENTS).mean())
    result["settled_close"] = float((np.abs(cents[settled]) < CLOSE_CENTS).mean())
    result["settled_octave"] = float((np.abs(cents[settled]) > OCTAVE_CENTS).mean())
    if len(onsets):
        result |= {"onsets": float(len(onsets)), "onset_in_25_ms": float((onsets <= 25).mean())}
        for name, share in (("onset_median_ms", 50), ("onset_75_ms", 75), ("onset_90_ms", 90)):
            result[name] = min(999.0, float(np.percentile(np.minimum(onsets, 999.0), share)))
    return result


def _of(cents: np.ndarray) -> dict[str, float]:
    off = np.abs(cents)
    return {
        "median_cents": float(np.median(off)),
        "close": float((off < CLOSE_CENTS).mean()),
        "octave": float((off > OCTAVE_CENTS).mean()),
    }
