"""The file for Neutone: which knobs it offers, and that they move what the runtime's knobs move."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from export.fallbacks import Wanted
from export.host_file import playable
from export.hosts.neutone import macro_module, macros_of, verify_macros
from export.hosts.parts import Parts, macro_axes
from realtime.bundle import Axis
from tests.support.host_files import HOP, LIVE, sound_of
from training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def live() -> Iterator[Parts]:
    with playable(load_checkpoint(LIVE), "live", None, Wanted()) as parts:
        yield parts


def test_macros_are_the_axes_that_do_most_of_what_they_say() -> None:
    def axis(name: str, effect: float, correlation: float | None) -> Axis:
        descriptor = name if correlation else None
        return Axis(
            name=name, label=name, direction=(1.0,), effect_db=effect, descriptor=descriptor, correlation=correlation
        )

    axes = (
        axis("raw[0]", 9, None),
        axis("timbre[0]", 1, None),
        axis("timbre[1]", 5, None),
        axis("a", 2, 0.5),
        axis("b", 2, -0.9),
        axis("c", 1, 0.1),
    )
    assert [chosen.name for chosen in macro_axes(axes, 4)] == ["b", "a", "c", "timbre[1]"]


def test_neutones_macros_move_what_the_runtimes_knobs_move(live: Parts) -> None:
    assert [axis.name for axis in macros_of(live)] == ["brightness", "noisiness", "attack", "odd_even"]
    module = macro_module(live)
    assert verify_macros(module, dataclasses.replace(live, sound=live.sound[: 150 * HOP])) < 1e-4
    sound = torch.from_numpy(sound_of(0.1)[0])
    with torch.no_grad():
        module.reset()
        first = module(sound, torch.tensor([1.0, 0.5, 0.5, 0.5]))
        assert module.reset()
        assert torch.equal(module(sound, torch.tensor([1.0, 0.5, 0.5, 0.5])), first)
        module.reset()
        assert torch.equal(module(sound, torch.full((4,), 0.5)), sound), "half is rest"
