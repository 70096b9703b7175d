"""What is set up before the first sample, live or for a file: desk, timbres, snapshots and knob map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.bundle import Bundle
from realtime.cli.options import Options, UsageError
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import KnobMap, load_map
from realtime.controls.map.learn import find_map
from realtime.controls.snapshot_file import DEFAULT_FILE
from realtime.controls.snapshots import Snapshots
from realtime.controls.timbres import Timbres
from realtime.controls.typed_commands import parse_knob
from realtime.knobs.bank import KnobBank


@dataclass(frozen=True)
class PlayerSetup:
    """What turns the knobs of one run."""

    desk: Desk
    timbres: Timbres
    snapshots: Snapshots
    knob_map: KnobMap
    map_path: Path | None  # None = the built-in one


def prepare(
    options: Options, bundle: Bundle, bank: KnobBank, published: np.ndarray, say: Callable[[str], None], *, keep: bool
) -> PlayerSetup:
    """Set everything up: the snapshot first, then timbres, preset and way out, the fixed knobs last.

    published : a `realtime.hop.published` record of what the session hears
    keep : whether snapshots that are stored shall be written to their file

    Raises
    ------
    KnobError, KnobMapError, SnapshotError, UsageError
        With one sentence.
    """
    desk = Desk(bank)
    map_path = options.map or find_map(working_directory())
    if map_path is not None and options.map is None:
        say(f"knob map: {map_path}")
    timbres = Timbres(desk, bundle.manifest, lambda: _heard(published), say)
    snapshots = Snapshots(desk, timbres, options.snapshots or DEFAULT_FILE, say, keep=keep)
    if options.snapshot is not None:
        say(snapshots.recall(snapshots.number(options.snapshot)))
    loaded = [timbres.load(*_of_file(bundle, path, options.provider, say)) for path in options.timbre]
    if loaded and options.preset is None:
        timbres.select(loaded[0])
    if options.preset is not None:
        desk.set("preset", timbres.number(options.preset))
    if options.resynth:
        desk.set("resynth", 1.0)
    if options.synth:
        if "synth" not in desk.index:
            raise UsageError(
                f"--synth needs a harmonic model and {bundle.path} holds one of the kind {bundle.manifest.kind!r}; "
                "export one of the kind harmonic_vae, or use --resynth"
            )
        desk.set("synth", 1.0)
    if options.phase is not None:
        desk.set("phase", options.phase)
    for text in options.knob:
        name, value = parse_knob(text, timbres)
        desk.set(name, value)
        desk.fixed.add(name)
    return PlayerSetup(desk, timbres, snapshots, load_map(map_path, desk), map_path)


def working_directory() -> Path:
    """Where the program was started; `.`, in which nothing is found, if that folder was deleted meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path()


def _heard(published: np.ndarray) -> np.ndarray | None:
    timbre = np.array(published["timbre"])
    return timbre if timbre.any() else None  # zeros: nothing has sounded yet


def _of_file(bundle: Bundle, path: Path, provider: str, say: Callable[[str], None]) -> tuple[np.ndarray, str]:
    # Imported here because it loads ONNX Runtime, which the control process of a live performance does not need.
    from realtime.files.audio_files import AudioFileError
    from realtime.files.timbre_file import timbre_of_file
    from realtime.hop.model import EngineError

    try:
        found = timbre_of_file(bundle, path, provider)
    except (AudioFileError, EngineError) as error:
        raise UsageError(str(error)) from None
    say(
        f"timbre of {path}: mean of {found.seconds:.1f} s of "
        f"sound{'' if found.whole else '; the rest of it is left out'}"
    )
    return found.timbre, path.stem
