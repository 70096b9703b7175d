"""Whatever ends the control process, its audio process, memory and segments go with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.jack.rig import JackRig
from benchmarks.jack.server import SERVER, environment, wait_until

pytestmark = pytest.mark.jack

ROOT = Path(__file__).resolve().parents[3]


def holders_of_shared_memory() -> set[int]:
    """Processes on the test's server with a descriptor of a Neiro block, this one aside."""
    mine = f"JACK_DEFAULT_SERVER={SERVER}\0".encode()
    folders = [path for path in Path("/proc").glob("[0-9]*") if path.name != str(os.getpid())]
    return {
        int(path.name)
        for path in folders
        if any("memfd:neiro" in link for link in _links(path / "fd")) and mine in _environment(path)
    }


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def segments() -> set[str]:
    """Shared-memory segments of Neiro and of clients of the test's own audio server, by name."""
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith("neiro") or SERVER in path.name}


def _links(folder: Path) -> list[str]:
    try:
        return [os.readlink(path) for path in folder.iterdir()]  # noqa: PTH115  some targets are no paths
    except OSError:
        return []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGKILL, "starting"),
        (signal.SIGKILL, "playing"),
        (signal.SIGTERM, "starting"),
        (signal.SIGINT, "playing"),
    ],
)
def test_whatever_ends_the_parent_nothing_of_it_is_left(rig: JackRig, bundle: Path, number: int, moment: str) -> None:
    before = segments()
    others = holders_of_shared_memory()
    command = [
        sys.executable,
        "-m",
        "realtime.run",
        "--input-device",
        "mic",
        "--output-device",
        "spk",
        "--bundle",
        str(bundle),
    ]
    parent = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: len(holders_of_shared_memory() - others) >= 2, "both processes to hold the memory")
        if moment == "playing":
            wait_until(lambda: rig.clients.level() > 0.003, "sound at the loudspeaker")
        held = holders_of_shared_memory() - others
        parent.send_signal(number)
        parent.wait(20)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not holders_of_shared_memory() - others, "the memory to be let go", 10)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in held), "the processes to be gone", 10)
    wait_until(lambda: segments() <= before, "segments to be gone", 10)
