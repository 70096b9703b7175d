"""Sounds dealt to train, validation and test so that what belongs together stays together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "validation", "test")


def draw_splits(instrument: str, count: int, *, shares: Sequence[float], seed: int) -> list[str]:
    """Splits for so many things of one instrument: at random, as evenly in the given shares of `SPLITS` as their number
    allows.
    """
    rng = np.random.default_rng([seed, *instrument.encode()])
    positions = (rng.permutation(count) + rng.random()) / count
    return [SPLITS[int(index)] for index in np.searchsorted(np.cumsum(shares)[:-1], positions, side="right")]


def deal(instruments: Sequence[str], groups: Sequence[str], *, shares: Sequence[float], seed: int) -> list[str]:
    """The split of each sound. Within an instrument, groups go to the splits at random in the given shares; a group is
    never divided.

    A split that would stay empty over the whole set takes the smallest group of the one with the most, if that can
    spare one; train always does.

    Parameters
    ----------
    instruments, groups : one per sound; a group belongs to one instrument
    shares : of `SPLITS`
    """
    members: dict[str, dict[str, int]] = {}
    for instrument, group in zip(instruments, groups, strict=True):
        sizes = members.setdefault(instrument, {})
        sizes[group] = sizes.get(group, 0) + 1
    chosen: dict[tuple[str, str], str] = {}
    for instrument, sizes in members.items():
        drawn = draw_splits(instrument, len(sizes), shares=shares, seed=seed)
        chosen.update({(instrument, group): split for group, split in zip(sizes, drawn, strict=True)})
    for split, share in zip(SPLITS, shares, strict=True):
        if share > 0 and split not in chosen.values():
            _move_one(chosen, members, split)
    return [chosen[key] for key in zip(instruments, groups, strict=True)]


def _move_one(chosen: dict[tuple[str, str], str], members: dict[str, dict[str, int]], split: str) -> None:
    held = {name: [key for key, value in chosen.items() if value == name] for name in SPLITS}
    donor = max(SPLITS, key=lambda name: len(held[name]))
    if len(held[donor]) > 1 or split == SPLITS[0]:
        chosen[min(held[donor], key=lambda key: (members[key[0]][key[1]], key))] = split
