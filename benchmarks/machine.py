"""The machine that a benchmark runs on: its description for the report, and one core of it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from export.threads import one_thread
from training.evaluation.report import environment


def machine() -> dict[str, Any]:
    """The processor's name and the memory, as far as the system tells, and versions."""
    about = environment() | {name: version(name) for name in ("onnx",)}
    about["onnxruntime"] = next(version(name) for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name))
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    about["cpu"] = names[0] if names else about["machine"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        about["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return about


@contextmanager
def one_core(*, collecting: bool) -> Iterator[None]:
    """torch and BLAS on one thread; as in the player, objects that exist already are not collected.

    collecting : whether garbage made meanwhile is collected
    """
    gc.collect()
    gc.freeze()
    if not collecting:
        gc.disable()
    try:
        with one_thread(), threadpool_limits(1):
            yield
    finally:
        gc.enable()
        gc.unfreeze()


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
