"""report.md, report.json and figures: what every system's evaluation writes with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Picture

from training.data.manifest import replace_file

PACKAGES = ("torch", "numpy", "scikit-learn")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


class Footnotes:
    """Sentences that explain missing figures, numbered as they come; the same sentence keeps its number."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def mark(self, sentence: str) -> str:
        """' (2)', to put behind a figure."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return f" ({self.sentences.index(sentence) + 1})"

    def text(self) -> str:
        return "".join(f"({number}) {sentence}  \n" for number, sentence in enumerate(self.sentences, 1))


def picture(size: tuple[float, float]) -> Picture:
    """An empty figure, in inches, that needs no display."""
    matplotlib.use("Agg", force=False)
    return Picture(figsize=size, layout="constrained")


def save_picture(figure: Picture, folder: Path, name: str, caption: str) -> str:
    """Write `name`.png into the folder; returns the Markdown that shows it there."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.png", buffer.getbuffer())
    return f"![{caption}]({name}.png)\n"


def write_report(folder: Path, text: str, content: dict[str, Any]) -> None:
    """report.md and report.json, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "report.md", text.encode())
    replace_file(
        folder / "report.json", (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )


def environment() -> dict[str, Any]:
    """Machine and versions."""
    machine = {
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }
    return machine | {package: version(package) for package in PACKAGES}


def command_line(program: str, arguments: Sequence[str]) -> str:
    """The command as it was given, folders left out."""
    return " ".join(
        [
            program,
            *(Path(word).name if "/" in word and not word.startswith("-") else _named(word) for word in arguments),
        ]
    )


def _named(word: str) -> str:
    option, equals, value = word.partition("=")
    return f"{option}={Path(value).name}" if equals and "/" in value else word


def short_names(paths: Sequence[Path]) -> list[str]:
    """What tells the paths apart: 'three' and 'two' for 'runs/three/best.pt' and 'runs/two/best.pt'; the file's name
    where one is alone.
    """
    if len(paths) == 1:
        return [paths[0].stem]
    whole = [path.resolve().with_suffix("").parts for path in paths]
    while len({parts[-1] for parts in whole}) == 1 and min(map(len, whole)) > 1:
        whole = [parts[:-1] for parts in whole]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [f"{path.stem} ({number})" for number, path in enumerate(paths, 1)]
