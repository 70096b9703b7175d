"""A live performance put together: the loop of `realtime.live.loop` and everything that it looks after."""

from __future__ import annotations

from realtime.bundle import Bundle
from realtime.cli.options import Options, UsageError
from realtime.cli.run_report import RunReport
from realtime.cli.screen import RateLimited, Screen
from realtime.cli.setup import PlayerSetup, prepare
from realtime.files.audio_files import AudioFileError
from realtime.knobs.targets import MIXED_OUTPUTS
from realtime.live.controllers import Controllers
from realtime.live.keyboard import Keyboard
from realtime.live.loop import CallbackService, Live, Service
from realtime.live.monitor import Monitor
from realtime.live.recorder import Recorder
from realtime.live.shared import BlockSizes, SharedBlock, StreamRequest


def perform(options: Options, bundle: Bundle) -> RunReport:
    """Play until it is ended.

    Raises
    ------
    One of `realtime.run.KNOWN_ERRORS`
        Something is not there or not possible; before any sound.
    """
    screen = Screen(rewriting=options.monitor)
    live = Live(bundle, options.channels or 1, lambda block, sizes: _request(options, bundle, block, sizes), screen.say)
    setup = prepare(options, bundle, live.bank, live.record["published"], RateLimited(screen.say), keep=True)
    recorder = _recorder(options, live, screen)
    controllers = Controllers(options, bundle, setup, live, screen)
    if options.monitor:
        controllers.services.append(_monitor(setup, live, screen, controllers.keyboard))
    try:
        live.play(controllers.services, controllers.reopen, options.seconds)
    finally:
        recorded = recorder.close() if recorder else None
        screen.close()
    more = controllers.counted()
    if recorded is not None:
        more |= {
            "recorded_frames": recorded.frames,
            "lost_frames": recorded.lost,
            "recording": str(recorded.path) if recorded.path else None,
        }
    return live.report(setup.desk, more)


def _recorder(options: Options, live: Live, screen: Screen) -> Recorder | None:
    try:
        return Recorder(live.block, options.record, screen.say) if options.record else None
    except AudioFileError as error:
        raise UsageError(str(error)) from None


def _monitor(setup: PlayerSetup, live: Live, screen: Screen, keyboard: Keyboard) -> Service:
    desk = setup.desk
    preset, mixed = desk.index["preset"], {name: desk.index[name] for name in MIXED_OUTPUTS if name in desk.index}
    monitor = Monitor(
        live.record,
        preset=lambda: setup.timbres.title(round(desk.value(preset))),
        levels=lambda: {name: desk.value(index) for name, index in mixed.items()},
        show=lambda line: screen.show(line, keyboard.pending),
        interval=screen.interval,
    )
    return CallbackService(poll=monitor.poll)


def _request(options: Options, bundle: Bundle, block: SharedBlock, sizes: BlockSizes) -> StreamRequest:
    return StreamRequest(
        memory=block.handle,
        sizes=sizes,
        generation=0,
        bundle=str(bundle.path.resolve()),
        device=options.device,
        input_device=options.input_device,
        output_device=options.output_device,
        host_api=options.host_api,
        channels=options.channels or 1,
        input_channel=options.input_channel,
        block_size=options.block_size,
        sample_rate=options.sample_rate,
        provider=options.provider,
        latency_ms=options.latency_ms,
        worker=options.worker,
        recording=options.record is not None,
        wait_for_device=False,
    )
