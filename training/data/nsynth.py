"""NSynth as a data set: python -m training.data.nsynth --source DIR --out DIR

DIR holds nsynth-train, nsynth-valid and nsynth-test, or some of them, or is one of them: a folder with examples.json
and audio/NOTE.wav. With more than one of them, they are the splits; otherwise the split is dealt. (In NSynth's own
splits no instrument of train is in the others.)
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.console import run_command
from training.data.build.convert import Found, run_source
from training.data.build.cutting import SourceFile
from training.data.labels import counted
from training.data.manifest import SPLITS, DataError
from training.data.options import Parser, number, source_parser, word_list

FOLDERS = dict(zip(("nsynth-train", "nsynth-valid", "nsynth-test"), SPLITS, strict=True))
_KEYS: dict[str, type] = {"pitch": int, "velocity": int, "instrument_str": str, "instrument_family_str": str}

Example = tuple[SourceFile, int]  # a note and its sample rate, 0 if not said


def _find(options: argparse.Namespace) -> Found:
    source: Path = options.source
    folders = [source / name for name in FOLDERS if (source / name / "examples.json").is_file()]
    folders = folders or ([source] if (source / "examples.json").is_file() else [])
    if not folders:
        raise DataError(
            f"{source} holds neither examples.json nor nsynth-train, nsynth-valid, nsynth-test; name NSynth's folder "
            "with --source DIR"
        )
    examples, remarks = [], []
    for folder in folders:
        found = _read(folder, source, FOLDERS[folder.name] if len(folders) > 1 else "")
        examples += found
        extra = {path.name for path in (folder / "audio").glob("*.wav")} - {Path(file.path).name for file, _ in found}
        if extra:
            remarks.append(
                f"{counted(len(extra), 'WAV file')} of {folder.name} left out, not in its examples.json: "
                f"{', '.join(sorted(extra)[:5])}"
            )
    twice = [name for name, count in Counter(Path(file.path).name for file, _ in examples).items() if count > 1]
    if twice:
        remarks.append(f"{counted(len(twice), 'note')} in more than one split: {', '.join(twice[:5])}")
    if len(folders) == 2:
        remarks.append(
            f"of {', '.join(FOLDERS)} only {folders[0].name} and {folders[1].name} are there, so one split is empty"
        )
    chosen = _limited(_of_families(source, examples, options.families), options.limit)
    sample_rate = options.sample_rate or next((rate for _, rate in chosen if rate), 16000)
    choices = {"families": options.families, "limit": options.limit}
    return Found(
        "nsynth", source, tuple(file for file, _ in chosen), sample_rate, tuple(remarks), choices, files_per_job=256
    )


def _read(folder: Path, source: Path, split: str) -> list[Example]:
    """The notes of one examples.json, by name."""
    path = folder / "examples.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON ({' '.join(str(error).split())}); fetch it again") from None
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} is not an object with a note per name; fetch it again")
    examples = []
    for name, note in sorted(content.items()):
        _check(path, name, note)
        relative = (folder / "audio" / f"{name}.wav").relative_to(source).as_posix()
        labels = note["instrument_str"], note["instrument_family_str"], float(note["pitch"]), note["velocity"]
        rate = note.get("sample_rate")
        examples.append(
            (SourceFile(relative, *labels, split), rate if isinstance(rate, int) and 8000 <= rate <= 96000 else 0)
        )
    return examples


def _check(path: Path, name: str, note: Any) -> None:
    if not name or "/" in name or "\\" in name or name.encode(errors="replace").decode() != name:
        raise DataError(f"{path}: {name!r} is not the name of a note; fetch it again")
    for key, kind in _KEYS.items():
        value = note.get(key) if isinstance(note, dict) else None
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value <= 127):
            expected = "a MIDI number 0 … 127" if kind is int else "a name"
            raise DataError(f"{path}: {key} of {name} is {value!r}, expected {expected}; fetch the file again")


def _of_families(source: Path, examples: list[Example], families: tuple[str, ...]) -> list[Example]:
    present = {file.family for file, _ in examples}
    absent = [family for family in families if family not in present]
    if absent:
        raise DataError(f"{source} has no family {absent[0]!r}; it has {', '.join(sorted(present))}")
    return [example for example in examples if not families or example[0].family in families]


def _limited(examples: list[Example], limit: int | None) -> list[Example]:
    """At most `limit` notes per instrument, spread evenly over its notes in order of name, so over its pitches."""
    if limit is None:
        return examples
    by_instrument: dict[str, list[Example]] = {}
    for example in examples:
        by_instrument.setdefault(example[0].instrument, []).append(example)
    return [
        notes[index]
        for notes in by_instrument.values()
        for index in np.unique(np.linspace(0, len(notes) - 1, min(limit, len(notes))).round().astype(int)).tolist()
    ]


def _parser() -> Parser:
    parser = source_parser(
        "training.data.nsynth", "Turn NSynth (its JSON and WAV layout) into a data set.", sample_rate=None
    )
    add = parser.add_argument
    add(
        "--families",
        type=word_list,
        default=(),
        metavar="LIST",
        help="only these, for example bass,brass; default: all",
    )
    add(
        "--limit",
        type=number(1, 10**6, int),
        metavar="N",
        help="at most so many notes per instrument, evenly chosen; default: all",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert or check; returns the exit code."""
    return run_source(_parser().parse_args(arguments), _find)


if __name__ == "__main__":
    run_command(main)
