"""Real sounds to refit, verify and measure on: the checkpoint's data set, a folder the user names, or the small set
that ships.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from training.checkpoint import Checkpoint
from training.data.build.recordings import RecordingError, read_recording
from training.data.listing import list_files
from training.data.manifest import DataError, read_dataset
from training.data.store import SoundStore

SHIPPED = Path(__file__).with_name("calibration.ogg")
NOTE_SECONDS = 1.0  # the shipped set is a row of notes of this length
MOST_BYTES = 1.2e9
MOST_HELD_OUT = 150
LEAST = 4  # sounds to fit on


@dataclass(frozen=True)
class Calibration:
    """Sounds to fit on and sounds held out, (sounds, samples), float32, at the model's rate
    source : where they came from.
    """

    fit: Tensor
    held_out: Tensor
    source: str


def calibration_sounds(
    checkpoint: Checkpoint, folder: Path | None, *, seconds: float = 1.5, limit: int = 600
) -> Calibration:
    """The sounds to use: those named, else the checkpoint's data set, else the shipped notes.

    seconds : of each sound (the shipped notes last one second);  limit : sounds, at most what `MOST_BYTES` hold

    Raises
    ------
    DataError
        If the named folder holds no sound, or a data set at another rate.
    """
    rate = checkpoint.features.sample_rate
    limit = min(limit, int(MOST_BYTES / (4 * rate * seconds)))
    if folder is None and checkpoint.data is not None:
        return _from_dataset(checkpoint.data, rate, checkpoint.selection, seconds, limit)
    if folder is None:
        return _interleaved(
            _pieces([_read(SHIPPED, rate)], round(NOTE_SECONDS * rate), limit, SHIPPED), "the shipped calibration notes"
        )
    if (folder / "dataset.json").is_file():
        return _from_dataset(folder, rate, {}, seconds, limit)
    files = [folder / name for name in list_files(folder).audio] if folder.is_dir() else [folder]
    return _interleaved(
        _pieces((_read(path, rate) for path in files), round(seconds * rate), limit, folder), str(folder)
    )


def _interleaved(audio: Tensor, source: str) -> Calibration:
    """Three quarters to fit on, every fourth held out."""
    held_out = torch.arange(len(audio)) % 4 == 3
    return Calibration(audio[~held_out], audio[held_out], source)


def _from_dataset(folder: Path, rate: int, selection: dict[str, Any], seconds: float, limit: int) -> Calibration:
    """Fit on training sounds, hold out validation sounds."""
    everything = read_dataset(folder)
    if everything.sample_rate != rate:
        raise DataError(
            f"{folder} is at {everything.sample_rate} Hz, the model at {rate} Hz; name other sounds with --calibration"
        )
    parts = []
    few = min(limit // 4, MOST_HELD_OUT)
    for split, count, least in (("train", limit - few, LEAST), ("validation", few, 1)):
        sounds = everything.select(split=split, **selection)
        sounds = sounds.take(np.random.default_rng(0).permutation(len(sounds))[:count])
        store, samples = SoundStore(sounds), round(seconds * rate)
        pieces = (store.read(row, 0, samples) for row in range(len(sounds)))
        parts.append(_pieces(pieces, samples, count, folder, least))
    fit, held_out = parts
    return Calibration(fit, held_out, str(folder))


def _read(path: Path, rate: int) -> np.ndarray:
    try:
        recording = read_recording(path, None)
    except RecordingError as error:
        raise DataError(
            f"{path} is not a readable sound ({error}); name a folder of recordings with --calibration"
        ) from None
    if recording.sample_rate == rate:
        return recording.audio
    return soxr.resample(recording.audio, recording.sample_rate, rate)


def _pieces(sounds: Iterable[np.ndarray], samples: int, limit: int, source: Path, least: int = LEAST) -> Tensor:
    """Sounds cut into pieces of one length; the last piece of each is padded unless it is nearly nothing."""
    pieces: list[np.ndarray] = []
    for sound in sounds:
        for start in range(0, len(sound), samples):
            piece = sound[start : start + samples]
            if len(piece) >= samples // 4 and np.abs(piece).max() > 1e-4:
                pieces.append(np.pad(piece, (0, samples - len(piece))))
        if len(pieces) >= limit:
            break
    if len(pieces) < least:
        raise DataError(
            f"{source} holds {len(pieces)} usable sounds, calibration needs at least {least}; name more with "
            "--calibration"
        )
    return torch.from_numpy(np.stack(pieces[:limit]).astype(np.float32))
