"""The RWC layout: every note of a file found, trimmed and named, or the file named as not understood."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.miniatures import CELLO, CLARINET, FLUTE, PIANO, contents, lag_seconds, notes, put, scale
from training.data.build.rwc_table import INSTRUMENTS, known_instrument
from training.data.manifest import read_dataset
from training.data.rwc import main

STRINGS = (*range(36, 49), *range(43, 56), *range(50, 63), *range(57, 78))  # a cello file: C, G, D and A string
SCALES: dict[str, tuple[int, tuple[int, ...], int]] = {  # file → program, its notes in order, MIDI velocity
    "RWC_I_01/011/011PFNOF.WAV": (PIANO, tuple(range(21, 109)), 110),
    "RWC_I_01/011/011PFNOP.WAV": (PIANO, tuple(range(21, 109)), 45),
    "RWC_I_06/171/171VCNOM.WAV": (CELLO, STRINGS, 90),
    "RWC_I_09/311/311CLNOM.WAV": (CLARINET, tuple(range(50, 90)), 90),
    # neither the table's range nor without a gap
    "RWC_I_10/331/331FLNOF.WAV": (FLUTE, (*range(62, 70), *range(71, 90)), 90),
}
SHUFFLED = "RWC_I_08/211/211TRNOM.WAV"
DRUM = "RWC_I_11/431/431BDN1F.WAV"
STRANGE = "RWC_I_12/391/391QQNOM.WAV"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rwc")
    for name, (program, keys, velocity) in SCALES.items():
        put(
            folder / name,
            scale(notes(program, keys, velocity), noise=4e-4 if velocity == 90 else 0.0),
            subtype="PCM_16",
        )
    put(folder / SHUFFLED, scale(notes(FLUTE, (64, 81, 67, 59, 79, 61, 73, 66, 84, 62, 76))))
    put(folder / DRUM, scale(notes(116, (60, 60, 60))))
    put(folder / STRANGE, scale(notes(FLUTE, (60,))))
    put(folder / "RWC_I_12/readme/jingle.wav", scale(notes(FLUTE, (60,))))
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "data"
    assert main(["--source", str(source), "--out", str(out), "--workers", "2"]) == 0
    return out


@pytest.mark.parametrize("name", SCALES)
def test_every_note_is_found_named_and_trimmed(made: Path, name: str) -> None:
    sounds = read_dataset(made)
    program, keys, velocity = SCALES[name]
    found = sounds.take(np.array([sound.startswith(name) for sound in sounds.sound.tolist()]))
    assert tuple(found.pitch.astype(int).tolist()) == keys
    late = [abs(lag_seconds(found, row, note)) for row, note in enumerate(notes(program, keys, velocity))]
    assert max(late) < 0.005, f"{name}: note {keys[int(np.argmax(late))]} begins {max(late):.4f} s off"


def test_labels(made: Path) -> None:
    sounds = read_dataset(made)
    assert set(sounds.instrument.tolist()) == {"Pianoforte", "Cello", "Clarinet", "Flute", "Drums 43 BD"}
    assert set(sounds.select(instruments=["Cello"]).family.tolist()) == {"string"}
    assert set(sounds.program.tolist()) == {-1}
    drums = sounds.select(instruments=["Drums 43 BD"])
    assert len(drums) == 3
    assert np.isnan(drums.pitch).all()
    for name in SCALES:
        found = sounds.velocity[np.array([sound.startswith(name) for sound in sounds.sound.tolist()])]
        assert set(found.tolist()) == {{"P": 40, "M": 80, "F": 115}[name[-5]]}


def test_splits_have_their_shares(made: Path) -> None:
    sounds = read_dataset(made).select(instruments=["Pianoforte"])
    counts = {split: len(sounds.select(split=split)) for split in ("train", "validation", "test")}
    assert counts["train"] == pytest.approx(0.7 * 176, abs=1.5)
    assert counts["validation"] == pytest.approx(0.15 * 176, abs=1.5)


def test_what_is_not_understood_is_named(source: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(source)
    assert main(["--source", str(source), "--check", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"2 not understood, left out: {SHUFFLED} (11 sounds for the 31 notes E3 … A#5" in said
    assert f"{STRANGE} (symbol QQ is not in the table" in said
    assert "60 sounds for the 42 notes C2 … F5, named by estimated pitch" in said
    assert "1 file left out, not named like 011PFNOF.WAV: RWC_I_12/readme/jingle.wav" in said
    account = json.loads((made / "dataset.json").read_text())["account"]
    assert (account["files"], account["files_used"], account["skipped"]) == (8, 6, 2)
    assert account["instruments"]["Cello"] == {"sounds": 60, "lowest": 36.0, "highest": 77.0}
    assert contents(source) == before


def test_ranges_of_the_database_s_own_list_and_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A transposing surprise: without words the flute file would be named from C4; the list says D4, and the user's
    word counts more.
    """
    put(tmp_path / "RWC-I/331/331FLNOM.WAV", scale(notes(FLUTE, tuple(range(62, 74)))))
    put(tmp_path / "RWC-I/391/391QQNOM.WAV", scale(notes(CLARINET, tuple(range(60, 66)))))
    header = (
        "Inst. No.,Variation No.,Instrument name,Instrument symbol,File name (F),Pitch range (F),File name (M),Pitch "
        "range (M)"
    )
    rows = "33,1,フルート/FLUTE (SILVER),FL,,,331FLNOM.WAV,D4 >> C#5\n39,1,SHO,QQ,,,391QQNOM.WAV,C4 >> F4\n"
    (tmp_path / "RWC-I/02_instruments_details_en.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    out = tmp_path.with_name("out")
    command = ["--source", str(tmp_path), "--out", str(out), "--workers", "1"]
    assert main(command) == 0
    sounds = read_dataset(out)
    assert sounds.select(instruments=["Flute"]).pitch.tolist() == list(range(62, 74))
    assert sounds.select(instruments=["Sho"]).pitch.tolist() == list(range(60, 66))
    assert "named by" not in capsys.readouterr().out
    ranges = tmp_path.with_name("ranges.csv")
    ranges.write_text("# sounding an octave higher\nFL,D5,C#6\n391QQNOM.WAV,,\n")
    assert main([*command, "--ranges", str(ranges), "--overwrite"]) == 0
    assert read_dataset(out).select(instruments=["Flute"]).pitch.tolist() == list(range(74, 86))
    assert np.isnan(read_dataset(out).select(instruments=["Sho"]).pitch).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VN,G3\n", "line 1: 'VN,G3' is not 'file or symbol,lowest note,highest note'"),
        ("VN,E7,G3\n", "line 1"),
        ("VN,G3,H7\n", "line 1"),
    ],
)
def test_a_bad_list_of_ranges(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "ranges.csv").write_text(text)
    assert main(["--source", str(source), "--check", "--ranges", str(tmp_path / "ranges.csv")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_the_table_does_not_guess() -> None:
    assert len(INSTRUMENTS) == 47
    assert all(
        instrument.low is not None and instrument.high is not None and instrument.low < instrument.high
        for _, instrument in INSTRUMENTS.values()
    )
    piano, horn = known_instrument(1, "PF"), known_instrument(29, "EH")
    assert piano is not None
    assert horn is not None
    assert (piano.low, piano.high, horn.name) == (21, 108, "English Horn")
    shamisen = known_instrument(37, "ZZ")
    assert shamisen is not None
    assert shamisen.name == "Shamisen"
    assert known_instrument(29, "ZZ") is None, "oboe or English horn"
    assert known_instrument(39, "SO") is None, "SO is a voice only among the voices"
