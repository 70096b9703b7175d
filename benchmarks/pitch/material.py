"""Sounds whose pitch is known: held-out notes, the same bent and joined to phrases of one voice, rendered phrases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.manifest import DataError, SoundSet, read_dataset
from training.data.store import PITCH_STEP_SAMPLES, SoundStore

FAMILIES = ("piano", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe")
# Guitar harmonics sound an octave above the key; timpani and orchestra hits have no single pitch.
LEFT_OUT = ("Guitar Harmonics", "Timpani", "Orchestra Hit")
LOWEST_NOTE, HIGHEST_NOTE = 28, 95  # within 40 … 2000 Hz
NOTE_SECONDS = 2.0
LEAD_SECONDS = 0.05  # silence before every sound
JOIN_SECONDS = 0.005
REST_SECONDS = 0.15
PHRASE_NOTES = 4


@dataclass(frozen=True, eq=False)
class PitchedSound:
    """A sound and its pitch.

    audio : (samples,), float64;  midi : (samples,), the true pitch, NaN where nothing sounds
    name : of the instrument
    onsets : samples at which a note begins out of silence
    changes : samples at which another note begins, out of silence or not
    """

    audio: np.ndarray
    midi: np.ndarray
    name: str
    onsets: tuple[int, ...]
    changes: tuple[int, ...]


def hz(midi: np.ndarray) -> np.ndarray:
    return 440 * 2 ** ((midi - 69) / 12)


def _chosen(directory: Path, split: str | None) -> SoundSet:
    sounds = read_dataset(directory)
    keep = np.isin(sounds.family, FAMILIES) & ~np.isin(sounds.instrument, LEFT_OUT)
    if split:
        keep &= sounds.split == split
    playable = (sounds.pitch >= LOWEST_NOTE) & (sounds.pitch <= HIGHEST_NOTE)
    chosen = sounds.take(keep & (~np.isfinite(sounds.pitch) | playable))
    if not len(chosen):
        raise DataError(
            f"{directory} has no {split or ''} sounds of {', '.join(FAMILIES)}; render some of these families"
        )
    return chosen


def read_notes(directory: Path, count: int, seed: int, split: str | None = "test") -> list[PitchedSound]:
    """Random notes, each after a short silence."""
    sounds = _chosen(directory, split)
    sounds = sounds.take(np.isfinite(sounds.pitch))
    store, rate = SoundStore(sounds), sounds.sample_rate
    lead, found = round(LEAD_SECONDS * rate), []
    for row in np.random.default_rng(seed).permutation(len(sounds))[:count]:
        audio = store.read(int(row), 0, round(NOTE_SECONDS * rate)).astype(float)
        onset = lead + _beginning(audio)
        midi = np.full(lead + len(audio), float(sounds.pitch[row]))
        midi[:onset] = np.nan
        sound = np.concatenate([np.zeros(lead), audio])
        found.append(PitchedSound(sound, midi, str(sounds.instrument[row]), (onset,), (onset,)))
    return found


def one_voice(notes: list[PitchedSound], count: int, sample_rate: int, seed: int) -> list[PitchedSound]:
    """Phrases of `PHRASE_NOTES` notes of one instrument each, bent by resampling: steady, with vibrato, or gliding.

    They are joined within 5 ms, or with a rest between. One voice sounds at a time, so its pitch is exactly known.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        note = notes[int(rng.integers(len(notes)))]
        pieces, tracks, changes, onsets, at = [], [], [], [], 0
        for position in range(PHRASE_NOTES):
            audio, midi = _bent(note, rng, sample_rate)
            changes.append(at)
            if position == 0 or rng.random() < 0.4:
                rest = round(REST_SECONDS * sample_rate)
                pieces.append(np.zeros(rest))
                tracks.append(np.full(rest, np.nan))
                at += rest
                changes[-1] = at
                onsets.append(at)
            pieces.append(audio)
            tracks.append(midi)
            at += len(audio)
        audio, midi = np.concatenate(pieces), np.concatenate(tracks)
        found.append(PitchedSound(audio, midi, note.name, tuple(onsets), tuple(changes)))
    return found


