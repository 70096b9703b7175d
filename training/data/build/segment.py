"""Where the sounds of a recording begin and end."""

from __future__ import annotations

import numpy as np

from training.data.build.shard import ONSET_DB, SILENT_DBFS
from training.decibels import amplitude_of

FRAME_SECONDS = 0.01
SILENCE_DB = -60.0  # below the loudest frame of the recording is silence …
# … or, where the number of sounds is known, below one of these
OTHER_SILENCE_DB = (-70.0, -65.0, -55.0, -50.0, -45.0, -40.0)
GAP_SECONDS = 0.1  # shorter gaps belong to the sound; the period of the lowest note is 36 ms
SHORTEST_SECONDS = 0.02
BLIP_DB = -40.0  # stretches so far below the median of all are noises: a key, a chair
RISE = 2.0  # a stretch that does not rise to this times the limit is the flicker of a tail or of noise
FLOOR_MARGIN = 2.5  # a noise floor's crests stay below this times its quiet frames
FLOOR_DB = -30.0  # what is not this far below the peak is no noise floor but a sound that does not decay
_SHORTEST_PIECE = 0.25  # s; a last piece shorter than this is dropped

Stretch = tuple[int, int]


def frame_peaks(audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """The largest magnitude in each frame of 10 ms, (frames,), and the samples of a frame."""
    size = max(1, round(FRAME_SECONDS * sample_rate))
    whole = len(audio) // size * size
    peaks = np.abs(audio[:whole]).reshape(-1, size).max(axis=1)
    rest = np.abs(audio[whole:])
    return (np.append(peaks, rest.max()) if len(rest) else peaks), size


def threshold(peaks: np.ndarray, relative_db: float) -> float:
    """Magnitude that tells sound from silence: above the noise floor, `relative_db` of the peak, and `SILENT_DBFS`."""
    if not len(peaks):
        return amplitude_of(SILENT_DBFS)
    peak, floor = float(peaks.max()), float(np.percentile(peaks, 5))
    noise = FLOOR_MARGIN * floor if floor < peak * amplitude_of(FLOOR_DB) else 0.0
    return max(peak * amplitude_of(relative_db), noise, amplitude_of(SILENT_DBFS))


def from_onset(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The recording of one sound from its onset on: the first sample within 50 dB of the peak and above the noise
    floor.
    """
    peaks, _ = frame_peaks(audio, sample_rate)
    above = np.abs(audio) >= threshold(peaks, ONSET_DB)
    return audio[int(np.argmax(above)) :] if above.any() else audio[:0]


def find_sounds(audio: np.ndarray, sample_rate: int, silence_db: float = SILENCE_DB) -> list[Stretch]:
    """Stretches of samples between silences, each from its onset on, in order."""
    peaks, size = frame_peaks(audio, sample_rate)
    limit = threshold(peaks, silence_db)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], peaks >= limit, [False]]).astype(np.int8)))
    stretches: list[Stretch] = []
    for first, last in edges.reshape(-1, 2).tolist():
        if stretches and first - stretches[-1][1] < GAP_SECONDS / FRAME_SECONDS:
            stretches[-1] = stretches[-1][0], last
        else:
            stretches.append((first, last))
    long_enough = [(first, last) for first, last in stretches if last - first >= SHORTEST_SECONDS / FRAME_SECONDS]
    heights = np.array([peaks[first:last].max() for first, last in long_enough])
    kept = heights >= max(RISE * limit, np.median(heights) * amplitude_of(BLIP_DB)) if len(heights) else heights
    found = []
    for (first, last), keep in zip(long_enough, kept, strict=True):
        if keep:
            start, end = first * size, min(last * size, len(audio))
            onset = max(limit, float(peaks[first:last].max()) * amplitude_of(ONSET_DB))
            found.append((start + int(np.argmax(np.abs(audio[start:end]) >= onset)), end))
    return found


def find_this_many(audio: np.ndarray, sample_rate: int, count: int) -> list[Stretch]:
    """`find_sounds` with the first idea of silence that gives `count` sounds, else with the usual one."""
    usual = find_sounds(audio, sample_rate)
    if len(usual) == count:
        return usual
    others = (find_sounds(audio, sample_rate, silence_db) for silence_db in OTHER_SILENCE_DB)
    return next((found for found in others if len(found) == count), usual)


def pieces(audio: np.ndarray, sample_rate: int, stretch: Stretch, samples: int) -> list[Stretch]:
    """A stretch without silence, cut into consecutive pieces of at most `samples`, at note onsets where there are any.

    The cut is the last onset in the second half of what a piece may hold, else its end. A short rest at the end is
    dropped.
    """
    start, end = stretch
    if end - start <= samples:
        return [stretch]
    onsets = start + _onsets(audio[start:end], sample_rate)
    cuts = []
    while end - start > samples:
        inside = onsets[(onsets > start + samples // 2) & (onsets <= start + samples)]
        cut = int(inside[-1]) if len(inside) else start + samples
        cuts.append((start, cut))
        start = cut
    return [*cuts, (start, end)] if end - start >= min(_SHORTEST_PIECE * sample_rate, samples / 2) else cuts


def _onsets(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    import librosa  # here, because it takes seconds to import and most files need it not

    found = librosa.onset.onset_detect(y=audio, sr=sample_rate, hop_length=256, units="samples", backtrack=True)
    return np.asarray(found, dtype=np.int64)
