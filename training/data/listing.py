"""The files of a folder of recordings: by links as well, whatever the bytes of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from training.data.labels import as_text, counted

_MORE_SUFFIXES = {"aif", "aifc", "oga", "opus", "snd", "wave", "sf", "nist", "sph"}
_SHOWN = 5  # names in a remark


@dataclass(frozen=True)
class Listing:
    """audio, others : paths relative to the folder with /, in order, as the system has them (not all are text)
    remarks : what was passed over, a sentence each
    """

    audio: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def audio_suffixes() -> frozenset[str]:
    """File name endings of the formats libsndfile reads, with the dot, lower case. (Raw samples have no header: they
    are not among them.)
    """
    return frozenset(f".{name.lower()}" for name in {*soundfile.available_formats(), *_MORE_SUFFIXES} - {"RAW"})


def list_files(source: Path) -> Listing:
    """Every file under a folder: those of audio formats, and the others. Hidden ones are passed over.

    Links to folders are followed; a folder that is reached twice is read once, where it lies rather than by a link.
    """
    paths, twice, closed = _walk(source)
    found, suffixes, broken = Listing(), audio_suffixes(), []
    for path in sorted(paths):
        name = path.relative_to(source).as_posix()
        if path.is_file():
            (found.audio if path.suffix.lower() in suffixes else found.others).append(name)
        elif path.is_symlink():
            broken.append(path)
    for what, those in (
        ("link to a folder that is read already", twice),
        ("link that leads nowhere", broken),
        ("folder that cannot be read", closed),
    ):
        if those:
            word, _, rest = what.partition(" ")
            names = ", ".join(as_text(path.relative_to(source).as_posix()) for path in those[:_SHOWN])
            found.remarks.append(f"{counted(len(those), word)} {rest}, left out: {names}")
    return found


def _walk(source: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Files, links to folders that are there already, folders that cannot be read."""
    paths: list[Path] = []
    twice: list[Path] = []
    closed: list[Path] = []
    seen: set[str] = set()
    waiting = [source]
    while waiting:
        links: list[Path] = []
        for top in waiting:
            if os.path.realpath(top) in seen:
                twice.append(top)
                continue
            for folder, folders, files in _readable(top, closed):
                real = os.path.realpath(folder)
                folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
                if real not in seen:
                    seen.add(real)
                    links += [folder / name for name in folders if (folder / name).is_symlink()]
                    paths += [folder / name for name in files if not name.startswith(".")]
        waiting = links
    return paths, twice, closed


def _readable(top: Path, closed: list[Path]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk`, which does not go through links, with the folders that it could not read."""
    for folder, folders, files in os.walk(top, onerror=lambda error: closed.append(Path(os.fsdecode(error.filename)))):
        yield Path(folder), folders, files
