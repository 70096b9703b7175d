"""A model that a test can slow down, stop or break, plugged in where models plug in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from realtime.hop.model import MODELS, StreamingModel


class DecodeHook:
    """before : is called before every decoding, on the thread that decodes; None does nothing
    models : those made so far, the newest last
    """

    def __init__(self) -> None:
        self.before: Callable[[], None] | None = None
        self.models: list[StreamingModel] = []


def plug_in(monkeypatch: pytest.MonkeyPatch) -> DecodeHook:
    """From now on until the test ends, every session's model asks the hook."""
    hook = DecodeHook()

    class TrickyModel(StreamingModel):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            hook.models.append(self)

        def decode(self) -> None:
            if hook.before is not None:
                hook.before()
            super().decode()

    monkeypatch.setitem(MODELS, "latents", TrickyModel)
    return hook
