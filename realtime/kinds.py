"""The kinds of models that a bundle can hold: which graphs each kind has, and with which ports.

A kind that is new gets an entry here, and in `realtime.hop.model` the class that plays it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ports:
    """Name → shape, all float32. States are beside them, with shapes that the bundle alone decides."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    graphs : names of the streaming graphs, in the order in which a hop runs them
    latents : those that a model of this kind must have
    ports : (bins, latent sizes by name) → `Ports` by graph
    """

    graphs: tuple[str, ...]
    latents: tuple[str, ...]
    ports: Callable[[int, Mapping[str, int]], Mapping[str, Ports]]


def _latents_ports(bins: int, latents: Mapping[str, int]) -> Mapping[str, Ports]:
    """An encoder to latents, which knobs edit, and a decoder of both, as heard (row 0) and as edited (row 1).

    `rate` is the smallest update weight of the running means, 1/frames. A latent that a model lacks has no ports."""
    return {
        "streaming/encoder": Ports(
            {"envelope": (1, bins), "fine": (1, bins), "rate": (1,)},
            {name: (1, size) for name, size in latents.items()},
        ),
        "streaming/decoder": Ports({name: (2, size) for name, size in latents.items()}, {"log_amplitude": (2, bins)}),
    }


KINDS = {"latents": Kind(("streaming/encoder", "streaming/decoder"), ("timbre",), _latents_ports)}
