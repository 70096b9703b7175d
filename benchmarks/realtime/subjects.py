"""The models that `benchmarks.realtime` plays through, the sound, and the motion of the knobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.bundles import quantized
from benchmarks.weights import fp32_bundle, paper_size
from realtime.bundle import Anchor, Axis, Bundle, Features, Precision, Preset, embedded_bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions

SHIPPED = "shipped"
SOUND_SECONDS = 12.0
TIMBRE_HZ, PRESET_HZ = 1.3, 0.4  # fast enough that the filter changes at every hop


@dataclass(frozen=True)
class Subject:
    """name : in report.json;  title : in the report;  bundle : with at least one axis and one preset"""

    name: str
    title: str
    bundle: Bundle


@contextmanager
def subjects(paper: tuple[Precision, ...]) -> Iterator[list[Subject]]:
    """The shipped model, and the paper-size one in these precisions, which is made anew, with random weights."""
    shipped = load_bundle(embedded_bundle())
    with TemporaryDirectory() as place:
        fp32 = fp32_bundle(Path(place) / "made", paper_size())
        found = [Subject(SHIPPED, f"shipped model, {shipped.manifest.precision}", shipped)]
        for precision in paper:
            bundle = quantized(fp32, Path(place) / precision, precision).bundle
            found.append(Subject(f"paper-{precision}", f"paper-size model, {precision}", _with_knobs(bundle)))
        yield found


def _with_knobs(bundle: Bundle) -> Bundle:
    """An axis and a preset that knows pitch, of random directions: what they move costs as much as any other."""
    dimensions = bundle.manifest.latents["timbre"]
    vectors = np.random.default_rng(0).standard_normal((3, dimensions)).tolist()
    axis = Axis(name="timbre[0]", label="timbre 0", direction=vectors[0], effect_db=1.0)
    anchors = tuple(
        Anchor(midi_note=note, timbre=vector) for note, vector in zip((48.0, 72.0), vectors[1:], strict=True)
    )
    preset = Preset(name="random", family="random", anchors=anchors)
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"axes": (axis,), "presets": (preset,)}))


def sound_of(features: Features) -> np.ndarray:
    """A tone of 20 partials that glides over two octaves, with a little hiss, (samples, 1), float32.

    It is never silent, because silence is cheap.
    """
    rng, rate = np.random.default_rng(0), features.sample_rate
    time = np.arange(round(SOUND_SECONDS * rate)) / rate
    f0_hz = 220 * 2 ** np.sin(2 * np.pi * 0.25 * time)
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 21))
    sound = 0.2 * tone * (0.7 + 0.3 * np.sin(2 * np.pi * 2.1 * time)) + 0.002 * rng.standard_normal(len(time))
    return sound.astype(np.float32)[:, None]


class KnobMotion:
    """Moves knobs with time: a preset fades in and out and timbre[0] oscillates; or leaves all at rest."""

    def __init__(self, bundle: Bundle) -> None:
        self.bank = KnobBank(bundle.manifest)
        self._rest, self._turning = self.bank.values.copy(), False
        self._timbre, self._preset, self._amount, self._resynth = (
            self.bank.index[name] for name in ("timbre[0]", "preset", "preset_amount", "resynth")
        )

    def take(self, *, resynth: bool, turning: bool) -> None:
        """All knobs at rest, but for the way out."""
        self.bank.values[:] = self._rest
        self.bank.values[self._resynth] = 1.0 if resynth else 0.0
        self._turning = turning

    def move(self, seconds: float) -> None:
        if self._turning:
            values = self.bank.values
            values[self._timbre] = 2 * np.sin(2 * np.pi * TIMBRE_HZ * seconds)
            values[self._preset] = 1
            values[self._amount] = 0.5 - 0.45 * np.cos(2 * np.pi * PRESET_HZ * seconds)


def session_of(subject: Subject, motion: KnobMotion, provider: str) -> Session:
    """As live, with the limiter; but no hop is left out when one was late."""
    rate = subject.bundle.manifest.features.sample_rate
    return Session(
        subject.bundle, motion.bank, channels=1, sample_rate=rate, options=SessionOptions(provider=provider, limit=True)
    )
