"""Envelope distances to real target notes, and how true the synthesizer is to what it hears."""

from __future__ import annotations

from dataclasses import dataclass, field

import librosa
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.envelope import SECONDS, ClassMeans, Envelopes, Pair
from benchmarks.quality.instrument import Analysed, Instrument, Presets
from realtime.bundle import Bundle
from realtime.knobs.bank import KnobBank
from realtime.outputs.synth.spectra import a_weighting
from realtime.render import render
from realtime.session import Session, SessionOptions
from training.data.manifest import SoundSet
from training.data.store import SoundStore

LOWEST_NOTE, HIGHEST_NOTE = 36, 90
EVERYWHERE_NOTES = 12
LEAVE_OUT_SECONDS = 0.05  # after an onset, in judging the pitch
LOUD_DB = 40.0
YIN_WINDOW = 4096
EQUALISER, PITCHED_EQUALISER = "equaliser", "equaliser that knows the pitch"
MORPH, SYNTH, AGAIN = "morph, preset", "synth, preset", "synth offline, the real note itself"


@dataclass
class Distances:
    """What was found on some pairs.

    ways : envelope distance of each pair by what was done to the sound, dry = 1
    cents : absolute errors of the synthesizer's pitch, of every frame that counts
    level_db : of a reconstruction, A-weighted, over that of the sound;  squared_error : of the drawn spectra
    multi_scale : spectral distance of a reconstruction;  attack_ms : its attack's, over that of the sound
    """

    ways: dict[str, list[float]] = field(default_factory=dict)
    cents: list[np.ndarray] = field(default_factory=list)
    level_db: list[float] = field(default_factory=list)
    squared_error: list[float] = field(default_factory=list)
    multi_scale: list[float] = field(default_factory=list)
    attack_ms: list[float] = field(default_factory=list)

    def add(self, way: str, distance: float) -> None:
        self.ways.setdefault(way, []).append(distance)


def playable(sounds: SoundSet, pairs: list[Pair], count: int) -> list[Pair]:
    """The first pairs whose note lies in the range of most instruments."""
    return [pair for pair in pairs if LOWEST_NOTE <= sounds.pitch[pair.source] <= HIGHEST_NOTE][:count]


class Player:
    """A bundle's ways out, with its presets.  rate : Hz, of sounds, (samples,)"""

    def __init__(self, bundle: Bundle, rate: int) -> None:
        self.bundle, self._rate = bundle, rate
        self._numbers = {preset.name: k for k, preset in enumerate(bundle.manifest.presets, 1)}
        self._knobs = KnobBank(bundle.manifest)
        self._session = Session(bundle, self._knobs, channels=1, sample_rate=rate, options=SessionOptions("cpu"))

    @property
    def names(self) -> set[str]:
        return set(self._numbers)

    def play(self, sound: np.ndarray, **knobs: float | str) -> np.ndarray:
        """knobs : values by name, a preset by its own name"""
        for target in self._knobs.targets:
            self._knobs.set(target.name, target.default)
        for name, value in knobs.items():
            self._knobs.set(name, self._numbers[value] if isinstance(value, str) else value)
        self._session.reset()
        return render(self._session, sound.astype(np.float32)[:, None], self._rate)[:, 0]


