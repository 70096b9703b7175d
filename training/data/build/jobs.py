"""Work that survives being killed: a folder claimed for one request, jobs in processes, errors of the disk as a
sentence.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

from training.data.manifest import DataError, replace_file

RESULTS = ("dataset.json", "manifest.csv", "rows-*.csv", "rows-*.json", "audio-*.i16", "audio-*.pitch.f32")
_FULL = {"ENOSPC", "EFBIG", "EDQUOT"}  # names: not every system has every number

Job = TypeVar("Job")
Result = TypeVar("Result")


def claim(out: Path, request: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make `out` the place of this request, or refuse (DataError) if something else is there."""
    out.mkdir(parents=True, exist_ok=True)
    record, wanted = out / "request.json", json.loads(json.dumps(dict(request)))
    found = _read_request(record)
    if overwrite or not any(path for pattern in RESULTS for path in out.glob(pattern)):
        clear(out)
        replace_file(record, (json.dumps(wanted, indent=2, ensure_ascii=False) + "\n").encode())
    elif found != wanted:
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        what = f"another request (other {', '.join(changed)})" if found else "another data set"
        raise DataError(f"{out} holds {what}; give another --out, or replace it with --overwrite")
    for part in out.glob("*.part"):  # left by a run that was killed
        part.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Remove what a source leaves, dataset.json first: from then on it is no data set."""
    for pattern in (*RESULTS, "request.json"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _read_request(record: Path) -> dict[str, object]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, *, isolated: bool = False
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result as it is done; in this process if one worker is enough, unless `isolated`, for
    work that may crash.

    Raises
    ------
    DataError
        If a process died.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1 and not (isolated and jobs):
        yield from ((job, work(job)) for job in jobs)
        return
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent
    ) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise DataError(
                "a process died (too little memory, or a damaged source); run the same command again with --workers 1 "
                "to continue"
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


def cannot_write(out: Path, error: OSError) -> DataError:
    """The sentence for an error of the disk."""
    remedy = (
        "make room there and run the same command again to continue"
        if errno.errorcode.get(error.errno or 0) in _FULL
        else "check that folder or give another --out"
    )
    return DataError(f"cannot write into {out} ({error.strerror or error}); {remedy}")
