"""OSC address patterns: ? * [a-z] [!a-z] {one,other}.

Source: Open Sound Control 1.0, "OSC Message Dispatching and Pattern Matching".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice

SPECIAL = frozenset("?*[{")
MOST_CHARACTERS = 200  # of a pattern; longer ones match nothing
MOST_ALTERNATIVES = 64  # that braces may stand for; the rest is left out


def is_pattern(path: str) -> bool:
    return not SPECIAL.isdisjoint(path)


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Those of the paths that the pattern means. No wildcard reaches beyond a slash."""
    if len(pattern) > MOST_CHARACTERS:
        return []
    wanted = [alternative.split("/") for alternative in islice(_without_braces(pattern), MOST_ALTERNATIVES)]
    return [path for path in paths if any(_matches(parts, path.split("/")) for parts in wanted)]


def _matches(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) == len(parts) and all(map(fnmatchcase, parts, pattern))


def _without_braces(pattern: str) -> Iterator[str]:
    """One after the other, every pattern that the braces, which do not nest, stand for."""
    before, opening, rest = pattern.partition("{")
    inside, closing, after = rest.partition("}")
    if not (opening and closing):
        yield pattern
        return
    for alternative in inside.split(","):
        for ending in _without_braces(after):
            yield before + alternative + ending