class Judge:
    """Compares ways of turning one note into another instrument's, by the real note of that instrument.

    live, harmonic : bundles of the S1 model and of this one
    """

    def __init__(
        self, instrument: Instrument, live: Bundle, harmonic: Bundle, train: SoundSet, per_class: int, seed: int
    ) -> None:
        self.instrument, self.envelopes = instrument, Envelopes(live)
        self._means = ClassMeans(train, self.envelopes, per_class, np.random.default_rng(seed))
        self.presets = Presets(instrument, train, SECONDS)
        self.live, self.harmonic = Player(live, train.sample_rate), Player(harmonic, train.sample_rate)

    @property
    def names(self) -> set[str]:
        """Instruments that both models have a preset of."""
        return self.live.names & self.harmonic.names

    def pairs(self, sources: SoundSet, targets: SoundSet, chosen: list[Pair], say: str) -> Distances:
        """sources, targets : what the rows of the pairs are of"""
        found = Distances()
        source_store, target_store = SoundStore(sources), SoundStore(targets)
        samples = round(SECONDS * sources.sample_rate)
        for pair in tqdm(chosen, desc=say, disable=None):
            sound, real = source_store.read(pair.source, 0, samples), target_store.read(pair.target, 0, samples)
            note, target = float(sources.pitch[pair.source]), str(targets.instrument[pair.target])
            self.pair(found, sound, real, (str(sources.instrument[pair.source]), target), note)
        return found

    def pair(self, found: Distances, sound: np.ndarray, real: np.ndarray, names: tuple[str, str], note: float) -> None:
        """names : of the instrument that plays and of the one wanted"""
        dry, wanted = self.envelopes.of(sound), self.envelopes.of(real)
        unit = float(np.mean(np.square(dry - wanted)))

        def add(way: str, envelope: np.ndarray) -> None:
            found.add(way, float(np.mean(np.square(envelope - wanted))) / unit)

        for way, place in ((EQUALISER, None), (PITCHED_EQUALISER, note)):
            add(way, dry + self._means.of(names[1], place) - self._means.of(names[0], place))
        it, of = self.instrument, self.envelopes.of
        add("morph of the S1 model", of(self.live.play(sound, preset=names[1])))
        add(MORPH, of(self.harmonic.play(sound, preset=names[1])))
        add(SYNTH, of(self.harmonic.play(sound, preset=names[1], synth=1.0)))
        heard, target = it.analyse(sound), it.analyse(real)
        near = self.presets.near(names[1], note)
        played = it.sound_of(heard, *near)
        add("synth offline, mean of the four nearest training notes", of(played))
        add("Griffin-Lim of the same magnitudes", of(griffin_lim(it, heard, it.spectrum_of(heard, *near))))
        add(
            "synth offline, mean over all pitches",
            of(it.sound_of(heard, *self.presets.everywhere(names[1], EVERYWHERE_NOTES))),
        )
        own = target.latents.averaged(target.spectra.sounding)
        add("synth offline, the real note's own timbre", of(it.sound_of(heard, own.timbre, own.pitch)))
        again = it.sound_of(target)
        add(AGAIN, of(again))
        found.cents.append(cents_off(played, sound, note, it.sample_rate))
        found.level_db.append(weighted_db(again, it.sample_rate) - weighted_db(real[: len(again)], it.sample_rate))
        found.squared_error.append(it.squared_error(target))
        found.multi_scale.append(multi_scale(again, real[: len(again)]))
        found.attack_ms.append(attack_ms(again, it.sample_rate) - attack_ms(real[: len(again)], it.sample_rate))


def griffin_lim(instrument: Instrument, heard: Analysed, drawn: Tensor) -> np.ndarray:
    """Sound of drawn spectra, (frames, bins), without any phases."""
    config = instrument.features.config
    magnitude = (torch.exp(drawn) - config.log_floor).clamp_min(0).numpy().T
    sound: np.ndarray = librosa.griffinlim(
        magnitude, n_iter=32, hop_length=config.hop_samples, n_fft=config.window_samples, random_state=0
    )
    return sound


def weighted_db(sound: np.ndarray, rate: int) -> float:
    """A-weighted level, dB."""
    spectrum = np.abs(np.fft.rfft(sound))
    weight = a_weighting(np.linspace(0, rate / 2, len(spectrum)))
    return 20 * float(np.log10(np.linalg.norm(spectrum * weight) / len(sound) + 1e-12))


def multi_scale(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale spectral distance (Engel 2020): L1 of magnitudes and of their logs, FFTs of 2048 … 64, means."""
    total = 0.0
    for size in (2048, 1024, 512, 256, 128, 64):
        x, y = (np.abs(librosa.stft(one.astype(np.float32), n_fft=size, hop_length=size // 4)) for one in (a, b))
        total += float(
            np.abs(x - y).mean() / (np.abs(y).mean() + 1e-9) + np.abs(np.log(x + 1e-3) - np.log(y + 1e-3)).mean()
        )
    return total / 6


def attack_ms(sound: np.ndarray, rate: int) -> float:
    """From the start until the level has come within 20 % of its greatest in the first half second."""
    frame, step = 512, 64
    first = sound[: rate // 2].astype(np.float32)
    level = librosa.feature.rms(y=first, frame_length=frame, hop_length=step, center=False)[0]
    return 1000 / rate * (step * int((level >= 0.8 * level.max()).argmax()) + frame / 2)


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
