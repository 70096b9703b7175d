"""The snapshots of one file in memory.

The file is read again when another program changed it, and written when a snapshot was stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from realtime.controls.snapshot_file import Snapshot, SnapshotError, read_snapshots, write_snapshots

WRITE_SECONDS = 0.5  # between two writings of the file


class SnapshotStore:
    """Holds snapshots by number.

    path : the file; need not be there yet
    check : called with each snapshot that was read and the place to name in an error
    keep : whether stored snapshots shall be written to the file

    Raises
    ------
    SnapshotError
        The file is there and cannot be used.
    """

    def __init__(self, path: Path, check: Callable[[Snapshot, str], None], *, keep: bool) -> None:
        self._path, self._check, self._keep = path, check, keep
        self._kept: dict[int, Snapshot] = {}
        self._version: tuple[int, int] | None = None  # of the file as last read or written
        self._unwritten, self._next_write = False, 0.0
        self.refresh()

    def all(self) -> list[Snapshot]:
        return sorted(self._kept.values(), key=lambda snapshot: snapshot.number)

    def number(self, wanted: str) -> int:
        """The snapshot meant by a number or a name. Raises SnapshotError if it is not there."""
        text = wanted.strip()
        found = [s.number for s in self.all() if str(s.number) == text or s.name.casefold() == text.casefold() != ""]
        if not found:
            there = ", ".join(s.title.removeprefix("snapshot ") for s in self.all()) or "none yet"
            raise SnapshotError(f"no snapshot {wanted!r} in {self._path}; there are: {there}")
        return found[0]

    def get(self, number: int) -> Snapshot:
        """Raises SnapshotError if it is not there, or the file was changed and cannot be used."""
        self.refresh()
        if number not in self._kept:
            raise SnapshotError(f"there is no snapshot {number} in {self._path}")
        return self._kept[number]

    def find(self, number: int) -> Snapshot | None:
        return self._kept.get(number)

    def put(self, snapshot: Snapshot) -> None:
        """In place of the one of its number; in the file with the next `write`."""
        self._kept[snapshot.number] = snapshot
        self._unwritten = True

    def refresh(self) -> None:
        """Read the file, if somebody else has changed it. What is not written yet wins over it."""
        version = _version(self._path)
        if version in (None, self._version) or self._unwritten:
            return
        kept = read_snapshots(self._path)
        for snapshot in kept.values():
            self._check(snapshot, f"{self._path}: snapshot {snapshot.number}")
        self._kept, self._version = kept, version

    def write(self, *, now: bool) -> None:
        """Write what is not written yet, but not too often unless it has to be `now`.

        Raises SnapshotError. The snapshots are then still unwritten.
        """
        if not (self._unwritten and self._keep) or not (now or time.monotonic() >= self._next_write):
            return
        self._next_write = time.monotonic() + WRITE_SECONDS
        write_snapshots(self._path, self.all())
        self._unwritten, self._version = False, _version(self._path)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
