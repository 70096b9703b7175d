"""Play: live through a sound device, or a file through the very same session.

python -m realtime.run --device 0
python -m realtime.run --input in.wav --output out.wav --midi turns.mid
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from realtime.bundle import Bundle, BundleError, embedded_bundle, find_bundle, load_bundle
from realtime.cli import terminal
from realtime.cli.console import run_command
from realtime.cli.option_checks import check
from realtime.cli.options import Options, UsageError, parser, read_options
from realtime.cli.run_report import RunReport
from realtime.cli.setup import prepare, working_directory
from realtime.controls.map.knob_map import KnobMapError
from realtime.controls.midi.input import MidiError, list_outputs, list_ports
from realtime.controls.snapshot_file import SnapshotError
from realtime.devices.devices import DeviceError, list_devices
from realtime.files.atomic_file import replace_file
from realtime.hop.published import new_published
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import KnobError
from realtime.live.performance import perform
from realtime.live.supervisor import StreamError

KNOWN_ERRORS = (UsageError, BundleError, KnobError, KnobMapError, SnapshotError, DeviceError, MidiError, StreamError)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments:
        parser().print_help()
        return 0
    try:
        options = read_options(arguments)
        check(options)
        return _run(options)
    except KNOWN_ERRORS as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"the Python package {error.name} is missing; run: make setup", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130


def _run(options: Options) -> int:
    if options.list_devices:
        terminal.show_devices(list_devices())
    if options.list_midi:
        terminal.show_ports(list_ports(), list_outputs())
    if options.list_knobs:
        _list_knobs(options)
    elif not (options.list_devices or options.list_midi):
        bundle = _bundle(options)
        report = _play_file(options, bundle) if options.input else perform(options, bundle)
        terminal.show_summary(report)
        _write_json(options.json, report.as_dict())
    return 0


def _list_knobs(options: Options) -> None:
    manifest = (bundle := _bundle(options)).manifest
    setup = prepare(options, bundle, KnobBank(manifest), new_published(manifest), terminal.say, keep=False)
    terminal.show_knobs(manifest, setup.desk, setup.knob_map.sources(setup.desk), setup.snapshots.all())


def _play_file(options: Options, bundle: Bundle) -> RunReport:
    # Imported here because they load ONNX Runtime, which the control process of a live performance does not need.
    from realtime.cli.offline import OfflineError, Take, play_file

    assert options.input is not None
    assert options.output is not None
    published = new_published(bundle.manifest)
    setup = prepare(options, bundle, KnobBank(bundle.manifest), published, terminal.say, keep=False)
    take = Take(
        source=options.input,
        target=options.output,
        midi=options.midi,
        block_size=options.block_size,
        provider=options.provider,
        seconds=options.seconds,
        latency_ms=options.latency_ms,
        limit=bool(options.limiter),
    )
    try:
        return play_file(bundle, setup, published, take, terminal.say)
    except OfflineError as error:
        raise UsageError(str(error)) from None


def _bundle(options: Options) -> Bundle:
    path = options.bundle or find_bundle(working_directory())
    bundle = load_bundle(path)
    origin = "" if options.bundle else " (the built-in one)" if path == embedded_bundle() else " (the newest one here)"
    terminal.say(f"bundle: {path}{origin}")
    return bundle


def _write_json(path: Path | None, content: dict) -> None:
    """Whole or not at all: written beside the target, then renamed."""
    if path is None:
        return
    try:
        replace_file(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


if __name__ == "__main__":
    run_command(main, quiet_libraries=True)
