"""The audio process: the stream, the session, the model, and nothing else. The control process starts it (supervise.py).

When a driver or audio server dies, PortAudio falls silent without an error and then hangs in every call, at exit too. So this process
watches its own callback and leaves by os._exit; the parent starts another. It also leaves when its parent is gone: standard input, a
pipe from the parent, then ends.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from realtime.bundle import Bundle, BundleError, load_bundle
from realtime.controls import KnobBank
from realtime.devices import DeviceError, Route, choose_pair, list_devices, plan_route, portaudio
from realtime.shared import SharedBlock, State, StreamRequest

if TYPE_CHECKING:
    from realtime.session import Session

WATCH_SECONDS = 0.05
SILENT_CALLBACK_SECONDS = 0.5
CLOSE_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 2.0
BELIEVABLE_LATENCY_SECONDS = 10.0  # PortAudio's figure can underflow to a day
LARGEST_BLOCK = 8192


class Callback:
    """What PortAudio calls for every block. `last` is the time of the last call (time.perf_counter)."""

    def __init__(self, session: Session, route: Route, record: np.ndarray) -> None:
        self._session = session
        self._channels = route.channels
        self._direct = route.outputs == route.channels
        self._scratch = np.zeros((LARGEST_BLOCK, route.channels), np.float32)
        self._xruns, self._errors, self._block = record["xruns"], record["callback_errors"], record["block_samples"]
        self.last = time.perf_counter()

    def __call__(self, block_in: np.ndarray, block_out: np.ndarray, frames: int, _time: Any, status: Any) -> None:  # audio thread
        self.last = time.perf_counter()
        self._block[...] = frames
        if status.input_overflow or status.output_underflow or status.input_underflow or status.output_overflow:
            self._xruns += 1
        for start in range(0, frames, LARGEST_BLOCK):
            self._process(block_in[start : start + LARGEST_BLOCK], block_out[start : start + LARGEST_BLOCK])

    def _process(self, block_in: np.ndarray, block_out: np.ndarray) -> None:  # audio thread
        wet = block_out if self._direct else self._scratch[: len(block_in)]
        try:
            self._session.process_block(block_in, wet)
        except Exception:  # a defect in the session must not end the sound
            wet[:] = block_in
            self._errors += 1
        if not self._direct:
            block_out[:] = wet


def main() -> NoReturn:
    if len(sys.argv) != 2:
        sys.exit("this is the audio process, started by: python -m realtime.run --device 0")
    request = StreamRequest.model_validate_json(sys.argv[1])
    leave = _leave_with_parent()
    block = SharedBlock.attach(request.targets, request.memory)
    _report(block, State.STARTING)
    block.record["generation"] = request.generation
    try:
        _play(request, block, leave)
    except ModuleNotFoundError as error:
        reason = f"the Python package {error.name} is missing; run: make setup"
    except Exception as error:  # told to the parent in one line; the traceback goes to the error stream it keeps
        traceback.print_exc()
        ours = type(error).__module__.startswith("realtime.")  # and so a sentence already
        reason = str(error) if ours else f"the audio process failed ({type(error).__name__}: {' '.join(str(error).split())})"
    _report(block, State.FAILED, reason)
    os._exit(1)


def _play(request: StreamRequest, block: SharedBlock, leave: threading.Event) -> None:
    from realtime.session import Session  # after the watch on the parent has begun: it loads ONNX Runtime

    record = block.record
    bundle = load_bundle(request.bundle)
    bank = KnobBank(bundle.manifest)
    if len(bank.targets) != request.targets:
        raise BundleError(f"{request.bundle} has changed since the start; end Neiro and start it again")
    bank.values = record["knobs"]
    route = _find_route(request, bundle, block, leave)
    session = Session(bundle, bank, channels=route.channels, sample_rate=route.sample_rate, meters=record["meters"], provider=request.provider)
    callback = Callback(session, route, record)
    sys.setswitchinterval(0.0005)  # so that the watch below never holds the callback up
    gc.collect()
    gc.freeze()
    stream = _open(request, route, callback)
    callback.last = time.perf_counter()
    _describe(block, request, route, session, stream)
    _watch(block, stream, callback, leave)


def _find_route(request: StreamRequest, bundle: Bundle, block: SharedBlock, leave: threading.Event) -> Route:
    pause, rescan = 0.2, False
    while True:
        try:
            devices = list_devices(rescan=rescan)
            pair = choose_pair(devices, request.device, request.input_device, request.output_device)
            return plan_route(*pair, request.channels, bundle.manifest.features.sample_rate)
        except DeviceError as error:
            if not request.wait_for_device:
                raise
            _report(block, State.WAITING, str(error))
        leave.wait(pause)
        block.record["heartbeat"] += 1
        pause, rescan = min(1.5 * pause, LONGEST_RETRY_SECONDS), True


def _open(request: StreamRequest, route: Route, callback: Callback) -> Any:
    sd = portaudio()
    try:
        stream = sd.Stream(
            samplerate=route.sample_rate,
            blocksize=request.block_size,
            device=(route.input.number, route.output.number),
            channels=(route.channels, route.outputs),
            dtype="float32",
            latency="low",
            callback=callback,
        )
        stream.start()
    except sd.PortAudioError as error:
        both = f"{route.input.full_name} and {route.output.full_name}"
        raise DeviceError(f"cannot open {both} at {route.sample_rate:g} Hz ({' '.join(str(error).split())}); choose others") from None
    return stream


def _describe(block: SharedBlock, request: StreamRequest, route: Route, session: Session, stream: Any) -> None:
    record = block.record
    record["sample_rate"], record["channels"], record["latency_samples"] = route.sample_rate, route.channels, session.latency_samples
    record["input_latency_seconds"], record["output_latency_seconds"] = (_believable(seconds) for seconds in stream.latency)
    block.write_text("provider", session.provider)
    block.write_text("provider_note", session.provider_note)
    block.write_text("input_device", route.input.full_name)
    block.write_text("output_device", route.output.full_name)
    _report(block, State.RUNNING)


def _watch(block: SharedBlock, stream: Any, callback: Callback, leave: threading.Event) -> NoReturn:
    """Until the parent says to leave, or the sound has died without a word."""
    while not leave.wait(WATCH_SECONDS):
        block.record["heartbeat"] += 1
        block_seconds = float(block.record["block_samples"]) / float(block.record["sample_rate"])
        age = time.perf_counter() - callback.last
        if not stream.active or age > max(SILENT_CALLBACK_SECONDS, 4 * block_seconds):
            _report(block, State.FAILED, "the sound device or its server went away")
            os._exit(1)
    closing = threading.Thread(target=stream.close, daemon=True)  # hangs if the server is dying
    closing.start()
    closing.join(CLOSE_SECONDS)
    os._exit(0)


def _leave_with_parent() -> threading.Event:
    """Set when the parent closes our standard input or is gone. If nobody reacts in time, the process leaves."""
    leave = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        leave.set()
        time.sleep(1.5 * CLOSE_SECONDS)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    return leave


def _report(block: SharedBlock, state: State, message: str = "") -> None:
    block.write_text("message", message)
    block.record["state"] = state


def _believable(seconds: float) -> float:
    return seconds if 0 <= seconds <= BELIEVABLE_LATENCY_SECONDS else math.nan


if __name__ == "__main__":
    main()
