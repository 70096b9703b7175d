"""The audio process: the stream, the session, the model, and nothing else. `realtime.live.supervisor` starts it.

When a driver or audio server dies, PortAudio falls silent without an error and then hangs in every call, at exit too.
So this process watches its own sound (watch.py) and leaves by os._exit; the parent starts another. It also leaves when
its parent is gone: standard input, a pipe from the parent, then ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from typing import NoReturn

from realtime.live.audio_child import SPARE
from realtime.live.player import Player
from realtime.live.shared import SharedBlock, State, StreamRequest
from realtime.live.watchdog import CLOSE_SECONDS, report


def main() -> NoReturn:
    spare = SPARE in sys.argv[1:-1]
    if len(sys.argv) != 2 + spare:
        sys.exit("this is the audio process, started by: python -m realtime.run --device 0")
    request = StreamRequest.model_validate_json(sys.argv[-1])
    go, leave = _listen_to_parent()
    if spare:
        _wait_for(go)
    block = SharedBlock.attach(request.sizes, request.memory)
    report(block, State.STARTING)
    block.record["generation"] = request.generation
    try:
        Player(request, block).play(leave)
    except ModuleNotFoundError as error:
        reason = f"the Python package {error.name} is missing; run: make setup"
    except Exception as error:  # told to the parent in one line; the traceback goes to the error stream it keeps
        traceback.print_exc()
        ours = type(error).__module__.startswith("realtime.")  # and so a sentence already
        reason = (
            str(error) if ours else f"the audio process failed ({type(error).__name__}: {' '.join(str(error).split())})"
        )
    report(block, State.FAILED, reason)
    os._exit(1)


def _wait_for(go: threading.Event) -> None:
    """Load what takes long, touch nothing that the playing process uses, and wait.

    PortAudio stays out, because it would join the server.
    """
    with contextlib.suppress(Exception):  # told when it matters
        import realtime.session  # noqa: F401
    go.wait()


def _listen_to_parent() -> tuple[threading.Event, threading.Event]:
    """Two events: the parent wrote to our standard input; the parent closed it or is gone.

    If nobody reacts to the second, the process leaves.
    """
    go, leave = threading.Event(), threading.Event()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                go.set()
        if not go.is_set() and SPARE in sys.argv[1:-1]:
            os._exit(0)
        leave.set()
        time.sleep(1.5 * CLOSE_SECONDS)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return go, leave


if __name__ == "__main__":
    main()
