"""One part of a data set: the sounds of some files in one file of audio, with their rows and the facts about the files
beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from training.data.build.cutting import Facts, SourceFile, examine
from training.data.manifest import Sound, replace_file


@dataclass(frozen=True)
class Job:
    """Some files that become one file of audio. `out` None: only look."""

    number: int
    folder: Path
    files: tuple[SourceFile, ...]
    sample_rate: int
    samples: int
    out: Path | None


def work(job: Job) -> list[Facts]:
    """Examine the files of one job and, unless only looking, write their audio, then their rows and facts, each in one
    step.
    """
    facts, rows, audio, offset = [], [], [], 0
    for file in job.files:
        examined = examine(job.folder, file, job.sample_rate, job.samples)
        facts.append(examined.facts)
        if job.out is not None:
            rows += [
                replace(row, file=audio_file(job.out, job.number).name, offset=offset + row.offset)
                for row in examined.rows
            ]
            audio += examined.coded
            offset += sum(map(len, examined.coded))
    if job.out is not None:
        content = {"facts": [asdict(each) for each in facts], "rows": [asdict(row) for row in rows]}
        replace_file(audio_file(job.out, job.number), b"".join(coded.tobytes() for coded in audio))
        replace_file(rows_file(job.out, job.number), json.dumps(content, ensure_ascii=False).encode())
    return facts


def read_part(path: Path) -> tuple[list[Facts], list[Sound]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    facts = [Facts(**{**each, "sounds": tuple(map(tuple, each["sounds"]))}) for each in content["facts"]]
    return facts, [Sound(**row) for row in content["rows"]]


def is_finished(job: Job) -> bool:
    """Whether this job's two files are there and agree."""
    if job.out is None:
        return False
    try:
        facts, rows = read_part(rows_file(job.out, job.number))
        size = audio_file(job.out, job.number).stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return [each.path for each in facts] == [file.name for file in job.files] and size == 2 * sum(
        row.length for row in rows
    )


def audio_file(out: Path, number: int) -> Path:
    return out / f"audio-{number:05d}.i16"


def rows_file(out: Path, number: int) -> Path:
    return out / f"rows-{number:05d}.json"
