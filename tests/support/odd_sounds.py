"""Sound files whose headers are wrong, or say nothing, in the ways that programs are known to leave them."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

RATE = 22050


def sound(seconds: float = 2.0) -> np.ndarray:
    """(samples,), float32: a tone, then noise, so that an encoder of variable rate varies."""
    half = round(seconds * RATE / 2)
    tone = 0.3 * np.sin(2 * np.pi * 441 * np.arange(half) / RATE)
    noise = 0.15 * np.random.default_rng(0).standard_normal(half)
    return np.concatenate([tone, noise]).astype(np.float32)


def encoded(
    samples: np.ndarray, kind: str, subtype: str | None = None, endian: str = "FILE", rate: int = RATE
) -> bytes:
    memory = io.BytesIO()
    soundfile.write(memory, samples, rate, format=kind, subtype=subtype, endian=endian)
    return memory.getvalue()


def decoded(content: bytes) -> np.ndarray:
    """What libsndfile makes of a good file."""
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]


def with_sizes(content: bytes, whole: int | None = None, sound_bytes: int | None = None) -> bytes:
    """A WAV or AIFF file whose header declares other sizes; None leaves one as it is."""
    big = content[:4] in (b"FORM", b"RIFX")
    order, changed = ">" if big else "<", bytearray(content)
    place = content.index(b"SSND" if content[:4] == b"FORM" else b"data") + 4
    for offset, value in ((4, whole), (place, sound_bytes)):
        if value is not None:
            changed[offset : offset + 4] = struct.pack(order + "I", value)
    return bytes(changed)


def sound_bytes(content: bytes) -> int:
    """What the header of a WAV or AIFF file declares."""
    place = content.index(b"SSND" if content[:4] == b"FORM" else b"data") + 4
    return int.from_bytes(content[place : place + 4], "big" if content[:4] in (b"FORM", b"RIFX") else "little")


def notes_chunk(content: bytes) -> bytes:
    """A chunk of remarks, for behind the sound."""
    name = b"ANNO" if content[:4] == b"FORM" else b"LIST"
    order = ">" if content[:4] in (b"FORM", b"RIFX") else "<"
    return struct.pack(order + "4sI", name, 10) + b"INFOabcdef"


def mp3(samples: np.ndarray, mode: str = "VARIABLE", rate: int = RATE) -> bytes:
    """mode : "CONSTANT", "AVERAGE" or "VARIABLE" bits per second"""
    memory = io.BytesIO()
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": mode, "compression_level": 0.5}
    with soundfile.SoundFile(memory, "w", rate, 1, **options) as file:
        file.write(samples)
    return memory.getvalue()


def without_tag(content: bytes) -> bytes:
    """An MP3 file without the frame that counts the others, as streams are."""
    return content[content.index(content[:2], 4) :]


def with_frame_count(content: bytes, frames: int) -> bytes:
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    return content[:place] + struct.pack(">I", frames) + content[place + 4 :]


def frame_count(content: bytes) -> int:
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    return int.from_bytes(content[place : place + 4], "big")


def with_flac_total(content: bytes, total: int) -> bytes:
    field = int.from_bytes(content[21:26], "big") >> 36 << 36 | total
    return content[:21] + field.to_bytes(5, "big") + content[26:]
