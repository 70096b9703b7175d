"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Give `path` this content in one step: written beside it, then renamed. A link stays one, and a mode stays.

    Raises
    ------
    OSError
        Nothing is then left behind, and the old file is still whole.
    """
    target = path.resolve()
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
