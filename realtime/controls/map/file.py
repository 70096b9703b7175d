"""The knob map's file: TOML, typed and checked. `default_map.toml` explains the keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Byte = Annotated[int, Field(ge=0, le=127)]
Parameter = Annotated[int, Field(ge=0, le=16382)]  # 16383 is the null function
SOURCES = (
    "cc",
    "cc14",
    "nrpn",
    "rpn",
    "pitch_bend",
    "channel_pressure",
    "poly_pressure",
    "program_change",
    "note",
    "notes",
    "keys",
    "velocity",
)
NUMBERED = ("cc", "cc14", "nrpn", "rpn", "poly_pressure", "note")
CHOOSERS = ("program_change", "notes")  # whose number is the value
BUTTONS = ("cc", "note")
ANY = -1  # every note


class KnobMapError(Exception):
    """A map that cannot be used; the message says which line of it and why."""


class Knob(BaseModel):
    """One [[knob]] of the map; `default_map.toml` explains the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    target: str
    cc: Byte | None = None
    cc14: Annotated[int, Field(ge=0, le=31)] | None = None
    nrpn: Parameter | None = None
    rpn: Parameter | None = None
    pitch_bend: Literal[True] | None = None
    channel_pressure: Literal[True] | None = None
    poly_pressure: Literal[True] | Byte | None = None
    program_change: Literal[True] | None = None
    note: Byte | None = None
    notes: Literal[True] | None = None
    keys: Literal[True] | None = None
    velocity: Literal[True] | None = None
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    low: float | None = None
    high: float | None = None
    center: float | None = None
    curve: Literal["linear", "exponential", "s"] = "linear"
    first: Byte | None = None
    value: float | None = None
    toggle: bool = False
    smoothing: Annotated[float, Field(ge=0, le=5)] | None = None
    takeover: Literal["jump", "pickup", "scale"] = "jump"
    feedback: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Knob:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}, not {' and '.join(given) or 'none'}")
        kind = given[0]
        ranged = any(key is not None for key in (self.low, self.high, self.center))
        if kind in CHOOSERS and ranged:
            raise ValueError(
                f"{kind} takes no low, high or center: the {'program' if kind == 'program_change' else 'note'} number "
                "is the value"
            )
        if self.first is not None and kind not in CHOOSERS:
            raise ValueError(f"first is for {' and '.join(CHOOSERS)} only")
        if (self.toggle or self.value is not None) and kind not in BUTTONS:
            raise ValueError(f"toggle and value are for {' and '.join(BUTTONS)} only")
        if self.value is not None and (self.toggle or ranged):
            raise ValueError("value stands alone: no toggle, low, high or center beside it")
        if self.takeover != "jump" and (
            kind in (*CHOOSERS, "note", "keys", "velocity") or self.toggle or self.value is not None
        ):
            raise ValueError(
                f"takeover = {self.takeover!r} is for controllers that have a position, not for buttons, keys and "
                "programs"
            )
        if self.feedback and kind in ("keys", "velocity"):
            raise ValueError(f"{kind} can show nothing, so it takes no feedback")
        return self

    @property
    def kind(self) -> str:
        """Its source: one of SOURCES."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def number(self) -> int:
        """Which controller, parameter or note; ANY for every note, 0 where there is only one."""
        number = getattr(self, self.kind)
        if self.kind in ("notes", "keys", "velocity") or number is True:
            return 0 if self.kind in ("pitch_bend", "channel_pressure", "program_change") else ANY
        return int(number)

    @property
    def source(self) -> str:
        """'CC 20', 'pitch bend, channel 3'."""
        name = self.kind.upper() if self.kind in ("cc", "cc14", "nrpn", "rpn") else self.kind.replace("_", " ")
        name = f"{name} {self.number}" if self.kind in NUMBERED and self.number != ANY else name
        return name if self.channel is None else f"{name}, channel {self.channel}"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    knob: tuple[Knob, ...] = ()


def read_knobs(path: Path) -> tuple[Knob, ...]:
    """All knobs of a map file.

    Raises
    ------
    KnobMapError
        With one sentence: which knob of which file, and what is wrong.
    """
    return parse_knobs(read_text(path), path)


def read_text(path: Path) -> str:
    """Raises KnobMapError."""
    try:
        return path.read_bytes().decode("utf-8-sig")  # not read_text: line ends stay as they are
    except OSError as error:
        raise KnobMapError(f"cannot read the knob map {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise KnobMapError(f"{path} is not TOML ({error}); see realtime/default_map.toml for an example") from None


def parse_knobs(text: str, path: Path) -> tuple[Knob, ...]:
    """The knobs in the text of the file `path`. Raises KnobMapError."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the latter from brackets thousands deep
        raise KnobMapError(f"{path} is not TOML ({error}); see realtime/default_map.toml for an example") from None
    try:
        return _File.model_validate(content).knob
    except ValidationError as error:
        raise KnobMapError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    place = f"knob {int(where[1]) + 1}: " if len(where) > 1 and where[1].isdigit() else ""
    key = where[2] if len(where) > 2 else where[0] if where else ""
    if first["type"] == "extra_forbidden":
        keys = _File.model_fields if len(where) == 1 else Knob.model_fields
        return f"{place}unknown key {key!r}; the keys are {', '.join(keys)}"
    if first["type"] == "missing":
        return f"{place}{key} is missing"
    if first["type"] == "value_error":
        return f"{place}{first['msg'].removeprefix('Value error, ')}"
    return f"{place}{key} = {first['input']!r}: {first['msg']}"
