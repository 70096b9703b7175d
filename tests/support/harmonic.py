"""A small harmonic bundle with random weights, and sounds and measurements for its voices."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.bundle_writer import write_manifest
from export.graph_file import write_graphs
from export.graphs.harmonic import HarmonicStreamingDecoder, VoiceStep
from export.graphs.perturbation import StreamingEncoder
from export.harmonic import facts
from realtime.bundle import Bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.outputs.synth.spectra import a_weighting
from realtime.session import Session, SessionOptions
from training.features import FeatureConfig
from training.models.harmonic import HarmonicConfig, HarmonicVAE

RATE, HOP = 44100, 256
SIZES = HarmonicConfig(
    timbre_dim=4,
    variation_dim=3,
    pitch_dim=2,
    hidden=8,
    decoder_hidden=12,
    fine_bands=12,
    envelope_coefficients=20,
    centred_loudness=True,
)


@cache
def harmonic_bundle(folder: Path) -> Bundle:
    """Written to this folder; presets "Low" and "High", whose z^t and z^p differ from note to note."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    model: Any = HarmonicVAE(SIZES).eval()
    modules = {
        "encoder": StreamingEncoder(model),
        "decoder": HarmonicStreamingDecoder(model),
        "voices": VoiceStep(model),
    }
    rng = np.random.default_rng(3)
    axis = {"name": "timbre[0]", "label": "one", "direction": [1.0, 0.5, 0.0, -0.5], "effect_db": 1.0}
    presets = [
        {
            "name": name,
            "family": "test",
            "anchors": [
                {"midi_note": note, "timbre": rng.standard_normal(4).tolist(), "pitch": rng.standard_normal(2).tolist()}
                for note in (36.0, 60.0, 84.0)
            ],
        }
        for name in ("Low", "High")
    ]
    write_manifest(
        folder,
        features=FeatureConfig(RATE, 2048, HOP, 1e-2, 100, normalisation="running"),
        model=model,
        graphs=write_graphs(folder, modules),
        knobs={"axes": [axis], "presets": presets},
        fidelity={},
        harmonic=facts(model, HOP),
    )
    return load_bundle(folder)


def session_of(bundle: Bundle, rate: float = RATE, channels: int = 1, **knobs: float) -> Session:
    """Names with brackets are written key_0 for key[0]."""
    bank = KnobBank(bundle.manifest)
    session = Session(bundle, bank, channels=channels, sample_rate=rate, options=SessionOptions(provider="cpu"))
    turn(session, **knobs)
    session.reset()
    return session


def turn(session: Session, **knobs: float) -> None:
    for name, value in knobs.items():
        stem, _, number = name.rpartition("_")
        session.knobs.set(f"{stem}[{number}]" if number.isdigit() else name, value)


def tone(f0: float, seconds: float = 1.0, rate: float = RATE, level: float = 0.1) -> np.ndarray:
    """(samples, 1), float32: a dozen harmonics."""
    time, below = np.arange(round(seconds * rate)) / rate, [h for h in range(1, 13) if h * f0 < 0.45 * rate]
    wave = np.sum([np.sin(2 * np.pi * f0 * h * time + h * h) / h for h in below], axis=0)
    return (level * wave / np.std(wave)).astype(np.float32)[:, None]


def cents_off(sound: np.ndarray, f0: float, rate: float = RATE) -> float:
    """How far the pitch of a steady sound, (samples,), lies from f0, found by the strength of all its harmonics."""
    window = np.hanning(len(sound)) * sound
    time = np.arange(len(sound)) / rate

    def strength(cents: float) -> float:
        f = f0 * 2 ** (cents / 1200)
        return sum(abs(np.vdot(np.exp(2j * np.pi * h * f * time), window)) for h in range(1, 9) if h * f < 0.45 * rate)

    coarse = max(np.arange(-60, 61, 6.0), key=strength)
    return float(max(coarse + np.arange(-6, 6.1, 0.5), key=strength))


def level_db(sound: np.ndarray) -> float:
    return 20 * float(np.log10(np.std(sound) + 1e-12))


def weighted_db(sound: np.ndarray, rate: float = RATE) -> float:
    """A-weighted level."""
    spectrum = np.abs(np.fft.rfft(sound.reshape(-1) * np.hanning(sound.size)))
    weight = a_weighting(np.linspace(0, rate / 2, len(spectrum)))
    return 20 * float(np.log10(np.linalg.norm(spectrum * weight) / sound.size))
