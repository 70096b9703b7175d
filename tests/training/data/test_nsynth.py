"""NSynth's layout: labels from its JSON, splits from its folders, what is missing or doubled named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.miniatures import CELLO, FLUTE, PIANO, lag_seconds, notes, put
from training.data.manifest import read_dataset
from training.data.nsynth import main

RATE = 16000
KEYS = tuple(range(60, 72, 2))
INSTRUMENTS = {  # folder → instrument, family, program
    "nsynth-train": [("keyboard_acoustic_004", "keyboard", PIANO), ("flute_acoustic_002", "flute", FLUTE)],
    "nsynth-valid": [("string_acoustic_014", "string", CELLO)],
    "nsynth-test": [("string_acoustic_056", "string", CELLO)],
}
LEAD = 0.1  # s of silence before each note


def note_entry(number: int, instrument: str, family: str, key: int, velocity: int) -> dict[str, Any]:
    return {
        "note": number,
        "note_str": f"{instrument}-{key:03d}-{velocity:03d}",
        "instrument": number % 3,
        "instrument_str": instrument,
        "pitch": key,
        "velocity": velocity,
        "sample_rate": RATE,
        "qualities": [0] * 10,
        "qualities_str": [],
        "instrument_family": 8,
        "instrument_family_str": family,
        "instrument_source": 0,
        "instrument_source_str": "acoustic",
    }


def make(folder: Path, instruments: list[tuple[str, str, int]]) -> None:
    content: dict[str, dict[str, Any]] = {}
    for instrument, family, program in instruments:
        for velocity in (50, 100):
            for key, sound in zip(KEYS, notes(program, KEYS, velocity, sample_rate=RATE), strict=True):
                entry = note_entry(len(content), instrument, family, key, velocity)
                content[entry["note_str"]] = entry
                put(
                    folder / "audio" / f"{entry['note_str']}.wav",
                    np.concatenate([np.zeros(round(LEAD * RATE)), sound]),
                    RATE,
                    "PCM_16",
                )
    (folder / "examples.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nsynth")
    for name, instruments in INSTRUMENTS.items():
        make(folder / name, instruments)
    return folder


def test_labels_splits_and_onsets(source: Path, tmp_path: Path) -> None:
    assert main(["--source", str(source), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    sounds = read_dataset(tmp_path / "out")
    assert sounds.sample_rate == RATE
    assert len(sounds) == 4 * 2 * len(KEYS)
    for name, split in (("nsynth-train", "train"), ("nsynth-valid", "validation"), ("nsynth-test", "test")):
        part = sounds.select(split=split)
        assert set(zip(part.instrument.tolist(), part.family.tolist(), strict=True)) == {
            labels[:2] for labels in INSTRUMENTS[name]
        }
    for instrument, program in (("keyboard_acoustic_004", PIANO), ("string_acoustic_056", CELLO)):
        part = sounds.select(instruments=[instrument])
        for row, (pitch, velocity) in enumerate(zip(part.pitch.tolist(), part.velocity.tolist(), strict=True)):
            assert part.sound[row].endswith(f"{int(pitch):03d}-{velocity:03d}.wav")
            assert (
                abs(lag_seconds(part, row, notes(program, KEYS, velocity, sample_rate=RATE)[KEYS.index(int(pitch))]))
                < 0.005
            )


def test_one_of_its_folders_is_dealt(source: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "--source",
                str(source / "nsynth-train"),
                "--out",
                str(tmp_path / "out"),
                "--sample-rate",
                "22050",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    sounds = read_dataset(tmp_path / "out")
    assert sounds.sample_rate == 22050
    assert {split: len(sounds.select(split=split)) for split in ("train", "validation", "test")}["train"] in (
        16,
        17,
        18,
    )


def test_families_and_limit(source: Path, tmp_path: Path) -> None:
    command = [
        "--source",
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
        "--families",
        "string,flute",
        "--limit",
        "4",
    ]
    assert main(command) == 0
    sounds = read_dataset(tmp_path / "out")
    assert len(sounds) == 12
    assert set(sounds.family.tolist()) == {"string", "flute"}
    assert set(sounds.select(instruments=["string_acoustic_014"]).pitch.tolist()) >= {60, 70}, "spread over the range"


def test_what_is_missing_or_left_over_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "nsynth-train", INSTRUMENTS["nsynth-train"])
    audio = tmp_path / "nsynth-train/audio"
    (audio / "flute_acoustic_002-060-050.wav").unlink()
    (audio / "flute_acoustic_002-062-050.wav").rename(audio / "flute_acoustic_002-063-050.wav")
    assert main(["--source", str(tmp_path), "--check", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "24 files, 22 read, 22 used" in said
    assert (
        "2 unreadable, left out: nsynth-train/audio/flute_acoustic_002-060-050.wav (No such file or directory); "
        in said
    )
    assert "1 WAV file of nsynth-train left out, not in its examples.json: flute_acoustic_002-063-050.wav" in said


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "does not exist"),
    "nothing": (lambda folder: (folder / "examples.json").unlink(), "holds neither examples.json nor nsynth-train"),
    "no JSON": (lambda folder: (folder / "examples.json").write_text("{"), "is not readable JSON"),
    "a list": (lambda folder: (folder / "examples.json").write_text("[1]"), "is not an object with a note per name"),
    "no keys": (
        lambda folder: (folder / "examples.json").write_text('{"a": {"pitch": 60}}'),
        "velocity of a is None, expected a MIDI number",
    ),
    "a word for a pitch": (
        lambda folder: (folder / "examples.json").write_text('{"a": {"pitch": "60"}}'),
        "pitch of a is '60'",
    ),
    "a path for a name": (
        lambda folder: (folder / "examples.json").write_text('{"../a": {}}'),
        "'../a' is not the name of a note",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    folder = tmp_path / "set"
    make(folder, INSTRUMENTS["nsynth-valid"])
    act, message = DAMAGE[damage]
    act(folder)
    assert main(["--source", str(folder), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_family(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", str(source), "--check", "--families", "vocal"]) == 2
    assert "has no family 'vocal'; it has flute, keyboard, string" in capsys.readouterr().err
