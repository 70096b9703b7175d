"""The one error of an export, below everything else of it."""

from __future__ import annotations


class ExportError(Exception):
    """An export that cannot be made or trusted; the message says why."""
