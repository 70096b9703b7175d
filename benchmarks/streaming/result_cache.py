"""Measurements that are finished stay finished: each is a JSON file of what it depends on and what it found."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from training.data.manifest import replace_file

ROOT = Path(__file__).resolve().parents[2]
MADE_BY = ("export/causal/*.py", "export/calibration.py", "export/fallbacks.py")
PARTS = ("forms", "players", "quality", "speed")
MEASURED_BY = (
    "export/proof/fidelity.py",
    "export/graphs/*.py",
    "export/quantize/*.py",
    *(f"benchmarks/streaming/{part}.py" for part in PARTS),
)


@cache
def code(patterns: tuple[str, ...]) -> str:
    """A fingerprint of what this source code does; comments and layout do not count."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        found.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class ResultCache:
    """Where they are."""

    folder: Path

    def __call__(self, name: str, depends: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was found under `name` when everything was as it is now, else what `measure` finds.

        depends : beside the code that makes and measures, which counts always
        """
        path = self.folder / f"{name}.json"
        wanted = json.loads(json.dumps(depends | {"code": code(MADE_BY + MEASURED_BY)}))
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["depends"] == wanted:
                found: dict[str, Any] = kept["found"]
                return found
        found = measure()
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps({"depends": wanted, "found": found}, allow_nan=False).encode())
        return found
