"""A harmonic model as an instrument: analysed sounds, presets that know pitch, and the sound of edited latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.checkpoint import CheckpointError, load_checkpoint
from training.data.manifest import SoundSet
from training.data.store import SoundStore
from training.dsp.f0 import track_pitch
from training.dsp.synthesis import synthesise
from training.features import FeatureExtractor, Spectra
from training.models.harmonic import Control, HarmonicVAE
from training.models.latents import Latents

ANCHOR_NOTES = 4  # of the training notes nearest in pitch that a preset averages


@dataclass(frozen=True, eq=False)
class Analysed:
    """One sound: spectra and latents of batch 1;  level : (frames,), linear, A-weighted"""

    spectra: Spectra
    latents: Latents
    control: Control
    level: Tensor


class Instrument:
    """A trained harmonic VAE.

    Raises
    ------
    CheckpointError
        If the checkpoint is of another kind.
    """

    def __init__(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        model: object = checkpoint.model
        if not isinstance(model, HarmonicVAE):
            raise CheckpointError(
                f"{path} is of kind {checkpoint.model.KIND}, this benchmark is for {HarmonicVAE.KIND}; train one with: "
                "python -m training.train fit --config training/recipes/harmonic.yaml"
            )
        self.model, self.info = model, checkpoint.info
        self.features = FeatureExtractor(checkpoint.features)

    @property
    def sample_rate(self) -> int:
        return self.features.config.sample_rate

    @torch.no_grad()
    def analyse(self, sound: np.ndarray) -> Analysed:
        """sound : (samples,)"""
        config = self.features.config
        audio = torch.from_numpy(sound[: len(sound) // config.hop_samples * config.hop_samples].astype(np.float32))[
            None
        ]
        spectra, track = self.features(audio), track_pitch(audio[0].numpy(), config.sample_rate, config.hop_samples)
        latents = self.model.encode(spectra.envelope, spectra.fine, spectra.sounding).latents
        f0, confidence = (torch.from_numpy(part)[None] for part in (track.f0_hz, track.confidence))
        control = self.model.control(spectra.log_amplitude, f0, confidence, spectra.sounding, config.hop_samples)
        amplitude = self.features.amplitudes(audio).amplitude[0].mean(-1)
        relative = self.features.linear(spectra.log_amplitude)[0].mean(-1)
        level = torch.where(relative > 1e-4, amplitude / relative.clamp_min(1e-9), torch.zeros_like(relative))
        level = level * self.model.weighted_level(spectra.log_amplitude)[0]
        return Analysed(spectra, latents, control, level)

    def sound_of(self, heard: Analysed, timbre: Tensor | None = None) -> np.ndarray:
        """The synthesizer's sound, with its own timbre or another, (1, D)."""
        latents = heard.latents if timbre is None else heard.latents.with_(timbre=timbre)
        return synthesise(self.model, latents, heard.control, heard.level, self.features.config.hop_samples)

    @torch.no_grad()
    def squared_error(self, heard: Analysed) -> float:
        """Of the drawn log-amplitude, per frame and bin, over sounding frames."""
        drawn = self.model.decode(heard.latents, heard.control)
        error = (drawn - heard.spectra.log_amplitude).square().mean(-1)
        return float(error[heard.spectra.sounding].mean())


class Presets:
    """z^t of instruments near a pitch, averaged over training notes."""

    def __init__(self, instrument: Instrument, train: SoundSet, seconds: float) -> None:
        self._instrument, self._train, self._store = instrument, train, SoundStore(train)
        self._samples, self._known = round(seconds * train.sample_rate), dict[int, Tensor]()

    def near(self, name: str, note: float) -> Tensor:
        """(1, D), of the few notes nearest in pitch."""
        rows = self._rows(name)
        return self._mean(rows[np.argsort(np.abs(self._train.pitch[rows] - note), kind="stable")[:ANCHOR_NOTES]])

    def everywhere(self, name: str, count: int) -> Tensor:
        """(1, D), of notes over the whole range."""
        rows = self._rows(name)
        return self._mean(rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)])

    def _rows(self, name: str) -> np.ndarray:
        return np.flatnonzero((self._train.instrument == name) & np.isfinite(self._train.pitch))

    def _mean(self, rows: np.ndarray) -> Tensor:
        for row in rows.tolist():
            if row not in self._known:
                self._known[row] = self._instrument.analyse(self._store.read(row, 0, self._samples)).latents.timbre
        return torch.cat([self._known[row] for row in rows.tolist()]).mean(0, keepdim=True)
