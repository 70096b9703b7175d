"""The knobs' targets: what a bundle lets a knob move, in which range."""

from __future__ import annotations

from dataclasses import dataclass, replace

from realtime.bundle import Manifest
from realtime.kinds import VOICES

SLOTS = 8  # timbres that can be captured or loaded beside the bundle's presets
TIMBRE_SECONDS = 2.0  # time constant of the running timbre, unless a knob asks for another
SMOOTHING_SECONDS = 0.02  # unless the knob map asks for another
# Ways out beside morph; where a bundle has one, the knob of this name is its level.
MIXED_OUTPUTS = ("resynth", "synth")
LATENCY_MS = (3.0, 50.0)  # that resynth can be asked for
DEFAULT_LATENCY_MS = 6.0
KEY_TARGETS = tuple(f"{name}[{i}]" for name in ("key", "key_velocity") for i in range(VOICES))  # see realtime.hop.keys
STANDARD_DEVIATIONS = "standard deviations"


class KnobError(Exception):
    """A knob or value that does not exist; the message says what does."""


@dataclass(frozen=True)
class Target:
    """Something a knob can move."""

    name: str
    low: float
    high: float
    default: float
    unit: str
    whole: bool = False  # takes whole numbers only, and is not smoothed


def morph_targets(manifest: Manifest) -> tuple[Target, ...]:
    """What the morph way out knows of: all axes of the bundle, in its order, then four that every bundle has."""
    axes = [Target(axis.name, axis.low, axis.high, 0.0, STANDARD_DEVIATIONS) for axis in manifest.axes]
    return (
        *axes,
        Target("preset", 0, len(manifest.presets), 0, "0 = your own timbre, k = the k-th preset", whole=True),
        Target("preset_amount", 0.0, 1.0, 1.0, "share of the preset in the timbre"),
        Target("mix", 0.0, 1.0, 1.0, "0 = dry, 1 = edited"),
        Target("gain_db", -60.0, 12.0, 0.0, "dB"),
    )


def targets_of(manifest: Manifest) -> tuple[Target, ...]:
    """Everything the session can be told: the targets of `morph_targets`, in their places, then the others. At their
    defaults these do nothing.
    """
    last = len(manifest.presets) + SLOTS
    corner = "as preset, at another corner of the square"
    shared = [replace(target, high=last) if target.name == "preset" else target for target in morph_targets(manifest)]
    return (
        *shared,
        Target("preset_b", 0, last, 0, f"{corner}: x = 1", whole=True),
        Target("preset_c", 0, last, 0, f"{corner}: y = 1", whole=True),
        Target("preset_d", 0, last, 0, f"{corner}: x = y = 1", whole=True),
        Target("x", 0.0, 1.0, 0.0, "place between preset and preset_b, preset_c and preset_d"),
        Target("y", 0.0, 1.0, 0.0, "place between preset and preset_c, preset_b and preset_d"),
        Target("timbre_hold", 0, 1, 0, "1 = the timbre stays as it was", whole=True),
        Target("timbre_seconds", 0.05, 30.0, TIMBRE_SECONDS, "s, time constant of the running timbre"),
        *_variation_targets(manifest),
        *_pitch_targets(manifest),
        Target("resynth", 0.0, 1.0, 0.0, "way out: 0 = morph, 1 = resynth"),
        Target("phase", 0.0, 1.0, 0.0, "resynth: 0 = phases rebuilt from the magnitudes, 1 = the input's"),
        *_synth_targets(manifest),
    )


def mixed_outputs(manifest: Manifest) -> tuple[str, ...]:
    """The ways out beside morph that a bundle has."""
    return tuple(name for name in MIXED_OUTPUTS if name in manifest.outputs)


def _synth_targets(manifest: Manifest) -> tuple[Target, ...]:
    """Of a bundle whose decoder draws harmonics and noise."""
    if manifest.harmonic is None:
        return ()
    return (
        Target("synth", 0.0, 1.0, 0.0, "way out: 0 = morph, 1 = synth"),
        Target("harmonics", 0.0, 2.0, 1.0, "synth: × the harmonics"),
        Target("noise", 0.0, 2.0, 1.0, "synth: × the noise"),
        Target("vibrato", 0.0, 2.0, 1.0, "synth: × the input's vibrato, 0 = flat"),
        Target("attack", 0.0, 1.0, 0.0, "synth: share of the input that passes while a note begins"),
        Target("portamento", 0.0, 5.0, 0.0, "s, in which a key's pitch glides to the next"),
        Target("legato", 0, 1, 0, "1 = one key at a time, tied notes without an attack", whole=True),
        *(Target(f"key[{i}]", -1, 127, -1, "MIDI note of this voice, -1 = none", whole=True) for i in range(VOICES)),
        *(Target(f"key_velocity[{i}]", 0.0, 1.0, 1.0, "of that note") for i in range(VOICES)),
    )


def _variation_targets(manifest: Manifest) -> tuple[Target, ...]:
    if "variation" not in manifest.latents:
        return ()
    return (
        Target("variation_scale", 0.0, 3.0, 1.0, "× the variation"),
        Target("variation_freeze", 0, 1, 0, "1 = the variation stays as it was", whole=True),
        *(Target(axis.name, axis.low, axis.high, 0.0, STANDARD_DEVIATIONS) for axis in manifest.variation_axes),
    )


def _pitch_targets(manifest: Manifest) -> tuple[Target, ...]:
    """Pitch latents; the offsets in semitones and the keys need a bundle that knows what its pitch latents mean, or
    whose decoder is told the pitch.
    """
    latent: tuple[Target, ...] = ()
    if "pitch" in manifest.latents:
        axes = (Target(axis.name, axis.low, axis.high, 0.0, STANDARD_DEVIATIONS) for axis in manifest.pitch_axes)
        latent = (Target("pitch_freeze", 0, 1, 0, "1 = the pitch stays as it was", whole=True), *axes)
    told = manifest.harmonic is not None
    if not (manifest.pitch_anchors or told):
        return latent
    return (
        *latent,
        Target("pitch_semitones", -24.0, 24.0, 0.0, f"semitones{'' if told else ', along the learned pitch curve'}"),
        Target("keys", 0, 1, 0, f"1 = in {'re' * (not told)}synth, MIDI notes play the frozen sound", whole=True),
        Target("note", -1, 127, -1, "MIDI note held, -1 = none", whole=True),
        Target("note_velocity", 0.0, 1.0, 1.0, "of that note"),
    )
