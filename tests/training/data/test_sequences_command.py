"""The command training.data.sequences: the same request gives the same bytes, errors are sentences."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.data import soundfont as notes
from training.data.manifest import DataError, read_dataset, replace_file
from training.data.sequences import main
from training.data.store import SoundStore, pitch_file

COMMAND = [sys.executable, "-m", "training.data.sequences"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_damaged_track_is_named_and_made_again(soundfont: Path, tmp_path: Path) -> None:
    command = [
        "--soundfont",
        str(soundfont),
        "--out",
        str(tmp_path),
        "--programs",
        "40,73",
        "--phrases",
        "3",
        "--seconds",
        "1",
    ]
    assert main(command) == 0
    before, path = contents(tmp_path), pitch_file(tmp_path / "audio-073.i16")
    replace_file(path, b"cut short")
    with pytest.raises(DataError, match=r"audio-073\.pitch\.f32 has 9 bytes, sound 073-phrase-00002 needs"):
        SoundStore(read_dataset(tmp_path)).pitch_track(5)
    path.unlink()
    kept = (tmp_path / "audio-040.i16").stat().st_mtime_ns
    assert main(command) == 0
    assert contents(tmp_path) == before
    assert (tmp_path / "audio-040.i16").stat().st_mtime_ns == kept


def test_more_phrases_keep_the_first_and_another_seed_changes_them(soundfont: Path, tmp_path: Path) -> None:
    command = ["--soundfont", str(soundfont), "--programs", "56", "--seconds", "1"]
    for name, options in {
        "few": ["--phrases", "2"],
        "more": ["--phrases", "4"],
        "other": ["--phrases", "2", "--seed", "1"],
    }.items():
        assert main([*command, "--out", str(tmp_path / name), *options]) == 0
    few, more, other = ((tmp_path / name / "audio-056.i16").read_bytes() for name in ("few", "more", "other"))
    assert more[: len(few)] == few
    assert other != few


def test_killed_and_continued_is_identical(tmp_path: Path, soundfont: Path) -> None:
    """SIGKILL in the middle, one worker, then two workers: the same bytes as a run left alone."""
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    command = [*COMMAND, "--soundfont", str(soundfont), "--programs", "0-9", "--phrases", "8", "--seconds", "2"]
    process = subprocess.Popen([*command, "--out", str(killed), "--workers", "1"], stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(killed.glob("rows-*.csv"))) < 2:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed before it was done"
    assert not (killed / "dataset.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("rows-*.csv")}
    subprocess.run([*command, "--out", str(killed), "--workers", "2"], check=True, stdout=subprocess.DEVNULL)
    assert main([*command[3:], "--out", str(alone), "--workers", "1"]) == 0
    assert contents(killed) == contents(alone)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(read_dataset(killed)) == 10 * 8


def test_another_data_set_is_refused_and_overwriting_leaves_no_tracks(
    soundfont: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tracks of phrases beside single notes would be wrong without anyone noticing."""
    command = ["--soundfont", str(soundfont), "--out", str(tmp_path), "--programs", "73", "--seconds", "0.5"]
    assert main([*command, "--phrases", "2"]) == 0
    singles = [*command, "--notes", "72", "--no-percussion"]
    assert notes.main(singles) == 2
    assert f"{tmp_path} holds another request" in capsys.readouterr().err
    assert notes.main([*singles, "--overwrite"]) == 0
    assert SoundStore(read_dataset(tmp_path)).pitch_track(0) is None
    assert main([*command, "--phrases", "2"]) == 2
    assert "holds another request (other phrases)" in capsys.readouterr().err


def test_a_program_that_is_not_in_the_soundfont(
    tmp_path: Path, soundfont: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SoundFont with the preset header of program 40 renumbered: the violin is then not in it."""
    content = bytearray(soundfont.read_bytes())
    headers = content.index(b"phdr") + 8
    for start in range(headers, headers + int.from_bytes(content[headers - 4 : headers], "little"), 38):
        if content[start + 20 : start + 24] == bytes([40, 0, 0, 0]):
            content[start + 20], content[start + 22] = 127, 99
    changed = tmp_path / "no violin.sf2"
    changed.write_bytes(content)
    command = ["--soundfont", str(changed), "--phrases", "2", "--seconds", "1"]
    assert main([*command, "--out", str(tmp_path / "out"), "--programs", "40,41"]) == 0
    said = capsys.readouterr().out
    assert "no sound from: 40 Violin" in said
    assert "2 sounds in" in said
    assert "2 silent phrases dropped" in said
    assert main([*command, "--out", str(tmp_path / "none"), "--programs", "40"]) == 2
    assert (
        "gives no sound: every phrase asked for is silent or not in it; choose other --programs"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--programs", "110-115"], "110-115 is not an ascending range within 0 … 114"),
        (["--phrases", "0"], "'0' is not a whole number within 1 … 99999"),
        (["--phrases", "2.5"], "'2.5' is not a whole number"),
        (["--seconds", "0.2"], "'0.2' is not a number within 0.5 … 60"),
        (["--sample-rate", "4000"], "'4000' is not a whole number within 8000 … 96000"),
        (["--split", "1"], "is not three shares"),
        (["--notes", "60"], "unrecognized arguments: --notes 60"),
    ],
)
def test_bad_options(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path / "out"), *options])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
