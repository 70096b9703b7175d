"""The streams a command prints to, whatever they are: closed, no longer read, or unable to spell "×" and "…".

What cannot be printed never stops the work. `realtime.cli.console` does the same for the runtime, which knows nothing
of this package. Beside that, a place for what librosa compiles.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib.util
import io
import os
import select
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

# What is gone when one of these comes: the reader (head, less), the terminal, the stream itself.
UNREAD = {errno.EPIPE, errno.EIO, errno.EBADF, *([errno.EINVAL] if sys.platform == "win32" else [])}
SPELLING = {"×": "x", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "↑": "up", "↓": "down", "±": "+-", "·": "*"}
SPELLING |= {"≤": "<=", "≥": ">=", "²": "^2", "Σ": "sum of ", "σ": "sigma", "μ": "u", "µ": "u", "✓": "yes", "✗": "no"}
ERRORS = "neiro-spelling"  # the name of the way to spell what an encoding lacks


class LastingStream(io.RawIOBase):
    """A stream that can always be written to: from the first failure on, what is written is thrown away.

    failure : that first failure, unless it only means that nobody reads any more
    """

    def __init__(self, descriptor: int) -> None:
        self._raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115  as long as the process
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, content: Any) -> int:
        try:
            while (written := self._raw.write(content)) is None:  # full, and another program made it non-blocking
                select.select([], [self.fileno()], [])
            return written
        except OSError as error:
            self.failure = None if error.errno in UNREAD else error
            discard(self.fileno())
            return len(content)


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command on streams that cannot fail, and end the process with its exit code."""
    output = open_streams()
    leave_deleted_folder()
    code: Any
    try:
        with place_for_compiled_code():
            code = main()
    except SystemExit as end:  # argparse: --help, a wrong option
        code = end.code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    if output and output.failure and not code:
        print(f"not everything could be printed: {output.failure.strerror or output.failure}", file=sys.stderr)
        code = 2
    sys.exit(code)


def leave_deleted_folder() -> None:
    """Numba compiles nothing in a working directory that is gone; in place of it, one where nobody can write.

    Whole paths then work, and others name nothing.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/proc" if Path("/proc").is_dir() else "/")


@contextlib.contextmanager
def place_for_compiled_code() -> Iterator[None]:
    """Give numba, without which librosa does not load, a folder of its own if it can write to none of its usual ones.

    Those are the one the user names, librosa's own, and the user's cache. Processes started meanwhile use the same.
    """
    librosa = importlib.util.find_spec("librosa")
    own = Path(librosa.origin).parent / "core/__pycache__" if librosa and librosa.origin else None
    chosen, cache = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME", "~/.cache")
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA", "~")
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    usual = [Path(chosen)] if chosen else []
    usual += [own] if own else []
    usual += [Path(cache).expanduser() / "numba"]
    with contextlib.ExitStack() as until_the_end:
        if not any(can_write(folder) for folder in usual):
            with contextlib.suppress(OSError):  # nowhere at all: numba will say so
                os.environ["NUMBA_CACHE_DIR"] = until_the_end.enter_context(
                    tempfile.TemporaryDirectory(prefix="neiro-numba-", ignore_cleanup_errors=True)
                )
        yield


def can_write(folder: Path) -> bool:
    """Whether a file can be made in this folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def open_streams() -> LastingStream | None:
    """Put streams that cannot fail in the place of standard output and error; returns what is below the first.

    The descriptors 0, 1 and 2 are open afterwards, so that no file opened later is taken for a stream.
    """
    codecs.register_error(ERRORS, spell)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            discard(descriptor)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lasting(sys.stderr, _below(sys.stderr, 2))
    if sys.stdout is not sys.__stdout__:  # whoever runs this module has put another in its place
        return None
    below = _below(sys.stdout, 1)
    sys.stdout = _lasting(sys.stdout, below)
    return below


def _below(stream: TextIO | None, descriptor: int) -> LastingStream:
    """None: the stream was closed when the program began, and its descriptor may be another file's by now."""
    return LastingStream(os.open(os.devnull, os.O_WRONLY) if stream is None else descriptor)


def _lasting(stream: TextIO | None, below: LastingStream) -> TextIO:
    """The stream anew, with its encoding and its buffering."""
    if stream is not None:
        with contextlib.suppress(OSError):  # nobody reads it
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(below),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=ERRORS,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )


def typed(*words: object) -> str:
    """A command's words as they are typed into a shell, quoted where they must be."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if sys.platform == "win32" else shlex.join(texts)


def discard(descriptor: int) -> None:
    """From now on, what goes to this descriptor is thrown away."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing == descriptor:  # it was closed, and so the first that was free
        os.set_inheritable(nothing, True)
        return
    os.dup2(nothing, descriptor)
    os.close(nothing)


def spell(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks in ASCII: "×" as "x", other letters as Python escapes. An error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters: Sequence[str] = error.object[error.start : error.end]
    spelt = "".join(SPELLING.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return spelt, error.end
