"""Lines for the user and, below them, one that is rewritten in place where the output is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live as Rewritten
from rich.text import Text

TERMINAL_SECONDS, PIPE_SECONDS = 0.25, 1.0  # between two showings of the live line
LINES_PER_SECOND = 20.0


class Screen:
    """Prints lines for the user.

    rewriting : whether there will be a live line
    """

    def __init__(self, *, rewriting: bool) -> None:
        self._console = Console(highlight=False, markup=False)
        self._live: Rewritten | None = None
        self.in_place = rewriting and sys.stdout.isatty()
        self.interval = TERMINAL_SECONDS if self.in_place else PIPE_SECONDS

    def say(self, line: str) -> None:
        """One notice, at once also through a pipe."""
        if self._live is None:
            print(line, flush=True)
        else:
            self._console.print(line, soft_wrap=True)

    def show(self, line: str, typed: str = "") -> None:
        """The live line, and what is being typed below it."""
        if not self.in_place:
            print(line, flush=True)
            return
        if self._live is None:
            self._live = Rewritten(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        text = f"{line}\n> {typed}" if typed else line
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class RateLimited:
    """Passes on at most LINES_PER_SECOND lines a second, because a controller may ask for thousands."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._allowed, self._left_out = LINES_PER_SECOND, 0
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        self._allowed = min(LINES_PER_SECOND, self._allowed + LINES_PER_SECOND * (now - self._last))
        self._last = now
        if self._allowed < 1:
            self._left_out += 1
            return
        self._allowed -= 1
        if self._left_out:
            self._say(f"({self._left_out} more lines)")
            self._left_out = 0
        self._say(line)
