"""Sounds that no model was trained on: speech and sung vowels, plucked strings, and their pitch."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

SECONDS = 2.0
WORDS = ("Who am I when nobody is listening to the rain", "We were away a year ago, and a long way from home")
VOWELS = ("aaaaaaaaaaaaaaaaaaaaaaaa", "oooooooooooooooooooo", "eeeeeeeeeeeeeeeeeeee")
ESPEAK = "espeak-ng"


def plucked(rate: int, note: float, seed: int) -> np.ndarray:
    """A string as Karplus and Strong (1983) make it, tuned by a fractional delay.  (samples,), note : MIDI"""
    period = rate / (440 * 2 ** ((note - 69) / 12)) - 0.5
    whole, share = int(period), period - int(period)
    samples = round(SECONDS * rate)
    sound = np.zeros(samples)
    sound[: whole + 1] = np.random.default_rng(seed).uniform(-1, 1, whole + 1)
    for start in range(whole + 2, samples, whole):  # a period at a time: what it hears is older than that
        n = np.arange(start, min(start + whole, samples))
        newer = (1 - share) * sound[n - whole] + share * sound[n - whole - 1]
        older = (1 - share) * sound[n - whole - 1] + share * sound[n - whole - 2]
        sound[n] = 0.498 * (newer + older)
    return sound * (0.5 / np.abs(sound).max())


def spoken(rate: int, most: int = 100) -> list[np.ndarray]:
    """Sentences and long vowels at several pitches, (samples,) each, at most so many; none where espeak-ng is not
    installed.
    """
    if shutil.which(ESPEAK) is None:
        return []
    asked = [(words, pitch) for words in WORDS for pitch in (30, 60)]
    asked += [(words, pitch) for words in VOWELS for pitch in (20, 50, 80)]
    found = []
    for words, pitch in asked[:most]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "voice.wav"
            subprocess.run([ESPEAK, "-p", str(pitch), "-s", "110", "-w", str(file), words], check=True)
            sound, own = soundfile.read(file)
        found.append(0.5 * soxr.resample(sound, own, rate)[: round(SECONDS * rate)])
    return found
