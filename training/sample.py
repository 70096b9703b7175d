"""python -m training.sample ckpt.pt --instrument Violin --pitch 60 --out note.wav: a note of a mixture model (S3), made
from its priors alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from training.checkpoint import CheckpointError, load_checkpoint
from training.console import run_command
from training.data.options import Parser
from training.features import FeatureConfig
from training.models.latents import Latents
from training.models.mixture import MixtureVAE
from training.plots import griffin_lim, spectrogram_figure

PEAK = 0.89  # −1 dBFS


class SampleError(Exception):
    """A note that cannot be made; the message says what can."""


@torch.no_grad()
def draw_latents(
    model: MixtureVAE, instruments: list[int], pitches: list[int], *, seed: int, spread: float = 1.0
) -> Latents:
    """z^t and z^p drawn from the components of the instruments (indices) and pitches (MIDI notes), (sounds, D) each.

    spread : times the components' standard deviations; 0 takes their means
    """
    c = model.config
    noise = torch.randn(2, len(instruments), c.latent_dim, generator=torch.Generator().manual_seed(seed)).to(
        model.timbre_means
    )
    notes = torch.tensor(pitches, device=noise.device) - c.lowest_pitch
    return Latents(
        timbre=model.timbre_means[instruments] + spread * c.timbre_sigma * noise[0],
        pitch=model.pitch_means[notes] + spread * c.pitch_sigma * noise[1],
    )


@torch.no_grad()
def sample_note(
    model: MixtureVAE, features: FeatureConfig, instrument: str, pitch: int, *, seed: int, spread: float = 1.0
) -> np.ndarray:
    """The sound of one drawn note, (samples,), float32, peak at −1 dBFS.

    Raises
    ------
    SampleError
        If the model knows no such instrument or pitch; the message lists those it knows.
    """
    c = model.config
    if instrument not in c.instruments:
        raise SampleError(f"this model knows no {instrument!r}; it knows {', '.join(c.instruments)}")
    highest = c.lowest_pitch + c.pitches - 1
    if not c.lowest_pitch <= pitch <= highest:
        raise SampleError(f"this model knows no pitch {pitch}; it knows the MIDI notes {c.lowest_pitch} … {highest}")
    z = draw_latents(model, [c.instruments.index(instrument)], [pitch], seed=seed, spread=spread)
    return as_sound(model.decode(z)[0].cpu().numpy(), features)


def as_sound(log_amplitude: np.ndarray, features: FeatureConfig) -> np.ndarray:
    """Griffin-Lim of (frames, bins), peak at −1 dBFS, float32."""
    sound = griffin_lim(log_amplitude, features)
    return (sound * (PEAK / max(1e-9, float(np.abs(sound).max())))).astype(np.float32)


@torch.no_grad()
def log_samples(logger: Any, model: MixtureVAE, features: FeatureConfig, pitches: list[int], step: int) -> None:
    """A drawn note of each of the first instruments to TensorBoard, as picture and sound; other loggers get nothing."""
    writer: Any = getattr(logger, "experiment", None)
    if writer is None or not hasattr(writer, "add_figure"):
        return
    count = min(len(pitches), len(model.config.instruments))
    z = draw_latents(model, list(range(count)), pitches[:count], seed=0)
    decoded = model.decode(z).cpu().numpy()
    rows = {f"{model.config.instruments[i]} {pitches[i]}": decoded[i] for i in range(count)}
    writer.add_figure("drawn", spectrogram_figure(rows, features), step)
    for name, log_amplitude in rows.items():
        writer.add_audio(
            f"drawn_{name.replace(' ', '_')}", as_sound(log_amplitude, features), step, features.sample_rate
        )


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m training.sample", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--instrument", required=True, help="a name the model was trained with")
    parser.add_argument("--pitch", type=int, required=True, help="MIDI note")
    parser.add_argument("--out", type=Path, required=True, help="WAV file to write")
    parser.add_argument(
        "--spread", type=float, default=1.0, help="times the components' standard deviations; 0: the typical note"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        checkpoint = load_checkpoint(options.checkpoint)
        if not isinstance(checkpoint.model, MixtureVAE):
            raise SampleError(
                f"{options.checkpoint} is of kind {checkpoint.model.KIND}, only {MixtureVAE.KIND} has priors to draw "
                "from; "
                "train one with: python -m training.train fit --config training/recipes/luo2019-small.yaml"
            )
        sound = sample_note(
            checkpoint.model,
            checkpoint.features,
            options.instrument,
            options.pitch,
            seed=options.seed,
            spread=options.spread,
        )
        soundfile.write(options.out, sound, checkpoint.features.sample_rate)
    except (CheckpointError, SampleError, OSError, soundfile.LibsndfileError) as error:
        print(f"training.sample: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(
        f"{options.out}: {options.instrument}, MIDI note {options.pitch}, "
        f"{len(sound) / checkpoint.features.sample_rate:.2f} s"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
