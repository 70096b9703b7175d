"""Play: live through a sound device, or a file through the very same session.

python -m realtime.run --device 0
python -m realtime.run --input in.wav --output out.wav --midi turns.mid
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from realtime import terminal
from realtime.bundle import Bundle, BundleError, Manifest, embedded_bundle, find_bundle, load_bundle
from realtime.controls import KnobBank, KnobError, parse_assignment
from realtime.devices import DeviceError, list_devices
from realtime.knobmap import KnobMap, KnobMapError, load_map
from realtime.live import Live
from realtime.meters import Summary
from realtime.midi import MidiError, list_ports
from realtime.options import Options, UsageError, parser, read_options
from realtime.shared import SharedBlock, StreamRequest
from realtime.supervise import StreamError

KNOWN_ERRORS = (UsageError, BundleError, KnobError, KnobMapError, DeviceError, MidiError, StreamError)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments:
        parser().print_help()
        return 0
    try:
        return _run(read_options(arguments))
    except KNOWN_ERRORS as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"the Python package {error.name} is missing; run: make setup", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _run(options: Options) -> int:
    if options.list_devices:
        terminal.show_devices(list_devices())
    if options.list_midi:
        terminal.show_ports(list_ports())
    if options.list_knobs:
        _list_knobs(options)
    elif not (options.list_devices or options.list_midi):
        _play(options)
    return 0


def _list_knobs(options: Options) -> None:
    bundle = _bundle(options)
    bank = KnobBank(bundle.manifest)
    terminal.show_knobs(bundle.manifest, bank, load_map(options.map, bank).sources(bank))


def _play(options: Options) -> None:
    bundle = _bundle(options)
    if options.input and options.output:
        summary = _play_file(options, bundle, options.input, options.output)
        terminal.show_summary(summary)
        _write_json(options.json, summary.as_dict())
        return
    live = Live(bundle, lambda block: _request(options, bundle, block), terminal.say)
    account = live.play(_set_up(options, bundle.manifest, live.bank), options.midi_port, options.seconds)
    terminal.show_summary(account.summary, account.live)
    _write_json(options.json, account.as_dict())


def _play_file(options: Options, bundle: Bundle, source: Path, target: Path) -> Summary:
    # Imported here because they load ONNX Runtime, which the control process of a live performance does not need.
    from realtime.offline import OfflineError, play_file

    bank = KnobBank(bundle.manifest)
    knob_map = _set_up(options, bundle.manifest, bank)
    try:
        return play_file(
            bundle,
            bank,
            knob_map,
            source=source,
            target=target,
            midi=options.midi,
            block_size=options.block_size,
            provider=options.provider,
            seconds=options.seconds,
            say=terminal.say,
        )
    except OfflineError as error:
        raise UsageError(str(error)) from None


def _bundle(options: Options) -> Bundle:
    path = options.bundle or find_bundle(Path.cwd())
    bundle = load_bundle(path)
    origin = "" if options.bundle else " (the built-in one)" if path == embedded_bundle() else " (the newest one here)"
    terminal.say(f"bundle: {path}{origin}")
    return bundle


def _set_up(options: Options, manifest: Manifest, bank: KnobBank) -> KnobMap:
    """Knobs and preset as asked for, and the map that leaves fixed ones alone."""
    if options.preset is not None:
        bank.set("preset", _preset_number(options.preset, manifest))
    fixed = []
    for text in options.knob:
        name, value = parse_assignment(text)
        bank.set(name, value)
        fixed.append(name)
    return load_map(options.map, bank, fixed)


def _preset_number(wanted: str, manifest: Manifest) -> int:
    names = [preset.name for preset in manifest.presets]
    if wanted.isdecimal() and int(wanted) <= len(names):
        return int(wanted)
    text = wanted.casefold()
    found = [name for name in names if name.casefold() == text] or [name for name in names if text in name.casefold()]
    if len(found) == 1:
        return names.index(found[0]) + 1
    if found:
        raise KnobError(f"preset {wanted!r} could be {', '.join(found)}; write more of the name")
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"there are 0 … {len(names)}; --list-knobs names them"
    raise KnobError(f"no preset {wanted!r}; {hint}")


def _request(options: Options, bundle: Bundle, block: SharedBlock) -> StreamRequest:
    return StreamRequest(
        memory=block.handle,
        targets=len(block.record["knobs"]),
        generation=0,
        bundle=str(bundle.path.resolve()),
        device=options.device,
        input_device=options.input_device,
        output_device=options.output_device,
        channels=options.channels or 1,
        block_size=options.block_size,
        provider=options.provider,
        wait_for_device=False,
    )


def _write_json(path: Path | None, content: dict) -> None:
    """Whole or not at all: written beside the target, then renamed."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


if __name__ == "__main__":
    terminal.silence_native_libraries()
    sys.exit(main())
