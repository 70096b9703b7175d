"""A folder of recordings turned into a data set, or only checked; what the sources rwc, nsynth and folder share."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.data.build.check import Account, account_of
from training.data.build.cutting import Facts, SourceFile
from training.data.build.jobs import cannot_write, claim, clear, run_jobs
from training.data.build.parts import Job, is_finished, read_part, rows_file, work
from training.data.labels import as_text
from training.data.manifest import SPLITS, DataError, Sound, write_manifest
from training.data.splits import deal

_PIECE = re.compile(r"#\d{3,}$")  # what `examine` appends to the name of a recording with several sounds
JOB_BYTES = 2**25  # of source files; a job is done again as a whole after an interruption


@dataclass(frozen=True)
class Found:
    """What a source found in its folder. `remarks`: what is wrong with labels or layout, a sentence each."""

    source: str
    folder: Path
    files: tuple[SourceFile, ...]
    sample_rate: int
    remarks: tuple[str, ...] = ()
    choices: dict[str, Any] = field(default_factory=dict)  # options of this source alone, part of the request
    files_per_job: int = 64


def run_source(options: argparse.Namespace, find: Callable[[argparse.Namespace], Found]) -> int:
    """A source's command; returns the exit code: 0, 2 for what cannot be done (one sentence on stderr), 130 when
    interrupted.
    """
    try:
        if options.out is None and not options.check:
            raise DataError(
                "--out is missing; name the folder of the data set with --out DIR, or only look with --check"
            )
        if not options.source.is_dir():
            reason = "is not a folder" if options.source.exists() else "does not exist"
            raise DataError(f"{options.source} {reason}; name the folder of the recordings with --source DIR")
        found = find(options)
        account = check(found, options) if options.check else convert(found, options)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    print(*account.lines, sep="\n")
    if not options.check:
        print(f"{account.numbers['sounds']} sounds in {options.out}")
        return 0
    if not account.numbers["sounds"]:
        print(f"{options.source} gives no sound; the lines above say why", file=sys.stderr)
    return 0 if account.numbers["sounds"] else 2


def check(found: Found, options: argparse.Namespace) -> Account:
    """Read everything, write nothing."""
    facts = {
        job.number: result
        for job, result in _with_bar(_jobs(found, options.seconds, None), options.workers, "checking", 0)
    }
    return account_of([each for number in sorted(facts) for each in facts[number]], found.remarks)


def convert(found: Found, options: argparse.Namespace) -> Account:
    """Make what is missing of the data set in `options.out`, then write its manifest.

    Raises
    ------
    DataError
        With one sentence: another data set in `out`, no sound at all, a full disk.
    """
    out: Path = options.out
    request = {
        "source": found.source,
        "folder": as_text(found.folder.resolve().name),
        "sample_rate": found.sample_rate,
        "seconds": options.seconds,
    }
    request |= {
        "seed": options.seed,
        "split": options.split,
        **found.choices,
        "files": len(found.files),
        "files_sha256": _digest(found),
    }
    try:
        if out.resolve().is_relative_to(found.folder.resolve()) or found.folder.resolve().is_relative_to(out.resolve()):
            raise DataError(f"--out {out} and --source {found.folder} lie within each other; give another --out")
        claim(out, request, overwrite=options.overwrite)
        jobs = _jobs(found, options.seconds, out)
        missing = [job for job in jobs if not is_finished(job)]
        for _ in _with_bar(
            missing, options.workers, "converting", sum(len(job.files) for job in jobs if job not in missing)
        ):
            pass
        return _finish(found, options, request, [read_part(rows_file(out, job.number)) for job in jobs])
    except OSError as error:
        raise cannot_write(out, error) from None


def _finish(
    found: Found, options: argparse.Namespace, request: dict[str, Any], parts: list[tuple[list[Facts], list[Sound]]]
) -> Account:
    facts, rows = [each for part, _ in parts for each in part], [row for _, part in parts for row in part]
    account = account_of(facts, found.remarks)
    if not rows:
        clear(options.out)
        raise DataError(
            f"{found.folder} gives no sound ({'; '.join(account.lines)}); name another folder with --source DIR"
        )
    rows = _with_splits(rows, options)
    splits = Counter(row.split for row in rows)
    about = {
        **request,
        "families": len({row.family for row in rows}),
        "split_sounds": {name: splits[name] for name in SPLITS},
    }
    write_manifest(options.out, rows, sample_rate=found.sample_rate, about={**about, "account": account.numbers})
    return account


def _with_splits(rows: list[Sound], options: argparse.Namespace) -> list[Sound]:
    """Sounds without a split get one: those of an instrument by themselves, but pieces of one recording without pitch
    all together, unless there is no other.
    """
    open_rows = [row for row in rows if not row.split]
    groups = [row.sound if row.pitch is not None else _PIECE.sub("", row.sound) for row in open_rows]
    if len(set(groups)) == 1:
        groups = [row.sound for row in open_rows]
    dealt = (
        iter(deal([row.instrument for row in open_rows], groups, shares=options.split, seed=options.seed))
        if open_rows
        else iter(())
    )
    return [row if row.split else replace(row, split=next(dealt)) for row in rows]


def _jobs(found: Found, seconds: float, out: Path | None) -> list[Job]:
    groups: list[list[SourceFile]] = []
    room = 0
    for file in found.files:
        size = _size(found.folder / file.path)
        if not groups or room < size or len(groups[-1]) == found.files_per_job:
            groups.append([])
            room = JOB_BYTES
        groups[-1].append(file)
        room -= size
    samples = round(seconds * found.sample_rate)
    return [
        Job(number, found.folder, tuple(files), found.sample_rate, samples, out) for number, files in enumerate(groups)
    ]


def _with_bar(jobs: Sequence[Job], workers: int | None, what: str, done: int) -> Iterator[tuple[Job, list[Facts]]]:
    with tqdm(
        total=done + sum(len(job.files) for job in jobs), initial=done, unit="file", desc=what, disable=None
    ) as bar:
        for job, facts in run_jobs(work, jobs, workers):
            bar.update(len(job.files))
            yield job, facts


def _digest(found: Found) -> str:
    """Of names, sizes and labels: another folder, or other labels, is another request."""
    digest = hashlib.sha256()
    for file in found.files:
        digest.update(f"{_size(found.folder / file.path)} {file!r}\n".encode())
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
