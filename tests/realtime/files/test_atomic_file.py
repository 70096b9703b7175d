"""Outputs replace regular files in one step, and never rename over what is no file."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.files.atomic_file import replace_file
from realtime.files.audio_files import AudioFileError
from realtime.files.recording import RecordingFile
from training.data import manifest

WRITERS = {"realtime": replace_file, "training": manifest.replace_file}


@pytest.fixture(params=["realtime", "training"])
def writer(request: pytest.FixtureRequest) -> Callable[[Path, bytes], None]:
    return WRITERS[request.param]


def written_to_pipe(write: Callable[[], None], pipe: Path) -> bytes:
    """What a reader at the other end gets."""
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write()
    reader.join(10)
    return found[0]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_to_and_stays_one(
    writer: Callable[[Path, bytes], None], linked: bool, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    target = tmp_path / "link" if linked else pipe
    if linked:
        target.symlink_to(pipe)
    assert written_to_pipe(lambda: writer(target, b"all of it"), pipe) == b"all of it"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert target.is_symlink() == linked
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({pipe.name, target.name})


def test_a_socket_and_a_folder_are_refused_and_stay(writer: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, is_kind in (("socket", stat.S_ISSOCK), ("folder", stat.S_ISDIR)):
            with pytest.raises(OSError, match=r"Is a directory|No such device"):
                writer(tmp_path / name, b"x")
            assert is_kind((tmp_path / name).stat().st_mode)


def test_a_regular_file_behind_a_link_is_replaced_and_the_link_stays(
    writer: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    writer(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_nothing_is_recorded_over_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "take.wav"
    os.mkfifo(pipe)
    with pytest.raises(AudioFileError, match="no regular file"):
        RecordingFile(pipe, 44100, 1)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["take.wav"]
