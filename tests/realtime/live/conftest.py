"""What the tests on a real JACK server share: a bundle, a melody, and the server with its two devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.jack.rig import RATE, JackRig, jack_rig
from benchmarks.jack.server import environment
from tests.support.bundles import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("processes") / "small.bundle")


@pytest.fixture(scope="module")
def melody() -> np.ndarray:
    """Two seconds of harmonic tones, never silent, (samples,)."""
    t = np.arange(2 * RATE) / RATE
    notes = np.repeat([220.0, 277.2, 329.6, 440.0], RATE // 2)
    return (
        0.1 * sum(np.sin(2 * np.pi * k * np.cumsum(notes) / RATE) / k for k in range(1, 8)) + 0.001 * np.cos(t)
    ).astype(np.float32)


@pytest.fixture(scope="module")
def jack(tmp_path_factory: pytest.TempPathFactory, melody: np.ndarray) -> Iterator[JackRig]:
    for name, value in environment().items():  # PortAudio in the processes that are started here
        os.environ[name] = value
    with jack_rig(tmp_path_factory.mktemp("rig"), melody) as rig:
        yield rig


@pytest.fixture
def rig(jack: JackRig) -> JackRig:
    jack.ensure()
    jack.clients.play()
    return jack
