"""Sound files: whatever libsndfile reads, whole or not at all; writing replaces the old file in one step."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from realtime.files.atomic_file import replace_file
from realtime.files.decode.reader import DecodeError, SoundReader

SUBTYPES = ("FLOAT", "PCM_24")  # preferred, where the format has them; else the format's own default
# Extensions that are not the format's name.
FORMATS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".wave": "WAV", ".snd": "AU"}
LARGEST_WAV_BYTES = 2**32 - 2**16
NEAR_FULL_SCALE = 0.99
CLIPPED_SAMPLES = 8  # within flat tops of three samples and more; fewer can be the crest of a low note


class AudioFileError(Exception):
    """A file that cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True)
class Audio:
    """A sound.

    samples : (frames, channels), float32, finite
    sample_rate : Hz
    warnings : one line each
    """

    samples: np.ndarray
    sample_rate: int
    warnings: tuple[str, ...] = ()


def read_audio(path: Path | str) -> Audio:
    """Read a whole file, to its real end; what is wrong with its header becomes a warning.

    Raises
    ------
    AudioFileError
        If it is missing, a folder, empty, truncated, not sound, or without a single sample.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioFileError(
            f"{path} is a folder; give a sound file" if path.is_dir() else f"there is no file {path}; check the name"
        )
    try:
        if path.stat().st_size == 0:
            raise AudioFileError(f"{path} is empty (0 bytes); record or export it again")
        with SoundReader(path) as reader:
            blocks = list(reader.blocks())
            samples = np.concatenate(blocks) if blocks else np.zeros((0, reader.channels), np.float32)
            rate, cut_off, remarks = reader.sample_rate, reader.cut_off, reader.remarks
    except OSError as error:
        raise AudioFileError(f"cannot read {path}: {error.strerror or error}") from None
    except DecodeError as error:
        raise AudioFileError(f"{path} is not a sound file that can be read ({error}); try WAV or FLAC") from None
    except MemoryError:
        raise AudioFileError(f"{path} does not fit into memory; cut it into shorter files") from None
    if cut_off:
        raise AudioFileError(f"{path} is cut off: it {cut_off}; copy or export it again")
    if not len(samples):
        raise AudioFileError(f"{path} holds no sound (0 samples); record or export it again")
    samples, warnings = _cleaned(path, samples)
    wrong = [f"{path}: {remark}; what is there was read to the end" for remark in remarks]
    return Audio(samples, rate, (*wrong, *warnings))


def write_audio(path: Path | str, samples: np.ndarray, sample_rate: int) -> tuple[str, ...]:
    """Write a file, its kind chosen by the extension: float where the format has it (never clips), else 24 bits.

    samples : (frames, channels) or (frames,)

    Returns
    -------
    tuple of str : warnings

    Raises
    ------
    AudioFileError
        If the extension is unknown, the format cannot hold this sound, or the disk refuses. An old file then stays."""
    path = Path(path)
    kind, subtype = output_format(path)
    if kind == "WAV" and samples.size * 4 > LARGEST_WAV_BYTES:
        kind = "RF64"
    memory = io.BytesIO()  # encoded here first, so that only plain writing can fail on the disk, with a reason
    try:
        soundfile.write(memory, samples, sample_rate, format=kind, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError) as error:
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
        raise AudioFileError(
            f"{kind} cannot hold {channels} channels at {sample_rate} Hz ({reason.strip(' .')}); write {path.stem}.wav"
        ) from None
    _replace(path, memory.getbuffer())
    clipped = 0 if subtype == "FLOAT" else int(np.count_nonzero(np.abs(samples) > 1))
    return (
        (f"{path}: {clipped} samples beyond full scale were cut off; lower gain_db, or write {path.stem}.wav",)
        if clipped
        else ()
    )


def output_format(path: Path) -> tuple[str, str]:
    """libsndfile's format and subtype for a file name; also tells early that a file cannot be written."""
    extension = path.suffix.lower()
    kind = FORMATS.get(extension, extension[1:].upper())
    if kind not in soundfile.available_formats() or kind == "RAW":
        raise AudioFileError(f"cannot tell what kind of file {path.name!r} should be; end it with .wav or .flac")
    subtype = (
        "OPUS"
        if extension == ".opus"
        else next((name for name in SUBTYPES if soundfile.check_format(kind, name)), None)
    )
    return kind, subtype or soundfile.default_subtype(kind)


def _cleaned(path: Path, samples: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    warnings = []
    bad = ~np.isfinite(samples)
    if bad.any():
        samples = np.where(bad, np.float32(0), samples)
        warnings.append(
            f"{path}: {int(bad.sum())} of {samples.size} samples are not numbers (NaN or infinite); they became silence"
        )
    loud = np.abs(samples)
    flat = loud >= float(loud.max()) - 2.0**-15
    cut_off = int((flat[2:] & flat[1:-1] & flat[:-2]).sum()) if loud.max() >= NEAR_FULL_SCALE else 0
    if cut_off >= CLIPPED_SAMPLES:
        warnings.append(
            f"{path}: clipped, at least {cut_off} samples were cut off at full scale; record at a lower level"
        )
    return samples, tuple(warnings)


def _replace(path: Path, content: memoryview) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise AudioFileError(f"cannot write {path}: {error.strerror or error}") from None
