"""The ways out that a session offers.

A new one is added here, and its name to `realtime.knobs.targets.MIXED_OUTPUTS`.
"""

from __future__ import annotations

from realtime.bundle import Manifest
from realtime.dsp.deadline import Deadline
from realtime.outputs.base import Output
from realtime.outputs.morph import Morph
from realtime.outputs.resynth.output import ResynthOutput
from realtime.outputs.resynth.resynth import Resynth
from realtime.outputs.synth.output import SynthOutput


def make_outputs(
    manifest: Manifest,
    channels: int,
    device_rate: float,
    latency_ms: float,
    fade_samples: int,
    most: int,
    deadline: Deadline,
) -> tuple[Output, ...]:
    """The ways out that a bundle of this kind can feed, the morph first.

    latency_ms : of those that may choose it;  fade_samples : of every change;  most : largest block, samples
    deadline : says when a block is about to be late
    """
    features = manifest.features
    outputs: list[Output] = [
        Morph(features, channels, device_rate, fade_samples, most),
        ResynthOutput(features, channels, device_rate, latency_ms, fade_samples, most, deadline),
    ]
    if manifest.harmonic is not None:
        outputs.append(SynthOutput(features, manifest.harmonic, channels, device_rate, fade_samples, most))
    return tuple(outputs)


def output_latencies(manifest: Manifest, device_rate: float, latency_ms: float) -> dict[str, int]:
    """Each way out's own latency by its name, samples at the device's rate, without making them whole."""
    resynth = Resynth(manifest.features, device_rate, latency_ms, 1)
    found = {Morph.name: Morph.latency_samples, ResynthOutput.name: resynth.latency_samples}
    return found | ({SynthOutput.name: SynthOutput.latency_samples} if manifest.harmonic is not None else {})
