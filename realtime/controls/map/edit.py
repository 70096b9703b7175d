"""Changing a knob map's text without losing what its owner wrote: comments, order and other knobs stay."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from realtime.controls.desk import Desk
from realtime.controls.map.file import Knob, KnobMapError, parse_knobs, read_text
from realtime.controls.map.knob_map import built_in_map
from realtime.files.whole_file import replace_file

HEADER = re.compile(r"""\s*\[\[\s*["']?knob["']?\s*\]\]\s*(#.*)?$""")
ENTRY = re.compile(r"""\s*["']?(\w+)["']?\s*=\s*("[^"]*"|'[^']*'|[^#]*?)\s*(#.*)?$""")
KEPT = (
    "channel",
    "curve",
    "takeover",
    "feedback",
)  # of a knob that is given another target; its ends and its smoothing were the old one's
OPENING = """# A knob map made by --learn; edit it as you like, learning keeps what it does not change.
# The keys are explained in realtime/default_map.toml, and the knobs below are those of that map until you change them.
"""


def current_text(path: Path, desk: Desk) -> str:
    """The map's text; where there is no such file, the built-in map's knobs that `desk` has targets for. Raises
    KnobMapError.
    """
    if path.exists():
        return read_text(path)
    knobs = [knob for knob in parse_knobs(read_text(built_in_map()), path) if knob.target in desk.index]
    return "\n".join([OPENING, *(_section(knob.model_dump(exclude_defaults=True)) for knob in knobs)])


def with_knob(text: str, path: Path, keys: Mapping[str, object]) -> str:
    """The text in which one control moves one target: in the place of what it moved before, or at the end.

    keys : of the knob; a knob that listened to all channels goes on doing so

    Raises
    ------
    KnobMapError
        The knob is impossible, or the file is written in a way that cannot be changed piece by piece.
    """
    knobs, wanted = parse_knobs(text, path), _checked(keys, path)
    same = [i for i, knob in enumerate(knobs) if same_control(knob, wanted)]
    if not same:
        return _verified(
            f"{text.rstrip()}\n\n{_section(keys)}" if text.strip() else _section(keys), text, path, (*knobs, wanted)
        )
    wanted = _inheriting(knobs[same[0]], keys, path)
    lines, sections = _sections(text, path, len(knobs))
    for i in reversed(same):
        lines[sections[i]] = _rewritten(lines[sections[i]], wanted) if i == same[0] else _emptied(lines[sections[i]])
    expected = [wanted if i == same[0] else knob for i, knob in enumerate(knobs) if i == same[0] or i not in same]
    return _verified("\n".join(lines), text, path, tuple(expected))


def without_knobs(text: str, path: Path, doomed: Callable[[Knob], bool]) -> str:
    """The text without some of its knobs; comments stay. Raises KnobMapError."""
    knobs = parse_knobs(text, path)
    lines, sections = _sections(text, path, len(knobs))
    for i in reversed(range(len(knobs))):
        if doomed(knobs[i]):
            lines[sections[i]] = _emptied(lines[sections[i]])
    return _verified("\n".join(lines), text, path, tuple(knob for knob in knobs if not doomed(knob)))


def same_control(knob: Knob, other: Knob) -> bool:
    """Whether both listen to the same control, at least on one channel."""
    channels = {knob.channel, other.channel}
    return (knob.kind, knob.number) == (other.kind, other.number) and (None in channels or len(channels) == 1)


def save(path: Path, text: str) -> None:
    """Whole or not at all: written beside the file, then renamed. Raises KnobMapError."""
    try:
        replace_file(path, text.encode("utf-8"))
    except OSError as error:
        raise KnobMapError(f"cannot write the knob map {path}: {error.strerror or error}") from None


def _inheriting(old: Knob, keys: Mapping[str, object], path: Path) -> Knob:
    kept = {name: getattr(old, name) for name in KEPT if name in old.model_fields_set}
    given = {name: value for name, value in keys.items() if name != "channel"}
    channel = {name: value for name, value in kept.items() if name == "channel"}
    try:
        return _checked({**kept, **given}, path)
    except KnobMapError:  # a button takes no takeover
        return _checked({**channel, **given}, path)


def _checked(keys: Mapping[str, object], path: Path) -> Knob:
    return parse_knobs(_section(keys), path)[0]


def _section(keys: Mapping[str, object]) -> str:
    return "\n".join(["[[knob]]", *(f"{name} = {json.dumps(value)}" for name, value in keys.items()), ""])


def _sections(text: str, path: Path, knobs: int) -> tuple[list[str], list[slice]]:
    """All lines, and those of each knob."""
    lines = text.split("\n")
    heads = [i for i, line in enumerate(lines) if HEADER.match(line)]
    if len(heads) != knobs:
        raise KnobMapError(
            f"{path} does not write its knobs as [[knob]] tables, so it cannot be changed here; write them so, or "
            "learn into another file"
        )
    return lines, [slice(start, end) for start, end in zip(heads, [*heads[1:], len(lines)], strict=True)]


def _rewritten(lines: list[str], knob: Knob) -> list[str]:
    """A section with the keys of `knob`: lines that already say so stay, other keys go, new ones follow the target."""
    wanted = {name: json.dumps(value) for name, value in knob.model_dump(exclude_defaults=True).items()}
    kept = [_entry(line, wanted) for line in lines]
    present = {match[1] for line in kept if line is not None and (match := ENTRY.match(line))}
    after = next(
        (
            i
            for i, line in enumerate(kept)
            if line is not None and (match := ENTRY.match(line)) and match[1] == "target"
        ),
        0,
    )
    fresh = [f"{name} = {value}" for name, value in wanted.items() if name not in present]
    return [line for line in [*kept[: after + 1], *fresh, *kept[after + 1 :]] if line is not None]


def _entry(line: str, wanted: Mapping[str, str]) -> str | None:
    """The line as it shall be; None = gone, unless a comment is left of it."""
    match = ENTRY.match(line)
    if match is None:
        return line
    if match[1] not in wanted:
        return match[3]
    return line if match[1] != "target" else f"target = {wanted['target']}{'  ' + match[3] if match[3] else ''}"


def _emptied(lines: list[str]) -> list[str]:
    """What is left of a section without its knob: comments, and blank lines."""
    left = [match[3] if (match := ENTRY.match(line)) else line for line in lines[1:]]
    return [line for line in ([_comment(lines[0])] if _comment(lines[0]) else []) + left if line is not None]


def _comment(header: str) -> str | None:
    match = HEADER.match(header)
    return match[1] if match else None


def _verified(text: str, before: str, path: Path, expected: tuple[Knob, ...]) -> str:
    """The new text, read again: it must say exactly what was wanted, whatever the old one looked like."""
    text = text.rstrip() + "\n"
    if "\r\n" in before:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    with contextlib.suppress(KnobMapError):
        if parse_knobs(text, path) == expected:
            return text
    raise KnobMapError(
        f"{path} is written in a way that cannot be changed here; write one key per line, or learn into another file"
    )
