"""The knob map's file: TOML, typed and checked. `default_map.toml` explains the keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Byte = Annotated[int, Field(ge=0, le=127)]
SOURCES = ("cc", "cc14", "pitch_bend", "program_change")


class KnobMapError(Exception):
    """A map that cannot be used; the message says which line of it and why."""


class Knob(BaseModel):
    """One [[knob]] of the map; `default_map.toml` explains the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    target: str
    cc: Byte | None = None
    cc14: Annotated[int, Field(ge=0, le=31)] | None = None
    pitch_bend: Literal[True] | None = None
    program_change: Literal[True] | None = None
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    low: float | None = None
    high: float | None = None
    center: float | None = None
    curve: Literal["linear", "exponential", "s"] = "linear"

    @model_validator(mode="after")
    def _consistent(self) -> Knob:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}, not {' and '.join(given) or 'none'}")
        if self.program_change and any(key is not None for key in (self.low, self.high, self.center)):
            raise ValueError("program_change takes no low, high or center: the program number is the value")
        return self

    @property
    def source(self) -> str:
        """'CC 20', 'pitch bend, channel 3'."""
        number = next((f"{name.upper()} {value}" for name in ("cc", "cc14") if (value := getattr(self, name)) is not None), None)
        name = number or ("pitch bend" if self.pitch_bend else "program change")
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
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KnobMapError(f"cannot read the knob map {path}: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, not TOML
        raise KnobMapError(f"{path} is not TOML ({error}); see realtime/default_map.toml for an example") from None
    try:
        return _File.model_validate(content).knob
    except ValidationError as error:
        raise KnobMapError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    place = f"knob {int(where[1]) + 1}: " if len(where) > 1 and where[1].isdigit() else ""
    key = where[-1] if where and not where[-1].isdigit() else ""
    if first["type"] == "extra_forbidden":
        keys = _File.model_fields if len(where) == 1 else Knob.model_fields
        return f"{place}unknown key {key!r}; the keys are {', '.join(keys)}"
    if first["type"] == "missing":
        return f"{place}{key} is missing"
    if first["type"] == "value_error":
        return f"{place}{first['msg'].removeprefix('Value error, ')}"
    return f"{place}{key} = {first['input']!r}: {first['msg']}"
