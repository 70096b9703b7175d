"""The kinds of models that a bundle can hold: which graphs each kind has, and with which ports.

A kind that is new gets an entry here, and in `realtime.hop.model` the class that plays it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ports:
    """Name → shape, all float32. States are beside them, with shapes that the bundle alone decides."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclass(frozen=True)
class Sizes:
    """What the ports of a model depend on.

    latents : dimensions by name
    voice : how many numbers a harmonic decoder draws, by name
    """

    bins: int
    latents: Mapping[str, int]
    voice: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    graphs : names of the streaming graphs, in the order in which a hop runs them
    latents : those that a model of this kind must have
    outputs : the ways out to sound that it can feed
    ports : sizes → `Ports` by graph
    """

    graphs: tuple[str, ...]
    latents: tuple[str, ...]
    outputs: tuple[str, ...]
    ports: Callable[[Sizes], Mapping[str, Ports]]


VOICES = 8  # keys that a harmonic model can play at once
CONTROLS = ("f0", "voicing", "loudness")  # what a harmonic decoder is told beside the latents


def _encoder(sizes: Sizes) -> Ports:
    """`rate` is the smallest update weight of the running means, 1/frames. A latent that a model lacks has no ports."""
    return Ports(
        {"envelope": (1, sizes.bins), "fine": (1, sizes.bins), "rate": (1,)},
        {name: (1, size) for name, size in sizes.latents.items()},
    )


def _latents_ports(sizes: Sizes) -> Mapping[str, Ports]:
    """An encoder to latents, which knobs edit, and a decoder of both, as heard (row 0) and as edited (row 1)."""
    return {
        "streaming/encoder": _encoder(sizes),
        "streaming/decoder": Ports(
            {name: (2, size) for name, size in sizes.latents.items()}, {"log_amplitude": (2, sizes.bins)}
        ),
    }


def _harmonic_ports(sizes: Sizes) -> Mapping[str, Ports]:
    """The same, but the decoder is told the pitch, f0 in Hz, voicing and loudness, and draws a voice: what oscillators
    and noise shall play, and its spectrum, with the partials where those of the heard frame lie (`centre_f0`). A
    second decoder draws the voices of keys, without spectra.
    """

    def told(rows: int) -> dict[str, Shape]:
        found: dict[str, Shape] = {name: (rows, size) for name, size in sizes.latents.items()}
        return {**found, **dict.fromkeys(CONTROLS, (rows, 1))}

    def drawn(rows: int) -> dict[str, Shape]:
        found: dict[str, Shape] = {name: (rows, size) for name, size in sizes.voice.items()}
        return found

    return {
        "streaming/encoder": _encoder(sizes),
        "streaming/decoder": Ports({**told(2), "centre_f0": (2, 1)}, {**drawn(2), "log_amplitude": (2, sizes.bins)}),
        "streaming/voices": Ports(told(VOICES), drawn(VOICES)),
    }


KINDS = {
    "latents": Kind(("streaming/encoder", "streaming/decoder"), ("timbre",), ("morph", "resynth"), _latents_ports),
    "harmonic": Kind(
        ("streaming/encoder", "streaming/decoder", "streaming/voices"),
        ("timbre",),
        ("morph", "resynth", "synth"),
        _harmonic_ports,
    ),
}
