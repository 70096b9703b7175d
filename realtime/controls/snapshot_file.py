"""The snapshots' file: TOML, typed and checked, replaced in one step.

[[snapshot]]
number = 1
name = "warm"

[snapshot.knobs]             # every knob that is not at rest
preset = "Violin"            # presets by name; "own 1" is a timbre of your own, kept below
"timbre[0]" = 1.25

[[snapshot.own]]
slot = 1
name = "flute"
values = [0.5, …]
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realtime.controls.desk import LAST_SNAPSHOT
from realtime.files.atomic_file import replace_file
from realtime.knobs.targets import SLOTS

DEFAULT_FILE = Path("neiro-snapshots.toml")
LONGEST_NAME = 100
HEADER = "# Snapshots of Neiro. The program writes this file anew whenever one is stored; comments are not kept.\n"


class SnapshotError(Exception):
    """Snapshots that cannot be used, read or written; the message says which and why."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class UserTimbre(_Record):
    """A captured or loaded timbre that a snapshot uses."""

    slot: Annotated[int, Field(ge=1, le=SLOTS)]
    name: Annotated[str, Field(max_length=LONGEST_NAME)]
    values: Annotated[list[float], Field(min_length=1)]


class Snapshot(_Record):
    """Every knob that was not at rest, by name; presets by their own names where those are unique."""

    number: Annotated[int, Field(ge=1, le=LAST_SNAPSHOT)]
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    knobs: dict[str, float | str] = {}
    own: list[UserTimbre] = []

    @field_validator("own")
    @classmethod
    def _each_once(cls, own: list[UserTimbre]) -> list[UserTimbre]:
        slots = [timbre.slot for timbre in own]
        if twice := {slot for slot in slots if slots.count(slot) > 1}:
            raise ValueError(f"slot {min(twice)} is there twice")
        return own

    @property
    def title(self) -> str:
        return f"snapshot {self.number}{f' ({self.name})' if self.name else ''}"


class _File(_Record):
    snapshot: list[Snapshot] = []


def read_snapshots(path: Path) -> dict[int, Snapshot]:
    """All snapshots of a file by their number, in its order.

    Raises
    ------
    SnapshotError
        With one sentence: which snapshot and key of which file, and what is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # as editors on Windows write it
    except OSError as error:
        raise SnapshotError(f"cannot read the snapshots {path}: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, not TOML
        raise SnapshotError(
            f"{path} is not TOML ({' '.join(str(error).split())}); mend it, or move it away and start anew"
        ) from None
    try:
        snapshots = _File.model_validate(content).snapshot
    except ValidationError as error:
        raise SnapshotError(f"{path}: {_explain(error, content)}") from None
    found: dict[int, Snapshot] = {}
    for snapshot in snapshots:
        if snapshot.number in found:
            raise SnapshotError(f"{path}: snapshot {snapshot.number} is there twice; give one of them another number")
        found[snapshot.number] = snapshot
    return found


def write_snapshots(path: Path, snapshots: Iterable[Snapshot]) -> None:
    """Whole or not at all: written beside the target, then renamed.

    Raises
    ------
    SnapshotError
        The old file is then still whole.
    """
    text = HEADER + "".join(_section(snapshot) for snapshot in snapshots)
    try:
        replace_file(path, text.encode("utf-8"))
    except OSError as error:
        raise SnapshotError(f"cannot write the snapshots {path}: {error.strerror or error}") from None


def _section(snapshot: Snapshot) -> str:
    """One snapshot as TOML.

    The tables are joined here, because tomlkit takes five times as long to build a whole document, and the control
    loop waits for it.
    """
    tables: list[tuple[str, Mapping[str, object]]] = [
        ("[[snapshot]]", {"number": snapshot.number, "name": snapshot.name}),
        ("[snapshot.knobs]", snapshot.knobs),
        *(("[[snapshot.own]]", timbre.model_dump()) for timbre in snapshot.own),
    ]
    return "".join(f"\n{header}\n{''.join(_line(*pair) for pair in content.items())}" for header, content in tables)


def _line(name: str, value: object) -> str:
    return f"{tomlkit.key(name).as_string()} = {tomlkit.item(_plain(value)).as_string()}\n"


def _plain(value: Any) -> Any:
    """What reads back as the same value, bit for bit: whole numbers without a point, text without lone surrogates."""
    if isinstance(value, list):
        return [_plain(number) for number in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    negative_zero = value == 0 and math.copysign(1.0, value) < 0
    return int(value) if value == int(value) and abs(value) < 2**53 and not negative_zero else float(value)


def _explain(error: ValidationError, content: dict[str, Any]) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    place = ""
    if len(where) > 1 and where[0] == "snapshot" and where[1].isdigit():
        snapshot = content["snapshot"][int(where[1])]
        number = snapshot.get("number") if isinstance(snapshot, dict) else None
        place = f"snapshot {number}: " if isinstance(number, int) else f"the {int(where[1]) + 1}. snapshot: "
        where = where[2:]
    where = [part for part in where if part not in ("float", "str")]  # which arm of a union did not fit
    key = ".".join(where) or "snapshot"
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = _File if not place else UserTimbre if where[0] == "own" else Snapshot
        return f"{place}unknown key {key!r}; the keys are {', '.join(model.model_fields)}"
    if first["type"] == "missing":
        return f"{place}{key} is missing"
    if first["type"] == "value_error":
        return f"{place}{key}: {first['msg'].removeprefix('Value error, ')}"
    shown = repr(first["input"])
    return f"{place}{key} = {shown if len(shown) <= 60 else shown[:60] + '…'}: {first['msg']}"
