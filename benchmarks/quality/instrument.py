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
from training.dsp.control import control_of
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
        heard = control_of(self.model, self.features, torch.from_numpy(sound.astype(np.float32))[None])
        latents = self.model.encode(heard.spectra.envelope, heard.spectra.fine, heard.spectra.sounding).latents
        return Analysed(heard.spectra, latents, heard.control, heard.level[0])

    def edited(self, heard: Analysed, timbre: Tensor | None = None, pitch: Tensor | None = None) -> Latents:
        """Its latents with another timbre, (1, D), and another mean z^p, (1, P)."""
        latents = heard.latents if timbre is None else heard.latents.with_(timbre=timbre)
        frames = heard.control.f0.shape[1]
        return latents if pitch is None else latents.with_(pitch=pitch[:, None].expand(-1, frames, -1))

    def sound_of(self, heard: Analysed, timbre: Tensor | None = None, pitch: Tensor | None = None) -> np.ndarray:
        """The synthesizer's sound, with its own timbre and z^p or others."""
        latents = self.edited(heard, timbre, pitch)
        return synthesise(self.model, latents, heard.control, heard.level, self.features.config.hop_samples)

    @torch.no_grad()
    def spectrum_of(self, heard: Analysed, timbre: Tensor | None = None, pitch: Tensor | None = None) -> Tensor:
        """What is drawn, (frames, bins), log-amplitude."""
        return self.model.decode(self.edited(heard, timbre, pitch), heard.control)[0]

    @torch.no_grad()
    def squared_error(self, heard: Analysed) -> float:
        """Of the drawn log-amplitude, per frame and bin, over sounding frames."""
        drawn = self.model.decode(heard.latents, heard.control)
        error = (drawn - heard.spectra.log_amplitude).square().mean(-1)
        return float(error[heard.spectra.sounding].mean())


class Presets:
    """z^t and z^p of instruments near a pitch, averaged over training notes."""

    def __init__(self, instrument: Instrument, train: SoundSet, seconds: float) -> None:
        self._instrument, self._train, self._store = instrument, train, SoundStore(train)
        self._samples, self._known = round(seconds * train.sample_rate), dict[int, tuple[Tensor, Tensor]]()

    def near(self, name: str, note: float) -> tuple[Tensor, Tensor]:
        """(1, D), (1, P), of the few notes nearest in pitch."""
        rows = self._rows(name)
        return self._mean(rows[np.argsort(np.abs(self._train.pitch[rows] - note), kind="stable")[:ANCHOR_NOTES]])

    def everywhere(self, name: str, count: int) -> tuple[Tensor, Tensor]:
        """The same of notes over the whole range."""
        rows = self._rows(name)
        return self._mean(rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)])

    def _rows(self, name: str) -> np.ndarray:
        return np.flatnonzero((self._train.instrument == name) & np.isfinite(self._train.pitch))

    def _mean(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        for row in rows.tolist():
            if row not in self._known:
                heard = self._instrument.analyse(self._store.read(row, 0, self._samples))
                z = heard.latents.averaged(heard.spectra.sounding)
                self._known[row] = z.timbre, z.pitch
        timbre, pitch = zip(*(self._known[row] for row in rows.tolist()), strict=True)
        return torch.cat(timbre).mean(0, keepdim=True), torch.cat(pitch).mean(0, keepdim=True)
