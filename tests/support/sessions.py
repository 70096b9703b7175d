"""Sessions for tests: made, played in blocks of any size, and compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soxr

from realtime.bundle import Bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions
from tests.support.miniatures import CELLO, CLARINET, notes
from training.data.manifest import read_dataset
from training.data.store import SoundStore

EDIT = {"timbre[0]": 2.0, "timbre[2]": -2.5, "preset": 1, "preset_amount": 0.5}
ON_CPU = SessionOptions(provider="cpu")
HOP = 64  # of the bundle that `make_bundle` makes


def cello_and_clarinet() -> np.ndarray:
    """(samples, 1), 1.6 s at 44.1 kHz."""
    return 0.5 * np.concatenate([*notes(CELLO, (50,)), *notes(CLARINET, (65,))]).astype(np.float32)[:, None]


def stereo_phrase(tiny_data: Path) -> np.ndarray:
    """(samples, 2), 44.1 kHz: silence, then a cello and a trumpet note left, a flute and a piano note right."""
    dataset = read_dataset(tiny_data)
    store = SoundStore(dataset)
    sounds = {
        program: store.read(int(np.flatnonzero(dataset.program == program)[5]), 0, 22050) for program in (42, 56, 73, 0)
    }
    gap = np.zeros(3000, np.float32)
    return 0.5 * np.stack([np.concatenate([gap, sounds[a], gap, sounds[b]]) for a, b in ((42, 56), (73, 0))], axis=1)


def at_rate(phrase: np.ndarray, rate: int, channels: int) -> np.ndarray:
    """A stereo phrase at 44.1 kHz as 1, 2 or 3 channels at another rate."""
    sound = phrase if rate == 44100 else soxr.resample(phrase, 44100, rate).astype(np.float32)
    return np.ascontiguousarray(
        sound[:, :channels] if channels <= 2 else np.concatenate([sound, -0.3 * sound[:, :1]], axis=1)
    )


def bank_of(bundle: Bundle, knobs: dict[str, float]) -> KnobBank:
    bank = KnobBank(bundle.manifest)
    for name, value in knobs.items():
        bank.set(name, value)
    return bank


def session_of(
    bundle: Bundle,
    knobs: dict[str, float],
    *,
    channels: int = 1,
    rate: float = 44100,
    published: np.ndarray | None = None,
    options: SessionOptions = ON_CPU,
) -> Session:
    bank = bank_of(bundle, knobs)
    return Session(bundle, bank, channels=channels, sample_rate=rate, options=options, published=published)


def play(
    session: Session, sound: np.ndarray, sizes: Sequence[int] = (512,), at: dict[int, Callable[[], None]] | None = None
) -> np.ndarray:
    """In blocks of these sizes in turn, cut where `at` has something to do."""
    out, start, due = np.empty_like(sound), 0, dict(at or {})
    for size in itertools.cycle(sizes):
        if start in due:
            due.pop(start)()
        end = min([len(sound), start + size, *(sample for sample in due if sample > start)])
        session.process_block(sound[start:end], out[start:end])
        start = end
        if start >= len(sound):
            return out
    return out


def turn(session: Session, knobs: dict[str, float]) -> Callable[[], None]:
    def change() -> None:
        for name, value in knobs.items():
            session.knobs.set(name, value)

    return change


def difference_db(a: np.ndarray, b: np.ndarray) -> float:
    return 20 * np.log10(np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(b**2)) + 1e-20)
