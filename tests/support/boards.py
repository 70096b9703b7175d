"""A desk with its timbres and snapshots, as a performance has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtime.bundle import Bundle
from realtime.controls.desk import Desk
from realtime.controls.snapshots import Snapshots
from realtime.controls.timbres import Timbres
from realtime.knobs.bank import KnobBank

HEARD = np.array([0.1, -0.2, 1 / 3, 1e-17])


class Board:
    """said : what the user was told;  heard : what a capture keeps"""

    def __init__(self, bundle: Bundle, path: Path, *, keep: bool = True) -> None:
        self.said: list[str] = []
        self.heard: np.ndarray | None = HEARD
        self.desk = Desk(KnobBank(bundle.manifest))
        self.timbres = Timbres(self.desk, bundle.manifest, lambda: self.heard, self.said.append)
        self.snapshots = Snapshots(self.desk, self.timbres, path, self.said.append, keep=keep)

    def turn(self, **values: float) -> None:
        for name, value in values.items():
            self.desk.set(name, value)

    def holds(self, slot: int, timbre: np.ndarray) -> bool:
        held = self.timbres.timbre(slot)
        return held is not None and np.array_equal(held, timbre)

    def values(self) -> dict[str, float]:
        return {
            target.name: float(value)
            for target, value in zip(self.desk.bank.targets, self.desk.bank.values, strict=True)
        }
