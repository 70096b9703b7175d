"""The account of a source: what is in it, what is wrong with it, as lines to read and numbers to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.build.cutting import UNLABELLED, Facts
from training.data.labels import counted, note_name

SHOWN = 20  # names per line of the account

_PROBLEMS: dict[str, tuple[str, Callable[[Facts], bool]]] = {
    "clipped": ("clipped (runs of full-scale samples), used", lambda facts: facts.clipped),
    "offset": ("constant offset (DC), removed", lambda facts: facts.offset),
    "truncated": ("truncated, used as far as they go", lambda facts: facts.truncated),
    "header": ("wrong in their headers, read to their ends", lambda facts: bool(facts.header)),
    "silent": ("silent, left out", lambda facts: facts.state == "silent"),
    "short": ("without a sound of 10 ms, left out", lambda facts: facts.state == "short"),
    "unreadable": ("unreadable, left out", lambda facts: facts.state == "unreadable"),
    "skipped": ("not understood, left out", lambda facts: facts.state == "skipped"),
    "remarked": ("to be looked at, used", lambda facts: bool(facts.remark)),
}


@dataclass(frozen=True)
class Account:
    """numbers : plain numbers, for dataset.json;  lines : the same to read, with names."""

    numbers: dict[str, Any]
    lines: tuple[str, ...]


def account_of(facts: Sequence[Facts], remarks: Sequence[str]) -> Account:
    """Add up the facts of all files.

    remarks : what the source found wrong while listing its files, a sentence each
    """
    sounds = [sound for each in facts for sound in each.sounds]
    labels = [*remarks, *_label_problems(facts, sounds)]
    numbers = {
        **_sizes(facts, sounds),
        **{key: sum(map(test, facts)) for key, (_, test) in _PROBLEMS.items()},
        "label_problems": len(labels),
    }
    numbers["instruments"] = _instruments(sounds)
    lines = [*_size_lines(numbers), *_problem_lines(facts), *(f"labels: {problem}" for problem in labels)]
    return Account(numbers, (*lines, *_instrument_lines(numbers["instruments"])))


def _sizes(facts: Sequence[Facts], sounds: Sequence[tuple[str, float | None, float]]) -> dict[str, Any]:
    read = [each for each in facts if each.sample_rate]
    lengths = np.array([seconds for _, _, seconds in sounds])
    spread = {"min": lengths.min(), "median": np.median(lengths), "max": lengths.max()} if len(lengths) else {}
    return {
        "files": len(facts),
        "files_read": len(read),
        "files_used": sum(each.state == "used" for each in facts),
        "recorded_seconds": round(sum(each.seconds for each in read), 3),
        "sounds": len(sounds),
        "sound_seconds": round(float(lengths.sum()), 3),
        **{f"sound_seconds_{key}": round(float(value), 4) for key, value in spread.items()},
        "unpitched": sum(pitch is None for _, pitch, _ in sounds),
        "sample_rates": {str(key): count for key, count in sorted(Counter(each.sample_rate for each in read).items())},
        "channels": {str(key): count for key, count in sorted(Counter(each.channels for each in read).items())},
    }


def _instruments(sounds: Sequence[tuple[str, float | None, float]]) -> dict[str, dict[str, Any]]:
    """Of each instrument: its sounds, and its lowest and highest note where it has pitches."""
    found: dict[str, dict[str, Any]] = {}
    for instrument in sorted({name for name, _, _ in sounds}):
        pitches = [pitch for name, pitch, _ in sounds if name == instrument]
        known = [pitch for pitch in pitches if pitch is not None]
        found[instrument] = {"sounds": len(pitches), **({"lowest": min(known), "highest": max(known)} if known else {})}
    return found


def _label_problems(facts: Sequence[Facts], sounds: Sequence[tuple[str, float | None, float]]) -> list[str]:
    names = Counter(name for name, _, _ in sounds)
    problems = []
    if names[UNLABELLED]:
        problems.append(f"{names[UNLABELLED]} of {len(sounds)} sounds have no instrument")
    if len(names) == 1:
        problems.append(f"all sounds are of one instrument ({next(iter(names))}), so timbres cannot be told apart")
    if len({each.path for each in facts if each.sounds}) == 1 and all(pitch is None for _, pitch, _ in sounds):
        problems.append(
            "all sounds come from one recording; it goes to one split, and training has none to validate on"
        )
    twins = Counter(each.path.rpartition(".")[0].lower() for each in facts)
    twice = [stem for stem, count in twins.items() if count > 1]
    if twice:
        problems.append(f"{counted(len(twice), 'name')} with more than one file: {_listed(twice)}")
    return problems


def _size_lines(numbers: dict[str, Any]) -> list[str]:
    recorded = _duration(numbers["recorded_seconds"])
    files = counted(numbers["files"], "file")
    lines = [f"{files}, {numbers['files_read']} read, {numbers['files_used']} used; {recorded} recorded"]
    if numbers["sounds"]:
        shortest, median, longest = (numbers[f"sound_seconds_{key}"] for key in ("min", "median", "max"))
        spread = f"each {shortest:.3g} … {longest:.3g} s, median {median:.3g} s"
        sounds = f"{counted(numbers['sounds'], 'sound')}, {_duration(numbers['sound_seconds'])} in all"
        lines.append(f"{sounds}, {spread}; {numbers['unpitched']} without pitch")
    lines.append(
        "sample rates: " + ", ".join(f"{rate} Hz in {count}" for rate, count in numbers["sample_rates"].items())
    )
    lines.append("channels: " + ", ".join(f"{channels} in {count}" for channels, count in numbers["channels"].items()))
    return lines


def _problem_lines(facts: Sequence[Facts]) -> list[str]:
    lines = []
    for key, (title, test) in _PROBLEMS.items():
        named = [
            _named(each, {"remarked": each.remark, "header": each.header, each.state: each.why}.get(key, ""))
            for each in facts
            if test(each)
        ]
        if named:
            lines.append(f"{len(named)} {title}: {_listed(named)}")
    return lines


def _instrument_lines(instruments: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, row in instruments.items():
        pitches = f", {note_name(row['lowest'])} … {note_name(row['highest'])}" if "lowest" in row else ""
        lines.append(f"  {name}: {counted(row['sounds'], 'sound')}{pitches}")
    return lines


def _named(facts: Facts, why: str) -> str:
    return f"{facts.path} ({why})" if why else facts.path


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names[:SHOWN]) + (f"; … {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 120
        else f"{seconds:.3g} s"
    )
