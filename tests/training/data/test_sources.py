"""Any folder of recordings, and what all sources share: formats, cutting, splits, the account, continuing after a
kill.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import librosa
import numpy as np
import pytest
import soxr

from tests.support.miniatures import (
    CELLO,
    CLARINET,
    FLUTE,
    ORGAN,
    PIANO,
    RATE,
    contents,
    lag_seconds,
    notes,
    put,
    scale,
)
from training.data.folder import main
from training.data.manifest import read_dataset
from training.data.nsynth import main as nsynth
from training.data.rwc import main as rwc
from training.data.store import SoundStore

PHRASE = (60, 64, 67, 72, 71, 67, 64)
# file → program, key, velocity label, its rate, channels, sample format
NOTES: dict[str, tuple[int, int, int, int, int, str]] = {
    "strings/Cello/cello_C4_ff.wav": (CELLO, 60, 112, 44100, 1, "PCM_16"),
    "strings/Cello/cello_D4_pp.flac": (CELLO, 62, 33, 48000, 2, "PCM_24"),
    "strings/Cello/take 3 C#3.wav": (CELLO, 49, 0, 44100, 1, "FLOAT"),
    "Flute/flute_m64_v100.ogg": (FLUTE, 64, 100, 44100, 1, "VORBIS"),
    "Flute/flute_67_f.mp3": (FLUTE, 67, 96, 44100, 2, "MPEG_LAYER_III"),
    # struck: 8 bits do not hold the beginning of a slow attack
    "Piano/piano Bb4.wav": (PIANO, 70, 0, 22050, 1, "PCM_U8"),
    "Clarinet/clarinet-F#4.aiff": (CLARINET, 66, 0, 96000, 4, "PCM_16"),
}


def note_of(name: str) -> np.ndarray:
    program, key, *_ = NOTES[name]
    return notes(program, (key,))[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name, (_, _, _, rate, channels, subtype) in NOTES.items():
        mono = soxr.resample(scale([note_of(name)], gap_seconds=0.2, noise=2e-5), RATE, rate)
        put(folder / name, np.outer(mono, np.linspace(1, 0.5, channels)), rate, subtype)
    phrase = scale(notes(PIANO, PHRASE, seconds=2.0), gap_seconds=0.75, noise=1e-4)
    put(folder / "take one.wav", phrase[: 20 * RATE])
    put(folder / "drone/organ.flac", notes(ORGAN, (48,), seconds=30.0)[0][: 20 * RATE])
    put(folder / "bad/clipped C5.wav", np.clip(3 * scale(notes(FLUTE, (72,))), -1, 1), subtype="PCM_16")
    put(folder / "bad/offset A4.wav", 0.1 + 0.5 * scale(notes(CLARINET, (69,))))
    put(folder / "bad/constant.wav", np.full(RATE, 0.25))
    put(folder / "bad/silent.wav", np.zeros(RATE))
    put(folder / "bad/short.wav", scale(notes(CLARINET, (72,)), gap_seconds=0.0)[: RATE // 200])
    put(folder / "bad/none.wav", np.zeros(0))
    (folder / "bad/corrupt.wav").write_bytes(b"RIFF but no more of it than this")
    (folder / "bad/empty.flac").write_bytes(b"")
    put(folder / "bad/cut G4.wav", scale(notes(FLUTE, (67,)), gap_seconds=0.1))
    whole = (folder / "bad/cut G4.wav").read_bytes()
    (folder / "bad/cut G4.wav").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "bad/readme.txt").write_text("recorded in May")
    put(folder / "bad/plain.wav", scale(notes(FLUTE, (67,))))
    (folder / "bad/plain.wav").rename(folder / "bad/l\udce4rm.wav")  # a name in Latin-1
    (folder / ".hidden.wav").write_bytes(b"nothing of ours")
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "data"
    assert main(["--source", str(source), "--out", str(out), "--workers", "1"]) == 0
    return out


@pytest.mark.parametrize("name", NOTES)
def test_every_format_gives_the_note_with_its_labels(made: Path, name: str) -> None:
    sounds = read_dataset(made)
    _, key, velocity, *_ = NOTES[name]
    found = sounds.take(sounds.sound == name)
    assert (len(found), found.pitch[0], found.velocity[0], found.instrument[0]) == (
        1,
        key,
        velocity,
        name.split("/")[-2],
    )
    assert found.family[0] == ("strings" if name.startswith("strings") else "unlabelled")
    assert abs(lag_seconds(found, 0, note_of(name))) < 0.005
    f0_hz = librosa.yin(SoundStore(found).read(0, 4410, 22050), fmin=100, fmax=1000, sr=RATE)
    assert float(np.median(librosa.hz_to_midi(f0_hz))) == pytest.approx(key, abs=0.5)


def test_a_recording_is_cut_at_its_silences(made: Path) -> None:
    sounds = read_dataset(made).select(instruments=["unlabelled"])
    assert [name.split("#")[0] for name in sounds.sound.tolist()] == ["take one.wav"] * len(PHRASE)
    assert np.isnan(sounds.pitch).all()
    for row, note in enumerate(notes(PIANO, PHRASE, seconds=2.0)):
        assert abs(lag_seconds(sounds, row, note)) < 0.005
    assert len(set(sounds.split.tolist())) == 1, "pieces of one recording stay together"


def test_a_recording_without_silence_is_cut_into_pieces(made: Path, source: Path) -> None:
    """Consecutive pieces of at most 2 s with all of the drone in them, but for a few samples about zero before each."""
    sounds = read_dataset(made).select(instruments=["drone"])
    assert 10 <= len(sounds) <= 20
    assert sounds.length.max() <= 2 * RATE
    original, position = librosa.load(source / "drone/organ.flac", sr=None)[0], 0
    for row in range(len(sounds)):
        piece = SoundStore(sounds).read(row, original_level=True)
        near = np.lib.stride_tricks.sliding_window_view(original[position : position + len(piece) + 100], len(piece))
        skipped = np.flatnonzero(np.abs(near - piece).max(axis=1) < 1e-3)
        assert len(skipped), f"piece {row} is not where the one before ends"
        position += int(skipped[0]) + len(piece)
    assert position > len(original) - 0.25 * RATE


def test_the_account_counts_what_was_planted(
    source: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(source)
    assert main(["--source", str(source), "--out", str(tmp_path / "out"), "--check", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert contents(source) == before
    assert not list(tmp_path.iterdir()), "--check writes nothing"
    for line in (
        "19 files, 16 read, 13 used",
        "1 clipped (runs of full-scale samples), used: bad/clipped C5.wav",
        "2 constant offset (DC), removed: bad/constant.wav; bad/offset A4.wav",
        "1 truncated, used as far as they go: bad/cut G4.wav",
        "2 silent, left out: bad/constant.wav (a constant offset); bad/silent.wav",
        "1 without a sound of 10 ms, left out: bad/short.wav",
        "3 unreadable, left out: bad/corrupt.wav (",
        "bad/none.wav (it holds no samples)",
        "labels: 1 other file left out: bad/readme.txt",
        "labels: 7 of ",
        "Cello: 3 sounds, C#3 … D4",
    ):
        assert line in said, f"{line!r} is not in:\n{said}"
    account = json.loads((made / "dataset.json").read_text())["account"]
    counted = {
        key: account[key]
        for key in ("files", "files_read", "clipped", "offset", "truncated", "silent", "short", "unreadable", "skipped")
    }
    assert counted == dict(zip(counted, (19, 16, 1, 2, 1, 2, 1, 3, 0), strict=True))
    assert account["sample_rates"] == {"22050": 1, "44100": 13, "48000": 1, "96000": 1}
    assert account["channels"] == {"1": 13, "2": 2, "4": 1}
    assert account["instruments"]["Cello"] == {"sounds": 3, "lowest": 49.0, "highest": 62.0}
    assert account["sounds"] == len(read_dataset(made))
    assert "bad/l\\udce4rm.wav" in read_dataset(made).sound, "its name is no text, its sound is as good as any"
    assert account["sound_seconds_max"] == pytest.approx(2.0)


def test_pieces_of_one_recording_share_a_split(tmp_path: Path) -> None:
    for number in range(8):
        put(tmp_path / f"in/band/session {number}.flac", scale(notes(PIANO, tuple(range(60 + number, 65 + number)))))
    assert main(["--source", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    sounds = read_dataset(tmp_path / "out")
    assert len(sounds) == 40
    splits = defaultdict(set)
    for name, split in zip(sounds.sound.tolist(), sounds.split.tolist(), strict=True):
        splits[name.split("#")[0]].add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "validation", "test"}


def test_problems_of_labels_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "Cello/C4.wav", scale(notes(CELLO, (60,))))
    put(tmp_path / "Cello/C4.flac", scale(notes(CELLO, (60,))))
    assert main(["--source", str(tmp_path), "--check", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "labels: all sounds are of one instrument (Cello)" in said
    assert "labels: 1 name with more than one file: cello/c4" in said


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More files than fit into three jobs."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(200):
        put(
            folder / f"{('Cello', 'Flute')[number % 2]}/{number} m{60 + number % 12}.wav",
            scale(notes((CELLO, FLUTE)[number % 2], (60 + number % 12,))),
        )
    return folder


def test_killed_and_continued_is_identical(many: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, one worker, then two: the same bytes as a run left alone; finished parts are not made
    again.
    """
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    command = ["--source", str(many), "--sample-rate", "32000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "training.data.folder", *command, "--out", str(killed), "--workers", "1"]
    )
    while process.poll() is None and not list(killed.glob("rows-*.json")):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed before it was done"
    assert not (killed / "dataset.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("rows-*.json")}
    assert main([*command, "--out", str(killed), "--workers", "2"]) == 0
    assert main([*command, "--out", str(alone), "--workers", "1"]) == 0
    assert contents(killed) == contents(alone)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(read_dataset(killed)) == 200


def test_another_request_is_refused_and_a_damaged_part_made_again(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["--source", str(many), "--out", str(out), "--workers", "1"]
    assert main(command) == 0
    before = contents(out)
    (out / "audio-00002.i16").write_bytes(b"cut short")
    (out / "rows-00001.json").write_text("{}")
    assert main(command) == 0
    assert contents(out) == before
    assert main([*command, "--seconds", "1.5", "--seed", "3"]) == 2
    said = capsys.readouterr().err
    assert "holds another request (other seconds, seed)" in said
    assert "--overwrite" in said
    assert contents(out) == before
    assert main([*command, "--seed", "3", "--overwrite"]) == 0
    assert json.loads((out / "dataset.json").read_text())["seed"] == 3


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_full_disk_is_one_sentence(many: Path, tmp_path: Path) -> None:
    options = ["--source", str(many), "--out", str(tmp_path / "out"), "--workers", "1"]
    command = [sys.executable, "-m", "training.data.folder", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_limit_file_size)
    assert done.returncode == 2
    assert "make room there and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [main, rwc, nsynth])
def test_bad_folders(command: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(command)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for source, message in (("gone", "does not exist"), ("file", "is not a folder"), ("empty", "--source DIR")):
        assert command(["--source", str(tmp_path / source), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert command(["--source", str(tmp_path)]) == 2
    assert "--out is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command(["--source", str(tmp_path), "--seconds", "0"])
    assert "'0' is not a number within 0.05 … 60; see --help" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in/silent.wav", np.zeros(RATE))
    command = ["--source", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*command, "--check"]) == 2
    assert "gives no sound" in capsys.readouterr().err
    assert main(command) == 2
    assert "1 silent, left out: silent.wav" in capsys.readouterr().err
    assert not any((tmp_path / "out").iterdir()), "nothing is left in the way of another try"
    assert main(["--source", str(tmp_path / "in"), "--out", str(tmp_path / "in/out")]) == 2
    assert "lie within each other" in capsys.readouterr().err
