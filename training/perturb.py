"""The timbre distortion of g(X): two of nine pedalboard effects with random settings (Tanaka 2022, section IV-A).

The pitch shift of f(X) is `training.features.shift_pitch`; both are for training only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pedalboard

Rng = np.random.Generator


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# The paper names the effects, not their settings: these ranges run from barely audible to strong.
EFFECTS: dict[str, Callable[[Rng], pedalboard.Plugin]] = {
    "chorus": lambda rng: pedalboard.Chorus(
        rate_hz=_log_uniform(rng, 0.2, 4), depth=rng.uniform(0.1, 0.6), mix=rng.uniform(0.3, 0.7)
    ),
    "distortion": lambda rng: pedalboard.Distortion(drive_db=rng.uniform(5, 30)),
    "phaser": lambda rng: pedalboard.Phaser(
        rate_hz=_log_uniform(rng, 0.2, 4), depth=rng.uniform(0.2, 0.9), centre_frequency_hz=_log_uniform(rng, 400, 4000)
    ),
    "ladder": lambda rng: pedalboard.LadderFilter(
        mode=pedalboard.LadderFilter.Mode.LPF12,
        cutoff_hz=_log_uniform(rng, 300, 8000),
        resonance=rng.uniform(0, 0.7),
        drive=rng.uniform(1, 4),
    ),
    "highpass": lambda rng: pedalboard.HighpassFilter(cutoff_frequency_hz=_log_uniform(rng, 100, 3000)),
    "lowpass": lambda rng: pedalboard.LowpassFilter(cutoff_frequency_hz=_log_uniform(rng, 500, 8000)),
    "reverb": lambda rng: pedalboard.Reverb(room_size=rng.uniform(0.1, 0.9), wet_level=rng.uniform(0.1, 0.5)),
    "gsm": lambda rng: pedalboard.GSMFullRateCompressor(),
    "bitcrush": lambda rng: pedalboard.Bitcrush(bit_depth=rng.uniform(4, 10)),
}


def distort_timbre(audio: np.ndarray, sample_rate: int, rng: Rng) -> np.ndarray:
    """Two different effects, in random order.  audio : (samples,), float32; returns the same shape."""
    chosen = rng.choice(list(EFFECTS), size=2, replace=False)
    board = pedalboard.Pedalboard([EFFECTS[name](rng) for name in chosen])
    out = board(audio, sample_rate)
    return np.nan_to_num(out, copy=False)
