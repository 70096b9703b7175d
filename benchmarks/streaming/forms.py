"""The forms of a model that stream, made one after another and only where something is still to be measured of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.streaming.result_cache import MADE_BY, code
from benchmarks.streaming.ways import ORIGINAL, Effort, Subject, Way
from export.calibration import Calibration, calibration_sounds
from export.fallbacks import distillation_plan, make_fallback
from export.streaming_play import live_features
from export.systems import system_of
from training.features import Spectra
from training.models.latents import TimbreVAE

HELD_OUT_SECONDS = 10.0


@dataclass(frozen=True)
class MadeForm:
    """about : seconds it took, and what a distillation came to"""

    model: TimbreVAE
    about: dict[str, Any]


class Forms:
    """Of one subject.  work : folder where distillations are kept, finished ones too"""

    def __init__(self, subject: Subject, effort: Effort, work: Path) -> None:
        self.subject, self.effort, self._work = subject, effort, work
        self._made: dict[str, MadeForm] = {}

    @cached_property
    def calibration(self) -> Calibration:
        return calibration_sounds(self.subject.checkpoint, None, limit=self.effort.calibration)

    @cached_property
    def lessons(self) -> Calibration:
        """For students: many sounds as long as those of the training."""
        seconds = float(self.subject.checkpoint.info.get("segment_seconds", 1.0))
        return calibration_sounds(self.subject.checkpoint, None, seconds=seconds, limit=self.effort.lessons)

    @cached_property
    def held_out(self) -> Spectra:
        """Held-out sounds in a row, as the runtime frames them, (1, frames, bins)."""
        features = self.subject.checkpoint.features
        return live_features(features)(
            self.calibration.held_out.reshape(1, -1)[:, : round(HELD_OUT_SECONDS * features.sample_rate)]
        )

    def __call__(self, way: Way) -> MadeForm:
        if way.name not in self._made:
            self._made[way.name] = self._make(way)
        return self._made[way.name]

    @torch.no_grad()
    def _make(self, way: Way) -> MadeForm:
        model = self.subject.checkpoint.model
        if way.wanted is None:
            return MadeForm(model if way.name == ORIGINAL else system_of(model).drop(model, 0), {})
        plan, sounds = None, self.calibration
        if way.wanted.distil_minutes:
            sounds = self.lessons
            assert self.subject.source is not None
            self._work.mkdir(parents=True, exist_ok=True)
            plan = distillation_plan(
                self.subject.source, way.wanted, sounds, self._work / f"{way.key}-{way.wanted.distil_minutes:g}.state"
            )
            plan = replace(plan, fingerprint=json.dumps([plan.fingerprint, code(MADE_BY)]))
        started = time.monotonic()
        with torch.enable_grad():
            fallback = make_fallback(self.subject.checkpoint, sounds, way.wanted, plan)
        about: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1)}
        if fallback.outcome:
            about |= vars(fallback.outcome) | {"threads": torch.get_num_threads()}  # its seconds count earlier runs too
        return MadeForm(fallback.model, about)
