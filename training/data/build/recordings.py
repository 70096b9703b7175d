"""Any file libsndfile reads, at any rate and channel count, as mono at the data set's rate, with what is wrong with
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from training.data.decode.reader import DecodeError, SoundReader

LOWEST_RATE, HIGHEST_RATE = 1000, 768000  # Hz, of files that are believed
CLIPPED_RUN = 4  # so many samples in a row at full scale are clipping; fewer can be the crest of a normalised wave
DC_LIMIT = 0.005  # constant offset (full scale = 1) that is named and removed; it would pass for sound everywhere
CONSTANT = 2 * 10 ** (-80 / 20)  # a sound that moves less, from trough to crest, is none, whatever its offset
_DC_FRAME_SECONDS = 0.05
_FULL_SCALE = {"PCM_S8": 0.9921, "PCM_U8": 0.9921}  # the highest code of 8 bits is 127/128
_OTHER_FULL_SCALE = 0.99996


class RecordingError(Exception):
    """A file that gives no audio; the message is the reason, in a few words."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One file. `audio` : (samples,), float32, mean of the channels at `sample_rate`, full scale = 1, without its
    offset if that is large.
    """

    audio: np.ndarray
    sample_rate: int
    source_rate: int
    channels: int
    seconds: float  # of the file
    clipped: bool
    offset: bool  # beyond `DC_LIMIT`
    truncated: bool  # it says that it is longer
    header: str  # what is wrong in its header, "" if nothing


def read_recording(path: Path, sample_rate: int | None) -> Recording:
    """Read a file, block by block, whatever its size.

    sample_rate : None keeps the file's own

    Raises
    ------
    RecordingError
        If it cannot be opened, holds no samples or samples that are not numbers, or has a rate that no sound has.
    """
    try:
        with SoundReader(path) as reader:
            if not LOWEST_RATE <= reader.sample_rate <= HIGHEST_RATE:
                possible = f"{LOWEST_RATE} … {HIGHEST_RATE} Hz are possible"
                raise RecordingError(f"its header says {reader.sample_rate} Hz; {possible}")
            return _read(reader, sample_rate or reader.sample_rate)
    except OSError as error:
        raise RecordingError(error.strerror or "cannot be read") from None
    except MemoryError:
        raise RecordingError("it does not fit into memory") from None
    except DecodeError as error:
        raise RecordingError(str(error)) from None


def _read(reader: SoundReader, sample_rate: int) -> Recording:
    resampler = (
        soxr.ResampleStream(reader.sample_rate, sample_rate, 1, dtype="float32")
        if reader.sample_rate != sample_rate
        else None
    )
    limit = _FULL_SCALE.get(reader.subtype, _OTHER_FULL_SCALE)
    parts, frames, clipped = [], 0, False
    lowest, highest = np.full(reader.channels, np.inf), np.full(reader.channels, -np.inf)
    for block in reader.blocks():
        frames += len(block)
        clipped = clipped or _clips(block, limit)
        lowest, highest = np.minimum(lowest, block.min(axis=0)), np.maximum(highest, block.max(axis=0))
        mono = block.mean(axis=1)
        parts.append(resampler.resample_chunk(mono) if resampler else mono)
    if not frames:
        raise RecordingError("it holds no samples")
    if resampler:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    audio = np.concatenate(parts)
    if not np.isfinite(audio).all():
        raise RecordingError("it holds samples that are not numbers")
    if (highest - lowest).max() < CONSTANT:  # here, since the ends of a constant become clicks when it is resampled
        audio, offset = np.zeros_like(audio), float(lowest.mean())
    else:
        offset = _offset(audio, sample_rate)
        audio = audio - np.float32(offset)
    return Recording(
        audio=audio,
        sample_rate=sample_rate,
        source_rate=reader.sample_rate,
        channels=reader.channels,
        seconds=frames / reader.sample_rate,
        clipped=clipped,
        offset=offset != 0,
        truncated=bool(reader.cut_off),
        header="; ".join(reader.remarks),
    )


def _offset(audio: np.ndarray, sample_rate: int) -> float:
    """The constant in a recording, 0 where there is none worth removing. It is there in every frame; the mean of a
    lopsided wave is not.
    """
    size = min(len(audio), round(_DC_FRAME_SECONDS * sample_rate))
    if not size:
        return 0.0
    means = audio[: len(audio) // size * size].reshape(-1, size).mean(axis=1, dtype=np.float64)
    return float(np.median(means)) if np.abs(means).min() > DC_LIMIT else 0.0


def _clips(block: np.ndarray, limit: float) -> bool:
    """block : (frames, channels)"""
    full = np.abs(block) >= limit
    if len(full) < CLIPPED_RUN or not full.any():
        return False
    return bool(np.lib.stride_tricks.sliding_window_view(full, CLIPPED_RUN, axis=0).all(axis=-1).any())
