"""The command training.data.soundfont: the same data set however it was interrupted, errors are sentences."""

from __future__ import annotations

import ctypes.util
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.data.build import fluid
from training.data.build.fluid import default_soundfont
from training.data.manifest import DataError, read_dataset
from training.data.soundfont import main

COMMAND = [sys.executable, "-m", "training.data.soundfont"]
SMALL = ["--programs", "0-15", "--notes", "48-84", "--velocities", "90", "--seconds", "0.4", "--no-percussion"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_and_continued_is_identical(tmp_path: Path, soundfont: Path) -> None:
    """SIGKILL in the middle, one worker, then two workers: the same bytes as a run left alone; finished shards are not
    made again.
    """
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    command = [*COMMAND, "--soundfont", str(soundfont), *SMALL]
    process = subprocess.Popen([*command, "--out", str(killed), "--workers", "1"], stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(killed.glob("rows-*.csv"))) < 2:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed before it was done"
    assert not (killed / "dataset.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("rows-*.csv")}
    subprocess.run([*command, "--out", str(killed), "--workers", "2"], check=True, stdout=subprocess.DEVNULL)
    assert main([*command[3:], "--out", str(alone), "--workers", "2"]) == 0
    assert contents(killed) == contents(alone)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    read_dataset(killed)


def test_a_changed_shard_is_made_again_and_the_rest_kept(tmp_path: Path, soundfont: Path) -> None:
    command = ["--soundfont", str(soundfont), "--out", str(tmp_path), *SMALL, "--programs", "0,40"]
    assert main(command) == 0
    before, kept = contents(tmp_path), (tmp_path / "audio-000.i16").stat().st_mtime_ns
    (tmp_path / "audio-040.i16").write_bytes(b"cut short")
    assert main(command) == 0
    assert contents(tmp_path) == before
    assert (tmp_path / "audio-000.i16").stat().st_mtime_ns == kept


def test_another_request_is_refused_unless_told_to_overwrite(
    tmp_path: Path, soundfont: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--soundfont", str(soundfont), "--out", str(tmp_path), *SMALL, "--programs"]
    assert main([*command, "40,41"]) == 0
    before = contents(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert main([*command, "42", "--seed", "5"]) == 2
    said = capsys.readouterr().err
    assert "another request (other programs, seed)" in said
    assert "--overwrite" in said
    assert {**before, "notes.txt": b"mine"} == contents(tmp_path)
    assert main([*command, "42", "--overwrite"]) == 0
    assert set(read_dataset(tmp_path).instrument.tolist()) == {"Cello"}
    assert {path.name for path in tmp_path.glob("audio*")} == {"audio-042.i16"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, soundfont: Path) -> None:
    """Files may not grow beyond 300 kB, so the shards do not fit, as on a disk that is full."""
    out = tmp_path / "out"
    command = [*COMMAND, "--soundfont", str(soundfont), "--out", str(out), *SMALL, "--programs", "40,41"]
    done = subprocess.run(command, preexec_fn=_limit_file_size, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot write into {out} (File too large); make room there")
    assert done.stderr.count("\n") == 1
    assert {path.name for path in out.iterdir()} == {"request.json"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert len(read_dataset(out)) == 30 + 37


def _bad_soundfonts(folder: Path, good: Path) -> dict[str, tuple[Path, str]]:
    cut, text, empty, hollow, odd, long = (
        folder / f"{name}.sf2" for name in ("cut", "text", "empty", "hollow", "odd", "long")
    )
    cut.write_bytes(good.read_bytes()[:100_000])
    text.write_text("this is not a SoundFont")
    long.write_bytes(good.read_bytes() + b"more")
    empty.touch()
    hollow.write_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"sfbk" + bytes(996))
    content = bytearray(good.read_bytes())
    content[content.index(b"ibag") + 4] += 1  # the size of one of its tables
    odd.write_bytes(content)
    return {
        "missing": (folder / "none.sf2", "no SoundFont at"),
        "a folder": (folder, "no SoundFont at"),
        "empty": (empty, "is empty"),
        "text": (text, "is not a SoundFont"),
        "truncated": (cut, "is truncated (100000 of "),
        "too long": (long, "bytes, its header says "),
        "hollow": (hollow, "is damaged (the lists INFO, sdta and pdta are not all there)"),
        "damaged": (odd, "is damaged (ibag"),
    }


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """RIFF chunks by name, lists by their kind."""
    found, place = {}, 0
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        body = content[place + 8 : place + 8 + size]
        found[body[:4] if name == b"LIST" else name] = body[4:] if name == b"LIST" else body
        place += 8 + size + size % 2
    return found


@pytest.mark.parametrize("case", ["no preset modulators", "no modulators", "a list behind", "a chunk behind"])
def test_a_soundfont_that_fluidsynth_loads_is_not_called_damaged(case: str, tmp_path: Path, soundfont: Path) -> None:
    lists = _chunks(soundfont.read_bytes()[12:])
    tables = _chunks(lists[b"pdta"])
    if case.startswith("no"):
        tables[b"pmod"] = b""
    if case == "no modulators":
        bags = tables[b"ibag"]
        tables |= {b"imod": b"", b"ibag": b"".join(bags[i : i + 2] + bytes(2) for i in range(0, len(bags), 4))}
    lists[b"pdta"] = b"".join(_chunk(*table) for table in tables.items())
    body = b"sfbk" + b"".join(_chunk(b"LIST", name + content) for name, content in lists.items())
    body += {"a list behind": _chunk(b"LIST", b"xtraabcdefgh"), "a chunk behind": _chunk(b"JUNK", bytes(20))}.get(
        case, b""
    )
    (tmp_path / "x.sf2").write_bytes(_chunk(b"RIFF", body))
    out = tmp_path / "out"
    options = [*SMALL, "--programs", "40", "--notes", "60-63"]
    assert main(["--soundfont", str(tmp_path / "x.sf2"), "--out", str(out), *options]) == 0
    assert len(read_dataset(out)) == 4


def test_modulators_that_are_used_and_missing_are_told(tmp_path: Path, soundfont: Path) -> None:
    content = soundfont.read_bytes()
    place = content.index(b"imod")
    size = int.from_bytes(content[place + 4 : place + 8], "little")
    changed = bytearray(content[: place + 4] + bytes(4) + content[place + 8 + size :])
    pdta = changed.index(b"pdta") - 4
    for at in (4, pdta):
        changed[at : at + 4] = (int.from_bytes(changed[at : at + 4], "little") - size).to_bytes(4, "little")
    (tmp_path / "x.sf2").write_bytes(changed)
    with pytest.raises(DataError, match=r"is damaged .imod has 0 bytes"):
        fluid.check_soundfont(tmp_path / "x.sf2")


@pytest.mark.parametrize("case", ["missing", "a folder", "empty", "text", "truncated", "too long", "hollow", "damaged"])
def test_bad_soundfonts(case: str, tmp_path: Path, soundfont: Path) -> None:
    path, message = _bad_soundfonts(tmp_path, soundfont)[case]
    out = tmp_path / "out"
    done = subprocess.run(
        [*COMMAND, "--soundfont", str(path), "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(out.glob("*.i16"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--programs", "0-128"], "0-128 is not an ascending range within 0 … 127"),
        (["--programs", "9-3"], "9-3 is not an ascending range"),
        (["--programs", "piano"], "cannot read 'piano'; write numbers and ranges"),
        (["--programs", ""], "cannot read ''"),
        (["--notes", "20"], "20 is not an ascending range within 21 … 108"),
        (["--velocities", "0,90"], "0 is not an ascending range within 1 … 127"),
        (["--seconds", "0"], "'0' is not a number within 0.05 … 60"),
        (["--seconds", "nan"], "'nan' is not a number"),
        (["--sample-rate", "44100.5"], "'44100.5' is not a whole number within 8000 … 96000"),
        (["--workers", "0"], "'0' is not a whole number within 1 … 1024"),
        (["--split", "0.5,0.5"], "is not three shares"),
        (["--split", "0.9,0.2,-0.1"], "is not three shares"),
        (["--tempo", "3"], "unrecognized arguments: --tempo 3"),
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


def test_out_that_is_a_file(tmp_path: Path, soundfont: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["--soundfont", str(soundfont), "--out", str(tmp_path / "file"), *SMALL]) == 2
    assert "(File exists); check that folder or give another --out" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_without_the_library_it_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    monkeypatch.delenv("HOMEBREW_PREFIX", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "apt install libfluidsynth3" in said
    assert "brew install fluid-synth" in said


def test_default_soundfont(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, soundfont: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's FluidR3 GM if it is there, else the one inside pretty_midi; and the program says which."""
    monkeypatch.setattr(fluid, "_SYSTEM_PLACES", (str(tmp_path),))
    assert default_soundfont() == soundfont
    (tmp_path / "FluidR3_GM.sf2").symlink_to(soundfont)
    assert default_soundfont() == tmp_path / "FluidR3_GM.sf2"
    out = tmp_path / "out"
    assert main(["--out", str(out), *SMALL, "--programs", "73"]) == 0
    assert f"SoundFont: {tmp_path / 'FluidR3_GM.sf2'}" in capsys.readouterr().out
    about = json.loads((out / "dataset.json").read_text())
    assert about["soundfont"] == "FluidR3_GM.sf2"
    assert about["sounds"] == sum(about["split_sounds"].values())
    assert len(about["soundfont_sha256"]) == 64


def test_finding_the_embedded_soundfont_does_not_import_its_package() -> None:
    code = (
        "import sys; from training.data.build.fluid import embedded_soundfont; embedded_soundfont(); "
        "sys.exit('pretty_midi' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