def _bent(note: PitchedSound, rng: np.random.Generator, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """One note read at a speed that changes, with faded ends; its pitch in every sample."""
    samples = round(float(rng.uniform(0.3, 0.6)) * sample_rate)
    seconds, base = np.arange(samples) / sample_rate, float(rng.uniform(-4, 4))
    kind = int(rng.integers(3))
    semitones = np.full(samples, base)
    if kind == 1:
        semitones += float(rng.uniform(0.2, 0.6)) * np.sin(2 * np.pi * float(rng.uniform(4, 7)) * seconds)
    elif kind == 2:
        semitones += float(rng.uniform(-7, 7)) * np.clip(seconds / seconds[-1] * 1.5 - 0.25, 0, 1)
    begin = note.onsets[0]
    place = begin + np.concatenate([[0.0], np.cumsum(2 ** (semitones[:-1] / 12))])
    samples = int(np.searchsorted(place, len(note.audio) - 1))
    place, semitones = place[:samples], semitones[:samples]
    audio = np.interp(place, np.arange(len(note.audio)), note.audio)
    fade = min(round(JOIN_SECONDS * sample_rate), samples // 2)
    audio[:fade] *= np.linspace(0, 1, fade)
    audio[samples - fade :] *= np.linspace(1, 0, fade)
    return audio, note.midi[begin] + semitones


def read_phrases(directory: Path, count: int, seed: int, split: str | None = "test") -> list[PitchedSound]:
    """Rendered phrases with the pitch of their newest note; the note before may ring on."""
    sounds = _chosen(directory, split)
    store, found = SoundStore(sounds), []
    for row in np.random.default_rng(seed).permutation(len(sounds))[:count]:
        track = store.pitch_track(int(row))
        if track is None:
            raise DataError(f"{directory} has no pitch tracks; make it with: python -m training.data.sequences")
        audio = store.read(int(row), 0, int(sounds.length[row])).astype(float)
        midi = np.repeat(track, PITCH_STEP_SAMPLES)[: len(audio)].astype(float)
        jumps = np.abs(np.diff(np.nan_to_num(midi, nan=-99.0), prepend=-99.0)) > 0.7
        found.append(PitchedSound(audio, midi, str(sounds.instrument[row]), (), tuple(np.flatnonzero(jumps).tolist())))
    return found


def _beginning(audio: np.ndarray) -> int:
    """The first sample within 30 dB of the peak."""
    return int(np.argmax(np.abs(audio) >= np.abs(audio).max() * 10**-1.5))


def unpitched(directory: Path | None, sample_rate: int, count: int, seed: int) -> dict[str, list[np.ndarray]]:
    """White and pink noise, clicks, and percussion if the data set has some."""
    rng, samples = np.random.default_rng(seed), round(1.0 * sample_rate)
    white = [0.1 * rng.standard_normal(samples) for _ in range(4)]
    slope = 1 / np.sqrt(np.maximum(1, np.arange(samples // 2 + 1)))
    pink = [np.fft.irfft(np.fft.rfft(one) * slope, samples) for one in white]
    clicks = []
    for _ in range(4):
        one = np.zeros(samples)
        one[:: round(0.07 * sample_rate)] = rng.uniform(0.1, 0.9)
        clicks.append(one)
    found = {"white noise": white, "pink noise": [10 * one for one in pink], "clicks": clicks}
    if directory is not None:
        sounds = read_dataset(directory)
        drums = sounds.take(sounds.program == 128)
        store = SoundStore(drums)
        rows = rng.permutation(len(drums))[:count]
        if len(rows):
            found["drums"] = [store.read(int(row), 0, samples).astype(float) for row in rows]
    return found


def chords(sample_rate: int) -> dict[str, np.ndarray]:
    """Two harmonic tones at once, by their interval."""
    names = {1: "minor second", 4: "major third", 5: "fourth", 6: "tritone", 7: "fifth", 12: "octave"}
    return {
        name: tone(220.0, sample_rate) + tone(220 * 2 ** (semitones / 12), sample_rate, phase=1.0)
        for semitones, name in names.items()
    }


def tone(f0_hz: float, sample_rate: int, seconds: float = 0.5, phase: float = 0.0) -> np.ndarray:
    """Ten partials of amplitude 1/h in mixed phases."""
    turn = 2 * np.pi * f0_hz * np.arange(round(seconds * sample_rate)) / sample_rate + phase
    return 0.1 * np.sum([np.sin(h * turn + h * h) / h for h in range(1, 11) if h * f0_hz < 0.45 * sample_rate], axis=0)
