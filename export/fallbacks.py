"""The form of a model that streams: the model itself if it does, else the fallback asked for (docs/architecture.md)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.calibration import Calibration
from export.causal.distil import DistillationPlan, Outcome, check_minutes, teach
from export.causal.fold import CalibrationBatch
from export.errors import ExportError
from export.graphs.windowed import MOST_FRAMES, WindowedVAE
from export.streaming_play import live_features
from export.systems import System, system_of
from training.checkpoint import Checkpoint
from training.features import FeatureExtractor
from training.models.encoders import MOST_LOOKAHEAD
from training.models.latents import TimbreVAE, parameters_of

BATCH = 32
MOST_WORK = 1.2e12  # parameters × frames: larger models are folded on fewer sounds, so that it stays within a minute
FEWEST_SOUNDS = 24
FOLD_SOUNDS = 450  # at most, that a model is folded on


@dataclass(frozen=True)
class Wanted:
    """How a model that does not stream becomes causal.

    distil_minutes : 0 for none;  lookahead : frames
    window_frames : of the windowed original, 0 for a causal model
    """

    distil_minutes: float = 0.0
    lookahead: int = 0
    window_frames: int = 0


@dataclass(frozen=True)
class Fallback:
    """A model that streams.

    name : "causal", "sliding", "folded", "distilled", "student" or "windowed"
    outcome : of the distillation, if there was one
    """

    name: str
    model: TimbreVAE
    outcome: Outcome | None = None


def make_fallback(
    checkpoint: Checkpoint, calibration: Calibration, wanted: Wanted, plan: DistillationPlan | None = None
) -> Fallback:
    """The form that streams.

    plan : how a distillation runs and where it keeps its state; None: for the minutes wanted, without a state

    Raises
    ------
    ExportError
        If the model cannot have this form.
    """
    system, model = system_of(checkpoint.model), checkpoint.model
    _check(system, model, wanted)
    if wanted.window_frames:
        return Fallback("windowed", WindowedVAE(model, wanted.window_frames, wanted.lookahead))
    if not system.recurrent:
        causal, name = model, "sliding"
    elif not model.config.bidirectional:
        return Fallback("causal", model)
    else:
        batches = calibration_batches(checkpoint, calibration.fit[:FOLD_SOUNDS])
        causal, name = system.fold(model, batches, wanted.lookahead), "folded"
    if not wanted.distil_minutes:
        return Fallback(name, causal)
    lessons = system.lessons(model, causal, checkpoint.features, calibration.fit, calibration.held_out)
    outcome = teach(lessons, plan or DistillationPlan(wanted.distil_minutes))
    return Fallback("distilled" if system.recurrent else "student", lessons.student, outcome)


def _check(system: System, model: TimbreVAE, wanted: Wanted) -> None:
    check_minutes(wanted.distil_minutes)
    options = {
        "--distil-minutes": wanted.distil_minutes,
        "--lookahead": wanted.lookahead,
        "--window-frames": wanted.window_frames,
    }
    asked = [name for name, value in options.items() if value]
    if not system.recurrent and any(name != "--distil-minutes" for name in asked):
        raise ExportError(
            f"{asked[-1]} is for recurrent models; this one hears a window of fixed length anyway: leave it out"
        )
    if system.recurrent and not model.config.bidirectional and asked:
        raise ExportError(
            f"{asked[0]} is for bidirectional models; this one is causal already and streams as it is: leave it out"
        )
    if not 0 <= wanted.lookahead <= MOST_LOOKAHEAD:
        raise ExportError(f"--lookahead {wanted.lookahead} must lie in 0 … {MOST_LOOKAHEAD} frames")
    if wanted.window_frames and not wanted.lookahead + 2 <= wanted.window_frames <= MOST_FRAMES:
        raise ExportError(
            f"--window-frames {wanted.window_frames} must lie in {wanted.lookahead + 2} … {MOST_FRAMES} frames"
        )
    if wanted.window_frames and wanted.distil_minutes:
        raise ExportError(
            "--window-frames streams the original itself, so there is nothing to distil; leave out one of the two"
        )


def calibration_batches(checkpoint: Checkpoint, audio: Tensor) -> list[CalibrationBatch]:
    """Frames of calibration sounds, as the original and as the runtime make them; as many as the model's size allows.

    audio : (sounds, samples)
    """
    whole, live = FeatureExtractor(checkpoint.features), live_features(checkpoint.features)
    frames = audio.shape[1] // checkpoint.features.hop_samples
    most = max(FEWEST_SOUNDS, int(MOST_WORK / (parameters_of(checkpoint.model) * max(1, frames))))
    same = checkpoint.features.normalisation == "running"
    found = []
    for part in audio[:most].split(BATCH):
        spectra = whole(part)
        found.append(CalibrationBatch(spectra, spectra if same else live(part)))
    return found


def distillation_plan(source: Path, wanted: Wanted, calibration: Calibration, state_file: Path) -> DistillationPlan:
    """The plan that distils this checkpoint's student; only the same plan resumes its state.

    state_file : beside the bundle
    """
    about = {
        "lookahead": wanted.lookahead,
        "sounds": calibration.source,
        "count": len(calibration.fit),
        "torch": str(torch.__version__),
    }
    with source.open("rb") as file:
        about["checkpoint"] = hashlib.file_digest(file, "sha256").hexdigest()
    return DistillationPlan(wanted.distil_minutes, state_file, json.dumps(about, sort_keys=True))
