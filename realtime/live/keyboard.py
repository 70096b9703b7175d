"""Typed lines, while playing: read without ever waiting for them, and only from a terminal that is ours to read."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
from typing import Any

BACKSPACES = "\x7f\b"
ERASE_LINE = "\x15"  # Ctrl-U


class Keyboard:
    """Standard input, if it is a terminal.

    quiet : the terminal shall not show what is typed; whoever rewrites the last line shows `pending` there
    pipe : read it even if it is none
    """

    def __init__(self, *, quiet: bool = False, pipe: bool = False) -> None:
        self.pending = ""
        terminal = sys.stdin is not None and sys.stdin.isatty()
        self._open = terminal or (pipe and sys.stdin is not None)
        self._pipe = not terminal
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._restore: Any = None
        if not self._open:
            return
        if sys.platform == "win32":
            threading.Thread(target=self._read_lines, daemon=True).start()
        elif terminal and quiet and self._ours():
            self._restore = _without_echo(sys.stdin.fileno())

    @property
    def listening(self) -> bool:
        return self._open

    def poll(self) -> list[str]:
        """The lines that were finished since the last call."""
        if sys.platform == "win32":
            found = []
            with contextlib.suppress(queue.Empty):
                while True:
                    found.append(self._lines.get_nowait())
            return found
        if not (self._open and self._ours() and select.select([sys.stdin.fileno()], [], [], 0)[0]):
            return []
        try:
            content = os.read(sys.stdin.fileno(), 4096)
        except OSError:
            content = b""
        if not content:  # Ctrl-D, or the terminal is gone
            self._open = False
        return self._assemble(content.decode(errors="ignore"))

    def close(self) -> None:
        if self._restore is not None:
            self._restore()
            self._restore = None

    def _assemble(self, text: str) -> list[str]:
        lines = []
        for character in text:
            if character in "\r\n":
                lines.append(self.pending)
                self.pending = ""
            elif character in BACKSPACES:
                self.pending = self.pending[:-1]
            elif character == ERASE_LINE:
                self.pending = ""
            elif character.isprintable():
                self.pending += character
        return lines

    def _ours(self) -> bool:
        """A program in the background that reads its terminal is stopped by the system."""
        if sys.platform == "win32" or self._pipe:
            return True
        try:
            return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        except OSError:  # a terminal, but not the one that controls us: nobody stops us there
            return True

    def _read_lines(self) -> None:
        for line in sys.stdin:
            self._lines.put(line.rstrip("\r\n"))


def _without_echo(terminal: int) -> Any:
    """Characters at once and not shown; Ctrl-C still works. Returns what puts the terminal back."""
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def restore() -> None:
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)

    return restore
