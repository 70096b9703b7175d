"""A whole SoundFont rendered by several processes; a run that was stopped continues with the programs that are
missing.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from training.data.build.fluid import check_soundfont, default_soundfont, fluidsynth_version, load_fluidsynth
from training.data.build.gm import PERCUSSION, PROGRAMS
from training.data.build.jobs import cannot_write, claim, clear, run_jobs
from training.data.build.shard import RenderRequest, is_finished, rows_file
from training.data.manifest import SPLITS, DataError, Sound, read_rows, write_manifest


@dataclass(frozen=True)
class Account:
    """What came of a run. `soundless` names the programs of which nothing was heard."""

    sounds: int
    silent: int
    soundless: tuple[str, ...]


def render_command(
    options: argparse.Namespace, request_of: Callable[[argparse.Namespace, str, str], RenderRequest]
) -> int:
    """Render what a command line asks for; returns the exit code: 0, 2 for what cannot be done (one sentence on
    stderr), 130 when interrupted.

    options : `soundfont`, `out`, `workers`, `overwrite`, and what `request_of` reads
    request_of : the request for these options, the SoundFont's file name and its SHA-256
    """
    try:
        load_fluidsynth()
        soundfont = options.soundfont or default_soundfont()
        check_soundfont(soundfont)
        print(f"SoundFont: {soundfont}")
        request = request_of(options, soundfont.name, _sha256(soundfont))
        account = render(request, soundfont, options.out, workers=options.workers, overwrite=options.overwrite)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    if account.soundless:
        print(f"no sound from: {', '.join(account.soundless)}")
    print(f"{account.sounds} sounds in {options.out}, {account.silent} silent {request.unit}s dropped")
    return 0


def _sha256(soundfont: Path) -> str:
    try:
        with soundfont.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{soundfont} cannot be read ({error.strerror}); name another file with --soundfont FILE"
        ) from None


def render(
    request: RenderRequest, soundfont: Path, out: Path, *, workers: int | None = None, overwrite: bool = False
) -> Account:
    """Render what is missing of the data set in `out`, then write its manifest.

    Raises
    ------
    DataError
        With one sentence: a bad SoundFont, another data set in `out`, no sound at all, a full disk.
    """
    check_soundfont(soundfont)
    version = fluidsynth_version()
    try:
        claim(out, asdict(request), overwrite=overwrite)
        missing = [program for program in request.programs if not is_finished(request, out, program)]
        _run(request, soundfont, out, missing, workers)
        rows = {program: read_rows(rows_file(out, program)) for program in request.programs}
        account = _account(out, request, rows)
        every = [row for program in request.programs for row in rows[program]]
        counts = {"instruments": len({row.instrument for row in every}), "families": len({row.family for row in every})}
        about = {
            "source": request.source,
            **asdict(request),
            "renderer": f"FluidSynth {version}",
            "silent": account.silent,
            **counts,
        }
        splits = Counter(row.split for row in every)
        write_manifest(
            out,
            every,
            sample_rate=request.sample_rate,
            about={**about, "split_sounds": {name: splits[name] for name in SPLITS}},
        )
    except OSError as error:
        raise cannot_write(out, error) from None
    return account


def _run(request: RenderRequest, soundfont: Path, out: Path, programs: list[int], workers: int | None) -> None:
    """Render the programs in worker processes, the longest first. FluidSynth can crash, so not in this process."""
    total = sum(map(request.sounds_of, request.programs))
    ordered = sorted(programs, key=lambda program: -request.sounds_of(program))
    with tqdm(total=total, unit=request.unit, desc="rendering", disable=None) as bar:
        bar.update(total - sum(map(request.sounds_of, programs)))
        for program, _ in run_jobs(partial(request.render_job, soundfont, out), ordered, workers, isolated=True):
            bar.update(request.sounds_of(program))


def _account(out: Path, request: RenderRequest, rows: dict[int, list[Sound]]) -> Account:
    sounds = sum(map(len, rows.values()))
    asked = {program: request.sounds_of(program) for program in request.programs}
    if not sounds:
        silent = f"every {request.unit} asked for is silent or not in it"
        reason = silent if sum(asked.values()) else "no instrument asked for plays the notes asked for"
        clear(out)
        raise DataError(f"{request.soundfont} gives no sound: {reason}; choose other {request.choice}")
    soundless = [program for program in request.programs if asked[program] and not rows[program]]
    names = tuple(
        f"{program} {'Percussion' if program == PERCUSSION else PROGRAMS[program].name}" for program in soundless
    )
    return Account(sounds, sum(asked.values()) - sounds, names)
