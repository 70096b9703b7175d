"""A whole SoundFont rendered by several processes; a run that was stopped continues with the programs that are missing."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import connection
from pathlib import Path

from tqdm import tqdm

from training.data.fluid import check_soundfont, fluidsynth_version
from training.data.gm import PERCUSSION, PROGRAMS
from training.data.manifest import SPLITS, DataError, Sound, read_rows, replace_file, write_manifest
from training.data.shard import Request, is_finished, notes_of, render_job, rows_file

_RESULTS = ("dataset.json", "manifest.csv", "rows-*.csv", "audio-*.i16")
_FULL = {"ENOSPC", "EFBIG", "EDQUOT"}  # names: not every system has every number


@dataclass(frozen=True)
class Account:
    """What came of a run. `soundless` names the programs of which nothing was heard."""

    sounds: int
    silent: int
    soundless: tuple[str, ...]


def render(request: Request, soundfont: Path, out: Path, *, workers: int | None = None, overwrite: bool = False) -> Account:
    """Render what is missing of the data set in `out`, then write its manifest.

    Raises
    ------
    DataError
        With one sentence: a bad SoundFont, another data set in `out`, no sound at all, a full disk.
    """
    check_soundfont(soundfont)
    version = fluidsynth_version()
    try:
        _claim(out, request, overwrite)
        missing = [program for program in request.programs if not is_finished(out, program)]
        _run_jobs(request, soundfont, out, missing, workers or os.cpu_count() or 1)
        rows = {program: read_rows(rows_file(out, program)) for program in request.programs}
        account = _account(out, request, rows)
        every = [row for program in request.programs for row in rows[program]]
        counts = {"instruments": len({row.instrument for row in every}), "families": len({row.family for row in every})}
        about = {"source": "soundfont", **asdict(request), "renderer": f"FluidSynth {version}", "silent": account.silent, **counts}
        splits = Counter(row.split for row in every)
        write_manifest(out, every, sample_rate=request.sample_rate, about={**about, "split_sounds": {name: splits[name] for name in SPLITS}})
    except OSError as error:
        raise _cannot_write(out, error) from None
    return account


def _run_jobs(request: Request, soundfont: Path, out: Path, programs: list[int], workers: int) -> None:
    total = sum(len(notes_of(request, program)) for program in request.programs)
    with tqdm(total=total, unit="note", desc="rendering", disable=None) as bar:
        bar.update(total - sum(len(notes_of(request, program)) for program in programs))
        for program in _in_processes(request, soundfont, out, programs, min(workers, len(programs))):
            bar.update(len(notes_of(request, program)))


def _in_processes(request: Request, soundfont: Path, out: Path, programs: list[int], workers: int) -> Iterator[int]:
    """Render the programs in worker processes, the longest first; yield each when it is done."""
    if not programs:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent) as pool:
        ordered = sorted(programs, key=lambda program: -len(notes_of(request, program)))
        jobs = {pool.submit(render_job, request, soundfont, out, program): program for program in ordered}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        except BrokenProcessPool:
            raise DataError(
                "a rendering process died (too little memory, or a damaged SoundFont); run the same command again with --workers 1 to continue"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _follow_parent() -> None:
    """In a worker: leave the interrupt key to the parent, and end with it even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _claim(out: Path, request: Request, overwrite: bool) -> None:
    """Make `out` the place of this request, or refuse if something else is there."""
    out.mkdir(parents=True, exist_ok=True)
    record, wanted = out / "request.json", json.loads(json.dumps(asdict(request)))
    found = _read_request(record)
    if overwrite or not any(path for pattern in _RESULTS for path in out.glob(pattern)):
        _clear(out)
        replace_file(record, (json.dumps(wanted, indent=2) + "\n").encode())
    elif found != wanted:
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        what = f"another request (other {', '.join(changed)})" if found else "another data set"
        raise DataError(f"{out} holds {what}; give another --out, or replace it with --overwrite")
    for part in out.glob("*.part"):  # left by a run that was killed
        part.unlink(missing_ok=True)


def _clear(out: Path) -> None:
    """Remove what a rendering leaves, dataset.json first: from then on it is no data set."""
    for pattern in (*_RESULTS, "request.json"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _read_request(record: Path) -> dict[str, object]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _account(out: Path, request: Request, rows: dict[int, list[Sound]]) -> Account:
    sounds = sum(map(len, rows.values()))
    asked = {program: len(notes_of(request, program)) for program in request.programs}
    if not sounds:
        reason = "every note asked for is silent or not in it" if sum(asked.values()) else "no instrument asked for plays the notes asked for"
        _clear(out)
        raise DataError(f"{request.soundfont} gives no sound: {reason}; choose other --programs or --notes")
    soundless = [program for program in request.programs if asked[program] and not rows[program]]
    names = tuple(f"{program} {'Percussion' if program == PERCUSSION else PROGRAMS[program].name}" for program in soundless)
    return Account(sounds, sum(asked.values()) - sounds, names)


def _cannot_write(out: Path, error: OSError) -> DataError:
    remedy = (
        "make room there and run the same command again to continue"
        if errno.errorcode.get(error.errno or 0) in _FULL
        else "check that folder or give another --out"
    )
    return DataError(f"cannot write into {out} ({error.strerror or error}); {remedy}")
