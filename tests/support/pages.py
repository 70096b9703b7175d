"""The project's pages, as tests read them: blocks, prose, headings and command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # what a change log quotes may be history


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    found: list[Block] = []
    language, start, lines = "", 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif start:
            found.append(Block(page, start, language, "\n".join(lines)))
            start = 0
        else:
            language, start, lines = line[3:].strip(), number, []
    assert not start, f"{page.name}: the block that begins in line {start} has no end"
    return tuple(found)


def blocks_in(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


@cache
def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of every heading, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", prose(page), flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return frozenset(found)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where each command stands, and its words without comments."""
    for block in blocks_in("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield block.place, words


def modules_run() -> list[tuple[str, str, list[str]]]:
    """Place, module and arguments of every `python -m …`, also of those that torchrun starts."""
    found = []
    for place, words in commands():
        if words[0] == "torchrun":
            at = words.index("-m")
            found += [(place, "torch.distributed.run", words[1:at]), (place, words[at + 1], words[at + 2 :])]
        elif words[:2] == ["python", "-m"]:
            found.append((place, words[2], words[3:]))
    return found
