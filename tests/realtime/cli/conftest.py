"""What the tests of the command line share: a bundle, a sound and a MIDI file."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from tests.support.bundles import make_bundle
from training.data.manifest import read_dataset
from training.data.store import SoundStore

RATE = 44100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("cli") / "small.bundle")


@pytest.fixture(scope="module")
def sound(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cello note, 1 s, mono."""
    dataset = read_dataset(tiny_data)
    row = int(np.flatnonzero(dataset.program == 42)[3])
    path = tmp_path_factory.mktemp("sound") / "cello.wav"
    soundfile.write(path, SoundStore(dataset).read(row, 0, RATE), RATE, subtype="FLOAT")
    return path


@pytest.fixture
def midi(tmp_path: Path) -> Path:
    """Half a second of nothing, then the first timbre knob up and the first preset."""
    path = tmp_path / "turns.mid"
    file = mido.MidiFile()
    changes = [
        mido.Message("control_change", control=20, value=127, time=480),
        mido.Message("program_change", program=1),
    ]
    file.tracks.append(mido.MidiTrack(changes))
    file.save(path)
    return path
