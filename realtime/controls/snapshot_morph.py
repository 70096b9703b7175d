"""Between two snapshots: continuous values move on a straight line, whole numbers switch half way.

Presets move along the sides of the preset square.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

CORNERS = ("preset", "preset_b", "preset_c", "preset_d")
ARRIVED, TURNED, BACK = 0.955, 0.97, 0.985  # places on the way; each stage is two steps of a 7-bit controller


def between(
    start: Mapping[str, float], end: Mapping[str, float], place: float, whole: Collection[str]
) -> dict[str, float]:
    """Values at `place` 0 … 1 between two complete sets of them; exactly `start` at 0 and `end` at 1.

    whole : names that take whole numbers only

    Two snapshots with other presets: while both have y = 0 (one preset, or two along x), the square's lower side
    becomes the one's presets, its upper side the other's, and y goes from one to the other. Close to the end the sides
    change places while nothing of it can be heard, so that what is reached is `end` itself. Snapshots that use the
    inside of the square in other ways switch half way.
    """
    if place <= 0.0 or place >= 1.0:
        return dict(end if place >= 1.0 else start)
    values = {}
    for name, low in start.items():
        high = end[name]
        if name in whole:
            values[name] = low if place < 0.5 else high
        else:
            values[name] = low if low == high else (1 - place) * low + place * high
    if any(start[corner] != end[corner] for corner in CORNERS):
        if start["y"] == end["y"] == 0.0:
            values |= _crossing(_side(start), _side(end), place)
        else:
            values |= {name: (start if place < 0.5 else end)[name] for name in (*CORNERS, "x", "y")}
    return values


def _side(values: Mapping[str, float]) -> tuple[float, float]:
    """The presets at x = 0 and x = 1 of a snapshot with y = 0."""
    return values["preset"], values["preset_b"] if values["x"] > 0.0 else values["preset"]


def _crossing(lower: tuple[float, float], upper: tuple[float, float], place: float) -> dict[str, float]:
    """The presets at the corners, and y.

    First y rises. At its top the lower side is not heard and becomes the upper one; then y may fall again, unheard.
    """
    y = min(1.0, place / ARRIVED)
    if place > ARRIVED:
        lower = upper
    if place > TURNED:
        y = max(0.0, (BACK - place) / (BACK - TURNED))
    return dict(zip((*CORNERS, "y"), (*lower, *upper, y), strict=True))
