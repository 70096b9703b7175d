"""The audio process's work: make the session, find the devices, open the stream, watch it.

A process that replaces a dead one makes its session first, for the rate it is going to need again, and looks for the
devices then: when they are there, only opening them is left to do.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from realtime.bundle import BundleError, load_bundle
from realtime.devices.devices import DeviceError, choose_pair, list_devices, portaudio
from realtime.devices.stream_config import StreamConfig, host_settings, stream_configs
from realtime.knobs.bank import KnobBank
from realtime.live.callback import Callback
from realtime.live.shared import BlockSizes, SharedBlock, State, StreamRequest
from realtime.live.watchdog import JackDeviceWatch, StreamWatchdog, report

if TYPE_CHECKING:
    from realtime.session import Session

RETRY_SECONDS = 0.1  # between looks for a device that is not there
BELIEVABLE_LATENCY_SECONDS = 10.0  # PortAudio's figure can underflow to a day
SWITCH_SECONDS = 0.0005  # the longest another Python thread of this process may hold the callback up


class Player:
    """One run of the audio process.

    Raises
    ------
    BundleError, EngineError
        If the model cannot be played.
    """

    def __init__(self, request: StreamRequest, block: SharedBlock) -> None:
        self._request, self._block, self._record = request, block, block.record
        self._bundle = load_bundle(request.bundle)
        manifest = self._bundle.manifest
        if BlockSizes.of(manifest, request.sizes.outputs) != request.sizes:
            raise BundleError(f"{request.bundle} has changed since the start; end Neiro and start it again")
        self._bank = KnobBank(manifest)
        self._bank.values, self._bank.smoothing, self._bank.slots = (
            self._record[name] for name in ("knobs", "smoothing", "slots")
        )
        self._session: Session | None = None
        self._rescan = False
        if request.generation > 1 and self._record["sample_rate"] > 0:
            self._session_for(int(self._record["channels"]), float(self._record["sample_rate"]))

    def play(self, leave: threading.Event) -> NoReturn:
        """Play until `leave` is set or the sound is gone; ends the process.

        Raises
        ------
        DeviceError
            The devices are not there or do not open, and the request is not to wait for them.
        """
        while True:
            try:
                self._open_any(self._find_configs(), leave)
            except DeviceError as error:
                if not self._request.wait_for_device:
                    raise
                report(self._block, State.WAITING, str(error))
            leave.wait(RETRY_SECONDS)
            self._record["heartbeat"] += 1

    def _find_configs(self) -> list[StreamConfig]:
        request = self._request
        devices = list_devices(rescan=self._rescan)
        self._rescan = True
        pair = choose_pair(devices, request.device, request.input_device, request.output_device, request.host_api)
        rate = self._bundle.manifest.features.sample_rate
        return stream_configs(
            *pair, request.channels, rate, input_channel=request.input_channel, sample_rate=request.sample_rate
        )

    def _open_any(self, configs: list[StreamConfig], leave: threading.Event) -> None:
        """Play with the first configuration that opens. What a driver says it can do is not always so."""
        first_refusal: DeviceError | None = None
        for config in configs:
            session = self._session_for(config.channels, config.sample_rate)
            # Before the first block, because recorder and monitor read them together with what the callback counts.
            self._record["sample_rate"], self._record["channels"] = config.sample_rate, config.channels
            callback = Callback(session, config, self._record, recording=self._request.recording)
            sys.setswitchinterval(SWITCH_SECONDS)
            gc.collect()
            gc.freeze()
            device_watch = JackDeviceWatch(config)
            try:
                stream = _open(config, self._request.block_size, callback)
            except DeviceError as error:
                device_watch.close()
                first_refusal = first_refusal or error
                continue
            self._describe(config, session, stream)
            StreamWatchdog(self._block, stream, callback, device_watch).until(leave)
        assert first_refusal is not None
        raise first_refusal

    def _session_for(self, channels: int, sample_rate: float) -> Session:
        """The session there is if it fits, else a new one, warmed up."""
        # Loads ONNX Runtime, so only after the watch on the parent has begun.
        from realtime.session import Session, SessionOptions

        session = self._session
        if session is not None and (session.channels, session.sample_rate) == (channels, sample_rate):
            return session
        if session is not None:
            session.close()
        request, record = self._request, self._record
        self._session = Session(
            self._bundle,
            self._bank,
            channels=channels,
            sample_rate=sample_rate,
            meters=record["meters"],
            published=record["published"],
            options=SessionOptions(
                provider=request.provider,
                latency_ms=request.latency_ms,
                limit=True,
                live=True,
                hurry=True,
                flush_denormals=True,
                resume=request.generation > 1,
                worker=self._wants_worker(sample_rate),
            ),
        )
        return self._session

    def _wants_worker(self, sample_rate: float) -> bool:
        """As asked for, else as tried out, once per performance."""
        if self._request.worker is not None:
            self._record["worker"] = self._request.worker
        elif self._request.generation == 1:
            from realtime.live.trial import too_slow

            self._record["worker"] = too_slow(self._bundle, sample_rate, self._request.provider)
        return bool(self._record["worker"])

    def _worker_note(self) -> str:
        if not self._record["worker"]:
            return ""
        return "" if self._request.worker else "the model is slow here, so a worker runs it, a hop later"

    def _describe(self, config: StreamConfig, session: Session, stream: Any) -> None:
        block, record = self._block, self._record
        record["input_latency_seconds"], record["output_latency_seconds"] = (
            _believable(seconds) for seconds in stream.latency
        )
        block.write_text("provider", session.provider)
        block.write_text(
            "provider_note", "; ".join(part for part in (session.provider_note, self._worker_note()) if part)
        )
        block.write_text("input_device", config.input.full_name)
        block.write_text("output_device", config.output.full_name)
        report(block, State.RUNNING)


def _open(config: StreamConfig, block_size: int, callback: Callback) -> Any:
    sd = portaudio()
    stream = None
    try:
        stream = sd.Stream(
            samplerate=config.sample_rate,
            blocksize=block_size,
            device=(config.input.number, config.output.number),
            channels=(config.inputs, config.outputs),
            dtype="float32",
            latency="low",
            extra_settings=host_settings(config),
            callback=callback,
        )
        stream.start()
    except sd.PortAudioError as error:
        reason = " ".join(str(error).split())
        if stream is not None:
            stream.close(ignore_errors=True)
        raise DeviceError(
            f"cannot open {config.devices} at {config.sample_rate:g} Hz ({reason}); choose others"
        ) from None
    return stream


def _believable(seconds: float) -> float:
    return seconds if 0 <= seconds <= BELIEVABLE_LATENCY_SECONDS else math.nan
