"""The library: a model as a Python object that renders whole sounds and streams of blocks.

from realtime import Instrument

instrument = Instrument.load()
edited = instrument.render(sound, 44100, brightness=1.5, preset="Violin")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.bundle import Bundle, embedded_bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import DEFAULT_LATENCY_MS, SLOTS, KnobError, Target
from realtime.render import render
from realtime.session import Session, SessionOptions

PRESET_KNOBS = ("preset", "preset_b", "preset_c", "preset_d")
BLOCK_SAMPLES = 512


@dataclass(frozen=True)
class Instrument:
    """One model, ready to play. It holds no sound: every rendering and every stream starts afresh.

    bundle : Bundle, the model
    provider : "auto", "cpu" or "cuda"
    """

    bundle: Bundle
    provider: str = "auto"

    @classmethod
    def load(cls, path: Path | str | None = None, provider: str = "auto") -> Instrument:
        """Read a bundle.

        Parameters
        ----------
        path : a bundle's folder, or None for the model that comes with Neiro
        provider : "auto", "cpu" or "cuda"

        Raises
        ------
        realtime.bundle.BundleError
            If the bundle is missing, damaged, or of another format.
        """
        return cls(load_bundle(embedded_bundle() if path is None else path), provider)

    @property
    def presets(self) -> tuple[str, ...]:
        """Names of the presets."""
        return tuple(preset.name for preset in self.bundle.manifest.presets)

    @property
    def knobs(self) -> tuple[Target, ...]:
        """Every knob with its range, its value at rest and its unit."""
        return KnobBank(self.bundle.manifest).targets

    def render(
        self, sound: np.ndarray, rate: float, *, latency_ms: float = DEFAULT_LATENCY_MS, **knobs: float | str
    ) -> np.ndarray:
        """Play a whole sound through the model, faster than real time.

        Parameters
        ----------
        sound : ndarray, (frames,) or (frames, channels), full scale 1
        rate : float, Hz
        latency_ms : float, of the resynth way out, 3 … 50. The result is in step with the input anyway.
        **knobs : values by name, presets also by their names; names with brackets as ``**{"timbre[0]": 1.5}``

        Returns
        -------
        ndarray, of the sound's shape, float32

        Raises
        ------
        realtime.knobs.targets.KnobError
            If there is no such knob or preset, or the value is out of range.
        realtime.hop.model.EngineError
            If the model cannot run on the provider.
        ValueError
            If the sound has another shape, or values that are not numbers.
        """
        samples = np.asarray(sound)
        if samples.ndim not in (1, 2) or samples.size == 0:
            raise ValueError(f"sound has shape {samples.shape}; give (frames,) or (frames, channels), not empty")
        if samples.dtype.kind != "f":
            raise ValueError(f"sound has the type {samples.dtype}; give floating point samples with full scale 1")
        framed = samples.reshape(len(samples), -1).astype(np.float32)
        stream = self.stream(rate, framed.shape[1], latency_ms=latency_ms, **knobs)
        return render(stream.session, framed, rate, block_size=BLOCK_SAMPLES).reshape(samples.shape)

    def stream(
        self, rate: float, channels: int = 1, *, latency_ms: float = DEFAULT_LATENCY_MS, **knobs: float | str
    ) -> InstrumentStream:
        """Begin a stream of blocks. The arguments are those of `render`.

        Returns
        -------
        InstrumentStream
        """
        bank = KnobBank(self.bundle.manifest)
        stream = InstrumentStream(self, bank)
        stream.turn(**knobs)  # before the session is made, which starts at the knobs as they stand
        stream.session = Session(
            self.bundle,
            bank,
            channels=channels,
            sample_rate=rate,
            options=SessionOptions(provider=self.provider, latency_ms=latency_ms),
        )
        return stream


class InstrumentStream:
    """A sound that passes through the model block by block. Made by `Instrument.stream`.

    session : Session, with meters, latency and everything else
    """

    session: Session

    def __init__(self, instrument: Instrument, bank: KnobBank) -> None:
        self._instrument, self._bank = instrument, bank

    @property
    def latency_samples(self) -> int:
        """Delay from input to output, samples at the stream's rate."""
        return self.session.latency_samples

    def turn(self, **knobs: float | str) -> None:
        """Set knobs by name. All are checked before the first is set.

        Raises
        ------
        realtime.knobs.targets.KnobError
            If there is no such knob or preset, or the value is out of range. No knob has moved then.
        """
        values = {name: self._number(name, value) for name, value in knobs.items()}
        for name, value in values.items():
            self._bank.check(name, value)
        for name, value in values.items():
            self._bank.set(name, value)

    def process(self, block: np.ndarray) -> np.ndarray:
        """Play the next block.

        block : ndarray, (frames,) for one channel, or (frames, channels); any number of frames

        Returns
        -------
        ndarray, of the block's shape, float32
        """
        samples = np.asarray(block, np.float32)
        channels = self.session.channels
        if samples.ndim not in (1, 2) or (samples.shape[1] if samples.ndim == 2 else 1) != channels:
            raise ValueError(f"the block has shape {samples.shape}, the stream has {channels} channels")
        framed = samples.reshape(len(samples), channels)
        out = np.empty_like(framed)
        self.session.process_block(framed, out)
        return out.reshape(samples.shape)

    def _number(self, name: str, value: float | str) -> float:
        if isinstance(value, str):
            if name not in PRESET_KNOBS:
                raise KnobError(f"{name}={value!r} is not a number; only presets can be given by name")
            names = [preset.lower() for preset in self._instrument.presets]
            if value.lower() not in names:
                raise KnobError(f"there is no preset {value!r}; there are {', '.join(self._instrument.presets)}")
            return float(names.index(value.lower()) + 1)
        if name in PRESET_KNOBS and value > len(self._instrument.presets):
            raise KnobError(
                f"{name}={value:g} is one of the {SLOTS} captured timbres, which a new stream does not have; "
                f"give 0 … {len(self._instrument.presets)}"
            )
        return float(value)
