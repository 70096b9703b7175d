"""Envelope distances to real target notes, and how true the synthesizer is to what it hears."""

from __future__ import annotations

from dataclasses import dataclass, field

import librosa
import numpy as np
from tqdm import tqdm

from benchmarks.envelope import SECONDS, ClassMeans, Envelopes, Pair
from benchmarks.quality.instrument import Instrument, Presets
from realtime.bundle import Bundle
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session
from training.data.manifest import SoundSet
from training.data.store import SoundStore

LOWEST_NOTE, HIGHEST_NOTE = 36, 90
EVERYWHERE_NOTES = 12
LEAVE_OUT_SECONDS = 0.05  # after an onset, in judging the pitch
LOUD_DB = 40.0
YIN_WINDOW = 4096


@dataclass
class Distances:
    """What was found on some pairs.

    ways : envelope distance of each pair by what was done to the sound, dry = 1
    cents : absolute errors of the synthesizer's pitch, of every frame that counts
    level_db : of a reconstruction, over that of the sound;  squared_error : of the drawn spectra
    """

    ways: dict[str, list[float]] = field(default_factory=dict)
    cents: list[np.ndarray] = field(default_factory=list)
    level_db: list[float] = field(default_factory=list)
    squared_error: list[float] = field(default_factory=list)

    def add(self, way: str, distance: float) -> None:
        self.ways.setdefault(way, []).append(distance)


def playable(sounds: SoundSet, pairs: list[Pair], count: int) -> list[Pair]:
    """The first pairs whose note lies in the range of most instruments."""
    return [pair for pair in pairs if LOWEST_NOTE <= sounds.pitch[pair.source] <= HIGHEST_NOTE][:count]


class Judge:
    """Compares ways of turning one note into another instrument's, by the real note of that instrument."""

    def __init__(self, instrument: Instrument, live: Bundle, train: SoundSet, per_class: int, seed: int) -> None:
        self._instrument, self._envelopes = instrument, Envelopes(live)
        self._means = ClassMeans(train, self._envelopes, per_class, np.random.default_rng(seed))
        self._presets = Presets(instrument, train, SECONDS)
        self._numbers = {preset.name: k for k, preset in enumerate(live.manifest.presets, 1)}
        self._knobs = KnobBank(live.manifest)
        self._session = Session(live, self._knobs, channels=1, sample_rate=train.sample_rate)

    def pairs(self, sources: SoundSet, targets: SoundSet, chosen: list[Pair], say: str) -> Distances:
        """sources, targets : what the rows of the pairs are of"""
        found = Distances()
        source_store, target_store = SoundStore(sources), SoundStore(targets)
        samples = round(SECONDS * sources.sample_rate)
        for pair in tqdm(chosen, desc=say, disable=None):
            sound, real = source_store.read(pair.source, 0, samples), target_store.read(pair.target, 0, samples)
            names = str(sources.instrument[pair.source]), str(targets.instrument[pair.target])
            self._pair(found, sound, real, names, float(sources.pitch[pair.source]))
        return found

    def _pair(self, found: Distances, sound: np.ndarray, real: np.ndarray, names: tuple[str, str], note: float) -> None:
        dry, wanted = self._envelopes.of(sound), self._envelopes.of(real)
        unit = float(np.mean(np.square(dry - wanted)))

        def add(way: str, envelope: np.ndarray) -> None:
            found.add(way, float(np.mean(np.square(envelope - wanted))) / unit)

        for way, near in (("equaliser", None), ("equaliser that knows the pitch", note)):
            add(way, dry + self._means.of(names[1], near) - self._means.of(names[0], near))
        self._knobs.set("preset", self._numbers[names[1]])
        self._session.reset()
        rate = self._instrument.sample_rate
        add("morph of the S1 model", self._envelopes.of(render(self._session, sound[:, None], rate)[:, 0]))
        heard, target = self._instrument.analyse(sound), self._instrument.analyse(real)
        played = self._instrument.sound_of(heard, self._presets.near(names[1], note))
        add("synth, preset near the pitch", self._envelopes.of(played))
        everywhere = self._presets.everywhere(names[1], EVERYWHERE_NOTES)
        add("synth, preset of all pitches", self._envelopes.of(self._instrument.sound_of(heard, everywhere)))
        add(
            "synth, the real note's own timbre",
            self._envelopes.of(self._instrument.sound_of(heard, target.latents.timbre)),
        )
        again = self._instrument.sound_of(target)
        add("synth, the real note itself", self._envelopes.of(again))
        found.cents.append(cents_off(played, sound, note, rate))
        found.level_db.append(20 * float(np.log10(np.std(again) / np.std(real[: len(again)]))))
        found.squared_error.append(self._instrument.squared_error(target))


def cents_off(played: np.ndarray, sound: np.ndarray, note: float, rate: int) -> np.ndarray:
    """Absolute error of every frame that counts, by YIN (which had no part in making the sound)."""
    f0 = librosa.yin(played, fmin=30.0, fmax=4000.0, sr=rate, frame_length=YIN_WINDOW, hop_length=512)
    level = librosa.feature.rms(y=sound[: len(played)].astype(np.float64), frame_length=2048, hop_length=512)[0]
    count = min(len(f0), len(level))
    loud = level[:count] > level.max() * 10 ** (-LOUD_DB / 20)
    loud[: round((LEAVE_OUT_SECONDS + 0.5 * YIN_WINDOW / rate) * rate / 512)] = False
    return np.abs(1200 * np.log2(f0[:count][loud] / (440 * 2 ** ((note - 69) / 12))))


def pairs_across(
    sources: SoundSet, targets: SoundSet, names: set[str], count: int, rng: np.random.Generator
) -> list[Pair]:
    """Random notes of one set with a note of another instrument at the same pitch in the other set."""
    found = []
    for source in rng.permutation(len(sources)):
        other = (targets.pitch == sources.pitch[source]) & (targets.instrument != sources.instrument[source])
        rows = np.flatnonzero(other & np.isin(targets.instrument, list(names)))
        if len(rows) and sources.instrument[source] in names and LOWEST_NOTE <= sources.pitch[source] <= HIGHEST_NOTE:
            found.append(Pair(int(source), int(rng.choice(rows))))
        if len(found) == count:
            break
    return found
