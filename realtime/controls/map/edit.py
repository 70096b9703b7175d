"""Changing a knob map's text without losing what its owner wrote: comments, order and other knobs stay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Comment, Item, Key, Table, Trivia

from realtime.controls.desk import Desk
from realtime.controls.map.file import Knob, KnobMapError, parse_knobs, read_text
from realtime.controls.map.knob_map import built_in_map
from realtime.files.atomic_file import replace_file

# What a knob keeps when it is given another target. Its range and its smoothing belonged to the old one.
KEPT = ("channel", "curve", "takeover", "feedback")
Line = tuple[Key | None, Item]  # of a table: an entry, or a comment or blank line without a key
OPENING = """# A knob map made by --learn; edit it as you like, learning keeps what it does not change.
# The keys are explained in realtime/default_map.toml, and the knobs below are those of that map until you change them.
"""


def current_text(path: Path, desk: Desk) -> str:
    """The map's text; where there is no such file, the built-in map's knobs that `desk` has targets for.

    Raises KnobMapError.
    """
    if path.exists():
        return read_text(path)
    knobs = [knob for knob in parse_knobs(read_text(built_in_map()), path) if knob.target in desk.index]
    return "\n".join([OPENING, *(_section(knob.model_dump(exclude_defaults=True)) for knob in knobs)])


def with_knob(text: str, path: Path, keys: Mapping[str, object]) -> str:
    """Let one control move one target: in the place of what the control moved before, or at the end of the text.

    Parameters
    ----------
    text : str
        The map's text.
    path : Path
        The map's file, for error messages.
    keys : mapping
        The knob's keys. A knob that listened to all channels continues to do so.

    Returns
    -------
    str
        The changed text.

    Raises
    ------
    KnobMapError
        The knob is impossible, or the file is written in a way that cannot be changed in place.
    """
    knobs, wanted = parse_knobs(text, path), _checked(keys, path)
    same = [i for i, knob in enumerate(knobs) if same_control(knob, wanted)]
    if not same:
        added = f"{text.rstrip()}\n\n{_section(keys)}" if text.strip() else _section(keys)
        return _verified(added, text, path, (*knobs, wanted))
    wanted = _inheriting(knobs[same[0]], keys, path)
    document = _parsed(text, path)
    _rewrite(_tables(document, path)[same[0]], wanted, path)
    _remove(document, same[1:], path)
    expected = [wanted if i == same[0] else knob for i, knob in enumerate(knobs) if i == same[0] or i not in same]
    return _verified(document.as_string(), text, path, tuple(expected))


def without_knobs(text: str, path: Path, doomed: Callable[[Knob], bool]) -> str:
    """The text without the knobs for which `doomed` is true; comments stay. Raises KnobMapError."""
    knobs = parse_knobs(text, path)
    document = _parsed(text, path)
    _remove(document, [i for i, knob in enumerate(knobs) if doomed(knob)], path)
    return _verified(document.as_string(), text, path, tuple(knob for knob in knobs if not doomed(knob)))


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
    return tomlkit.dumps({"knob": [dict(keys)]})


def _parsed(text: str, path: Path) -> TOMLDocument:
    try:
        return tomlkit.parse(text.replace("\r\n", "\n").rstrip() + "\n")
    except TOMLKitError:
        raise _not_changeable(path) from None


def _tables(document: TOMLDocument, path: Path) -> AoT:
    """The [[knob]] tables."""
    tables = document.get("knob", AoT([]))
    if not isinstance(tables, AoT):
        raise KnobMapError(
            f"{path} does not write its knobs as [[knob]] tables, so it cannot be changed here; write them so, or "
            "learn into another file"
        )
    return tables


def _rewrite(table: Table, knob: Knob, path: Path) -> None:
    """Give a table the keys of `knob`. Lines that already say so stay, other keys go, new ones follow the target."""
    _refuse_long_lines(table, path)
    wanted = knob.model_dump(exclude_defaults=True)
    fresh = tomlkit.table()
    for name, value in wanted.items():
        if name not in table:
            fresh.add(name, value)
        elif table[name] != value:
            table[name] = value  # keeps the comment behind it
    body = table.value.body
    target = next(i for i, (key, _) in enumerate(body) if key is not None and key.key == "target")
    lines = [_without_key(key, item) if key and key.key not in wanted else (key, item) for key, item in body]
    lines[target + 1 : target + 1] = fresh.value.body
    body[:] = [line for line in lines if line is not None]


def _remove(document: TOMLDocument, doomed: Sequence[int], path: Path) -> None:
    """Take tables out. Their comments and blank lines go to what stands before them."""
    tables = _tables(document, path)
    for i in reversed(doomed):
        table = tables[i]
        _refuse_long_lines(table, path)
        left = [_comment_line(table.trivia.comment), *(_without_key(key, item) for key, item in table.value.body)]
        body = tables[i - 1].value.body if i else document.body
        place = len(body) if i else next(k for k, (_, item) in enumerate(body) if item is tables)
        body[place:place] = [line for line in left if line is not None]
        del tables[i]
    if not tables:  # tomlkit would write `knob = []`
        document.body[:] = [line for line in document.body if line[1] is not tables]


def _without_key(key: Key | None, item: Item) -> Line | None:
    """What is left of a line without its key: a comment or a blank line, or None."""
    return (key, item) if key is None else _comment_line(item.trivia.comment)


def _comment_line(comment: str) -> Line | None:
    return (None, Comment(Trivia(comment=comment))) if comment else None


def _refuse_long_lines(table: Table, path: Path) -> None:
    """Multi-line strings are legal, but nobody writes a knob with them."""
    if any("\n" in item.as_string() for key, item in table.value.body if key is not None):
        raise _not_changeable(path)


def _verified(text: str, before: str, path: Path, expected: tuple[Knob, ...]) -> str:
    """The new text, read again: it must say exactly what was wanted, whatever the old one looked like."""
    text = text.rstrip() + "\n"
    if "\r\n" in before:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    with contextlib.suppress(KnobMapError):
        if parse_knobs(text, path) == expected:
            return text
    raise _not_changeable(path)


def _not_changeable(path: Path) -> KnobMapError:
    return KnobMapError(
        f"{path} is written in a way that cannot be changed here; write one key per line, or learn into another file"
    )
