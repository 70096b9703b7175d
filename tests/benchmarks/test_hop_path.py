"""The count of files that a hop crosses: only what really runs, and each way out by itself."""

from __future__ import annotations

import numpy as np

from benchmarks.hop_path import WAYS, files_crossed
from realtime.instrument import Instrument

RATE = 44100


def test_each_way_out_is_followed_through_its_own_files() -> None:
    instrument = Instrument.load(provider="cpu")
    sound = (0.2 * np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    morph, resynth = (files_crossed(instrument, sound, RATE, WAYS[way]) for way in ("morph", "resynth"))
    assert {"realtime/session.py", "realtime/hop/model.py", "realtime/outputs/morph.py"} <= set(morph)
    assert not [path for path in morph if path.endswith(("resynth/resynth.py", "resynth/rebuild.py"))]  # it sleeps
    assert {*morph, "realtime/outputs/resynth/rebuild.py"} <= set(resynth)
    assert set(files_crossed(instrument, sound, RATE, {})) < set(morph)  # at rest no filter is made
