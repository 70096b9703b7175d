"""Files that are replaced whole or not at all. What is no regular file is written to, and never replaced."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Give `path` this content in one step: written beside it, then renamed. A link stays one, and a mode stays.

    A device, pipe or socket is opened and written to; renaming over it would destroy it.

    Raises
    ------
    OSError
        Nothing is then left behind, and the old file is still whole.
    """
    target = path.resolve()
    if not replaceable(path):
        with path.open("wb") as file:
            file.write(content)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def replaceable(path: Path) -> bool:
    """Whether a file may be renamed to this place: nothing is there, or a regular file, or a link to one."""
    return path.is_file() or not path.exists()
