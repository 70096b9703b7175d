"""Fixtures shared by the tests. What trains is imported where it is used, since many tests need no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run, so that a change is judged by what it changes. For others: HYPOTHESIS_PROFILE=default
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A shell that runs the tests in the background has them ignore Ctrl-C, and the programs they start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before librosa is imported: numba's cache breaks (up to a segmentation fault) when several processes fill it at once.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / f"numba-{WORKER}")

TINY_PROGRAMS = {
    0: "piano",
    12: "marimba",
    24: "nylon guitar",
    40: "violin",
    42: "cello",
    56: "trumpet",
    71: "clarinet",
    73: "flute",
}
TINY_NOTES = range(60, 79, 2)  # C4 … F♯5, which all eight play

# Files with minutes of work start first (in this order), so that no worker is left alone with one in the end.
LONG_FILES = (
    "benchmarks/test_papers.py",
    "export/test_causal.py",
    "training/test_mixture.py",
    "training/evaluation/test_metric_evaluation.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files change places; the order within a file stays."""
    root = Path(__file__).parent
    ranks = {root / name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def soundfont() -> Path:
    """The small SoundFont that ships inside pretty_midi: real sampled instruments."""
    from training.data.build.fluid import embedded_soundfont

    path = embedded_soundfont()
    assert path is not None, "pretty_midi is installed for the tests, its SoundFont must be there"
    return path


@pytest.fixture(scope="session")
def tiny_data(soundfont: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of real notes: eight instruments × ten notes × two velocities, 2 s, 44.1 kHz. Do not write into it."""
    from training.data.soundfont import main

    out = tmp_path_factory.mktemp("tiny") / "data"
    lists = {"programs": TINY_PROGRAMS, "notes": TINY_NOTES, "velocities": (60, 110)}
    options = [word for name, numbers in lists.items() for word in (f"--{name}", ",".join(map(str, numbers)))]
    assert main(["--soundfont", str(soundfont), "--out", str(out), "--no-percussion", *options]) == 0
    return out


@pytest.fixture(scope="session")
def phrase(tiny_data: Path) -> np.ndarray:
    """The attacks of eight notes of eight sampled instruments, 1.6 s at 44.1 kHz; looped, it is never silent."""
    from training.data.manifest import read_dataset
    from training.data.store import SoundStore

    dataset = read_dataset(tiny_data)
    store = SoundStore(dataset)
    rows = [int(np.flatnonzero(dataset.program == program)[0]) for program in np.unique(dataset.program)]
    return np.concatenate([store.read(row, 0, 44100 // 5) for row in rows]).astype(np.float32)


@pytest.fixture(scope="session")
def smoke_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a training run of the smoke recipe on `tiny_data`."""
    from training.train import recipe

    root = tmp_path_factory.mktemp("smoke")
    arguments = [
        "fit",
        f"--config={recipe('smoke')}",
        f"--data.directory={tiny_data}",
        f"--trainer.default_root_dir={root}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "training.train", *arguments], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def smoke_checkpoint(smoke_run: Path) -> Path:
    """Its best checkpoint."""
    return smoke_run / "lightning_logs/version_0/checkpoints/best.pt"
