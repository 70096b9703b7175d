"""What tests of training.evaluate share: its options for a tiny data set, and readers of its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SMALL = ["--train-sounds", "120", "--test-sounds", "40", "--seconds", "0.5"]


def cells_of(section: str) -> list[list[str]]:
    """The rows of its table, below the header."""
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def rows_of(out: Path) -> dict[str, Any]:
    content = json.loads((out / "report.json").read_text())
    rows = content["results"]["perturbation_vae"]["rows"]
    assert isinstance(rows, dict)
    return rows
