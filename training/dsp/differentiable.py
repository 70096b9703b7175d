"""What a harmonic decoder draws, as sound, for training: `training.dsp.synthesis` on batches, with gradients.

Amplitudes, offsets and noise have gradients. Phases have none: a spectral distance leads no frequency to the right one
(Turian 2020), so pitch is given and the inharmonicity is learned from frames. That also makes it fast: the oscillators
are a fixed matrix per hop, and what they play is a product with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.dsp.synthesis import HIGHEST_SHARE, LOBE_POWER, MOST_PARTIALS, NOISE_LOG
from training.models.harmonic import SMALLEST_POWER, Control, HarmonicVAE, Voice, a_weighting, cosines_at, noise_level


def render(
    model: HarmonicVAE, voice: Voice, control: Control, level: Tensor, hop_samples: int, source: Tensor
) -> Tensor:
    """The sounds of a batch, in step with those that were analysed.

    Parameters
    ----------
    voice, control : of the same frames
    level : (batch, frames), linear, the A-weighted level of every frame
    hop_samples : int
    source : (batch, `noise_samples`), standard normal, of which the noise is made

    Returns
    -------
    Tensor, (batch, frames · hop_samples)
    """
    noise = torch.exp(noise_level(model, voice) + NOISE_LOG)
    noise_power = (noise * model.weighting).square().sum(-1)
    sounds, scales = [], []
    for i in range(len(level)):
        frequency, amplitude = _partials(model, Voice(*(part[i] for part in voice)), Control(*(c[i] for c in control)))
        power = LOBE_POWER * (amplitude * a_weighting(frequency).float()).square().sum(-1) + noise_power[i]
        scales.append(level[i] / power.clamp_min(SMALLEST_POWER).sqrt())
        late = (model.config.window_samples // 2) / hop_samples
        tones = oscillators(frequency / model.config.sample_rate, amplitude * scales[-1][:, None], hop_samples, late)
        sounds.append(tones)
    hiss = filtered_noise(noise * torch.stack(scales)[..., None], hop_samples, source)
    return torch.stack(sounds) + hiss


def noise_samples(model: HarmonicVAE, frames: int, hop_samples: int) -> int:
    """How many random numbers the noise of so many frames takes."""
    return frames * hop_samples + 2 * model.config.window_samples


def _partials(model: HarmonicVAE, voice: Voice, control: Control) -> tuple[Tensor, Tensor]:
    """Frequencies in Hz, float64 and without gradient, and amplitudes of one sound's partials, (frames, partials)."""
    c, f0 = model.config, control.f0.double()
    nyquist, voiced = c.sample_rate / 2, f0[control.voicing > 0]
    lowest = float(voiced.min()) if len(voiced) else nyquist
    order = torch.arange(1, min(MOST_PARTIALS, int(nyquist / lowest)) + 1, dtype=torch.float64, device=f0.device)
    bend = voice.inharmonicity.detach().double()
    frequency = f0[:, None] * order * torch.sqrt(1 + bend[:, None] * order.square())
    cosines = cosines_at(frequency.float().clamp(max=nyquist), c.envelope_cosines, c.sample_rate)
    own = min(len(order), c.offsets)
    log = torch.einsum("tk,kth->th", voice.envelope, cosines)
    log = log + nn.functional.pad(voice.offsets[:, :own], (0, len(order) - own))
    audible = frequency < HIGHEST_SHARE * nyquist
    return frequency, torch.exp(log) * control.voicing[:, None] * audible


def oscillators(frequency: Tensor, amplitude: Tensor, hop_samples: int, late_hops: float) -> Tensor:
    """Σ a cos φ of one sound, (frames · hop_samples,), everything interpolated between frames.

    frequency : (frames, partials), float64, cycles per sample, at the end of every hop
    amplitude : (frames, partials), of `late_hops` hops before
    """
    frames, count = frequency.shape
    before = torch.cat([frequency[:1], frequency[:-1]])
    hops = torch.cumsum(0.5 * (before + frequency) * hop_samples, 0)
    number = torch.arange(count, dtype=torch.float64, device=frequency.device)
    start = (hops - 0.5 * (before + frequency) * hop_samples + 0.7 / (2 * math.pi) * number.square()) % 1.0
    slope, bend = (part.float()[:, None] for part in (before, (frequency - before) / (2 * hop_samples)))
    time = torch.arange(1, hop_samples + 1, dtype=torch.float32, device=frequency.device)[:, None]
    phase = start.float()[:, None] + time * (slope + time * bend)  # cycles, (frames, samples, partials)
    basis = phase.mul_(2 * math.pi).cos_()
    # A sample lies between two frames, and a hop touches at most three of them.
    whole = math.floor(late_hops)
    place = (time - 0.5) / hop_samples + (late_hops - whole)
    weight = (1 - (place - torch.arange(3, device=time.device)).abs()).clamp_min(0)
    near = torch.arange(frames, device=time.device)[:, None] + torch.arange(whole - 1, whole + 2, device=time.device)
    played = torch.bmm(basis, amplitude[near.clamp(0, frames - 1)].transpose(1, 2))
    return (played * weight).sum(-1).flatten()


def filtered_noise(spectra: Tensor, hop_samples: int, source: Tensor) -> Tensor:
    """Noise whose frames have these root mean square amplitudes, (batch, frames · hop_samples).

    spectra : (batch, frames, bins), of the frames' middles
    source : (batch, `noise_samples`), standard normal
    """
    frames, window = spectra.shape[1], 2 * (spectra.shape[-1] - 1)
    step, samples = window // 4, frames * hop_samples
    shape = torch.hann_window(window, device=source.device, dtype=source.dtype)
    scale = shape.sum() / (2 * shape.square().sum().sqrt())
    starts = torch.arange(0, samples + window, step, device=source.device)
    pieces = torch.fft.rfft(source.unfold(-1, window, step)[:, : len(starts)] * shape) * scale
    middle = (starts - window / 2) / hop_samples + (window // 2) / hop_samples
    row = (torch.round(middle) - 1).long().clamp(0, frames - 1)
    heard = torch.fft.irfft(pieces * spectra[:, row], window) * shape
    size = (1, samples + 2 * window)
    layout = {"output_size": size, "kernel_size": (1, window), "stride": (1, step)}
    count = (size[1] - window) // step + 1
    heard = nn.functional.pad(heard, (0, 0, 0, count - len(starts)))
    weight = nn.functional.pad(shape.square().expand(len(starts), -1), (0, 0, 0, count - len(starts)))
    total, weight = (nn.functional.fold(part.transpose(-1, -2), **layout) for part in (heard, weight[None]))
    return (total / weight.clamp_min(1e-3))[:, 0, 0, window : window + samples]
