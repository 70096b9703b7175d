"""What else makes an instrument: in tune, transferable, its knobs true to their names, its level kept."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from benchmarks.envelope import SECONDS
from benchmarks.quality.instrument import Instrument
from benchmarks.quality.measure import LOUD_DB, YIN_WINDOW, Judge, Player, weighted_db
from training.data.manifest import SoundSet
from training.data.store import SoundStore
from training.knobs.descriptors import DESCRIPTORS

KNOB_VALUES = (-2.0, -1.0, 0.0, 1.0, 2.0)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
CEPSTRUM = 40  # coefficients that the classifier hears
STEADY_CENTS = 35.0  # the input's pitch moves less from one frame to the next where it is judged
HIGHEST_KEY, LOWEST_KEY = 108, 21


def pitch_kept(sound: np.ndarray, played: np.ndarray, rate: int) -> np.ndarray:
    """Absolute errors in cents of what was played against the sound it was made of, wherever the sound has a pitch.

    The judges (pYIN and YIN) see whole sounds.
    """
    f0, voiced, _ = librosa.pyin(
        sound.astype(np.float32), fmin=40, fmax=2000, sr=rate, frame_length=YIN_WINDOW, hop_length=512
    )
    found = librosa.yin(played.astype(np.float32), fmin=35, fmax=2500, sr=rate, frame_length=YIN_WINDOW, hop_length=512)
    level = librosa.feature.rms(y=sound.astype(np.float32), frame_length=2048, hop_length=512)[0]
    n = min(len(f0), len(found), len(level))
    cents = 1200 * np.log2(np.where(voiced[:n], f0[:n], np.nan) / 440)
    moves = np.abs(np.diff(cents, prepend=np.nan)) + np.abs(np.diff(cents, append=np.nan))
    counts = voiced[:n] & (moves < 2 * STEADY_CENTS) & (level[:n] > level.max() * 10 ** (-LOUD_DB / 20))
    return np.abs(1200 * np.log2(found[:n][counts]) - cents[counts] - 1200 * np.log2(440))


def keys_off(player: Player, rate: int) -> np.ndarray:
    """How far each key lies from its note, cents, by the strength of its harmonics."""
    off = []
    for note in tqdm(range(LOWEST_KEY, HIGHEST_KEY + 1), desc="keys", disable=None):
        knobs = {"synth": 1.0, "keys": 1, "key[0]": note}
        sound = player.play(np.zeros(rate), **knobs)[rate // 4 :]
        window, time = np.hanning(len(sound)) * sound, np.arange(len(sound)) / rate
        f0 = 440 * 2 ** ((note - 69) / 12)

        def strength(cents: float, f0: float = f0, window: np.ndarray = window, time: np.ndarray = time) -> float:
            f = f0 * 2 ** (cents / 1200)
            return sum(
                abs(np.vdot(np.exp(2j * np.pi * h * f * time), window)) for h in range(1, 7) if h * f < 0.45 * rate
            )

        coarse = max(np.arange(-60, 61, 6.0), key=strength)
        off.append(abs(float(max(coarse + np.arange(-6, 6.1, 1.0), key=strength))))
    return np.array(off)


class NameTeller:
    """A classifier of instruments by mean envelopes and pitch, trained on original notes."""

    def __init__(
        self, judge: Judge, train: SoundSet, names: list[str], per_class: int, rng: np.random.Generator
    ) -> None:
        self._judge = judge
        self.names = names
        rows = [rng.permutation(np.flatnonzero(train.instrument == name))[:per_class] for name in names]
        store, samples = SoundStore(train), round(SECONDS * train.sample_rate)
        chosen = np.concatenate(rows)
        heard = [self._hear(store.read(int(row), 0, samples), float(train.pitch[row])) for row in chosen]
        self._teller = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=3000))
        self._teller.fit(heard, train.instrument[chosen])

    def _hear(self, sound: np.ndarray, note: float) -> np.ndarray:
        envelope = self._judge.envelopes.of(sound)
        analysis = self._judge.envelopes.features.analysis.numpy()
        return np.append((envelope @ analysis)[1:CEPSTRUM], note / 12)

    def probabilities(self, sound: np.ndarray, note: float) -> dict[str, float]:
        values = self._teller.predict_proba([self._hear(sound, note)])[0]
        return dict(zip(self._teller.classes_.tolist(), values.tolist(), strict=True))


def transfer(
    judge: Judge, train: SoundSet, test: SoundSet, names: list[str], notes: int, per_class: int, seed: int
) -> dict[str, Any]:
    """Every instrument's test notes played with every instrument's preset; a classifier names what it hears."""
    rng = np.random.default_rng(seed)
    teller = NameTeller(judge, train, names, per_class, rng)
    store, samples = SoundStore(test), round(SECONDS * test.sample_rate)
    originals: list[tuple[str, str]] = []
    told: list[tuple[str, str]] = []
    matrix = np.zeros((len(names), len(names)))
    rising, steps = [], []
    for i, source in enumerate(tqdm(names, desc="transfer", disable=None)):
        rows = rng.permutation(np.flatnonzero(test.instrument == source))[:notes]
        for row in rows.tolist():
            sound, note = store.read(row, 0, samples), float(test.pitch[row])
            guesses = teller.probabilities(sound, note)
            originals.append((source, max(guesses, key=lambda name: guesses[name])))
            heard = judge.instrument.analyse(sound)
            own = heard.latents.averaged(heard.spectra.sounding)
            for j, target in enumerate(names):
                timbre, pitch = judge.presets.near(target, note)
                values = ALPHAS if j == (i + 1) % len(names) else (1.0,)
                curve = []
                for alpha in values:
                    mixed = (own.timbre + alpha * (timbre - own.timbre), own.pitch + alpha * (pitch - own.pitch))
                    guesses = teller.probabilities(judge.instrument.sound_of(heard, *mixed), note)
                    curve.append(guesses[target])
                if len(values) > 1:
                    rising.append(curve)
                    steps.append(float(scipy.stats.spearmanr(ALPHAS, curve).statistic))
                best = max(guesses, key=lambda name: guesses[name])
                told.append((target, best))
                matrix[i, j] += best == target
            matrix[i, i] += 0
        matrix[i] /= max(1, len(rows))
    f1, confused = _scores(told, names)
    return {
        "names": names,
        "matrix": matrix.round(3).tolist(),
        "confusion": confused,
        "f_score": f1,
        "f_originals": _scores(originals, names)[0],
        "alpha": np.mean(rising, axis=0).round(4).tolist(),
        "alpha_spearman": float(np.nanmean(steps)),
        "told": told,
    }


def _scores(told: list[tuple[str, str]], names: list[str]) -> tuple[float, list[list[float]]]:
    true, found = zip(*told, strict=True)
    table = confusion_matrix(true, found, labels=names, normalize="true")
    return float(f1_score(true, found, labels=names, average="macro", zero_division=0)), table.round(3).tolist()


def axes_matrix(instrument: Instrument, axes: list[dict[str, Any]], test: SoundSet, count: int, seed: int) -> Any:
    """Spearman's correlation of every labelled axis with every descriptor of what is played, mean over notes.

    Returns axis → descriptor → correlation.
    """
    rng, store = np.random.default_rng(seed), SoundStore(test)
    rows = rng.permutation(np.flatnonzero(np.isfinite(test.pitch) & (test.pitch > 50) & (test.pitch < 80)))[:count]
    heard = [instrument.analyse(store.read(int(row), 0, round(SECONDS * test.sample_rate))) for row in rows]
    found: dict[str, dict[str, float]] = {}
    for axis in tqdm(axes, desc="axes", disable=None):
        direction = torch.tensor(axis["direction"])[None]
        ranks: dict[str, list[float]] = {name: [] for name in DESCRIPTORS}
        for one, row in zip(heard, rows, strict=True):
            curve: dict[str, list[float]] = {name: [] for name in DESCRIPTORS}
            for value in KNOB_VALUES:
                timbre = one.latents.averaged(one.spectra.sounding).timbre + value * direction
                sound = torch.from_numpy(instrument.sound_of(one, timbre).astype(np.float32))[None]
                amplitudes = instrument.features.amplitudes(sound)
                for name, describe in DESCRIPTORS.items():
                    curve[name].append(float(describe(amplitudes, instrument.features.config, test.pitch[[row]])[0]))
            for name, values in curve.items():
                if np.isfinite(values).all() and np.ptp(values) > 0:
                    ranks[name].append(float(scipy.stats.spearmanr(KNOB_VALUES, values).statistic))
        found[axis["name"]] = {name: float(np.mean(values)) if values else 0.0 for name, values in ranks.items()}
    return found


def levels_kept(player: Player, phrase: np.ndarray, rate: int, count: int) -> dict[str, list[float]]:
    """Change of the A-weighted level by presets, dB, by way out."""
    names = sorted(player.names)
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).astype(int))]
    dry = weighted_db(phrase, rate)
    found: dict[str, list[float]] = {"morph": [], "synth": []}
    for name in tqdm(chosen, desc="levels", disable=None):
        for way, level in (("morph", 0.0), ("synth", 1.0)):
            found[way].append(weighted_db(player.play(phrase, preset=name, synth=level), rate) - dry)
    return found


def at_rest(player: Player, phrase: np.ndarray) -> bool:
    """Whether morph without an edit gives back the input, bit for bit."""
    return bool(np.array_equal(player.play(phrase), phrase.astype(np.float32)))
