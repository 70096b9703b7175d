"""Training hears the pitch that the runtime hears."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.dsp.f0 import F0Tracker
from tests.support.miniatures import CELLO, CLARINET, PIANO, notes
from training.dsp.f0 import FIRST_HZ, track_pitch

HOP = 256


def of_runtime(sound: np.ndarray, rate: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    tracker, found = F0Tracker(rate, hop), []
    for start in range(0, len(sound) - hop + 1, hop):
        tracker.push(sound[None, start : start + hop].astype(np.float64))
        found.append((tracker.f0_hz or FIRST_HZ, tracker.confidence))
    f0, confidence = np.array(found).T
    return f0, confidence


@pytest.mark.parametrize(("rate", "hop"), [(44100, 256), (22050, 128), (44100, 4096)])
def test_the_same_pitch_and_confidence(rate: int, hop: int) -> None:
    """Notes one after the other, silence, noise, two at once."""
    rng = np.random.default_rng(0)
    cello, clarinet, piano = (notes(program, (key,))[0] for program, key in ((CELLO, 43), (CLARINET, 70), (PIANO, 36)))
    both = np.zeros(max(len(cello), len(piano)))
    both[: len(cello)] += cello
    both[: len(piano)] += piano
    sound = np.concatenate([cello, np.zeros(3000), 0.1 * rng.standard_normal(9000), clarinet, piano, both]).astype(
        np.float32
    )
    f0, confidence = of_runtime(sound, rate, hop)
    track = track_pitch(sound, rate, hop)
    same = np.abs(1200 * np.log2(track.f0_hz / f0)) < 1
    assert same.mean() > 0.99
    assert np.quantile(np.abs(track.confidence - confidence), 0.99) < 0.02
    assert (confidence > 0.8).mean() > 0.3


def test_nothing_to_hear() -> None:
    assert len(track_pitch(np.zeros(255, np.float32), 44100, HOP).f0_hz) == 0
    track = track_pitch(np.zeros(4 * HOP, np.float32), 44100, HOP)
    assert (track.f0_hz == FIRST_HZ).all()
    assert not track.confidence.any()
