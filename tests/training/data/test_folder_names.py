"""What a folder of recordings says by its names and links, and what it may not be taken to say."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.support.miniatures import CELLO, PIANO, RATE, notes, put, scale
from tests.support.odd_sounds import encoded, mp3, sound, with_sizes, without_tag
from training.data.folder import main
from training.data.labels import pitch_in
from training.data.listing import list_files
from training.data.manifest import read_dataset


def make(source: Path, out: Path) -> int:
    return main(["--source", str(source), "--out", str(out), "--workers", "1"])


@pytest.mark.parametrize(
    ("stem", "pitch"),
    [
        ("rec_2023-05-24_cello", None),
        ("2023_11_27 viola", None),
        ("rec_24-05-23_cello", None),
        ("rec 14.30.45 cello", None),
        ("guitar_90_bpm", None),
        ("pad 48 kHz stereo", None),
        ("vox_U87_57_close", None),
        ("U87_57", None),
        ("bass SM57 60 front", None),
        ("Take A1", None),
        ("take_42_flute", None),
        ("Track 33 solo", None),
        ("drums Side B1 loud", None),
        ("violin_60_f", 60),
        ("piano A4", 69),
        ("cello_C4_ff", 60),
        ("take 3 C#3", 49),
        ("U87 C4", 60),
        ("m60 90 bpm", 60),
        ("oboe_midi72", 72),
    ],
)
def test_only_names_of_notes_are_pitches(stem: str, pitch: int | None) -> None:
    assert pitch_in(stem) == pitch


def test_a_long_take_is_used_whole_whatever_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """72 notes; one name tells none, the other a wrong one."""
    phrase = notes(PIANO, tuple(range(48, 84)), seconds=0.4)
    put(tmp_path / "in/Piano/rec_2023-05-24_piano.flac", scale([*phrase], gap_seconds=0.3))
    put(tmp_path / "in/Piano/warm up C4.flac", scale([*phrase], gap_seconds=0.3))
    assert make(tmp_path / "in", tmp_path / "out") == 0
    found = read_dataset(tmp_path / "out")
    assert len(found) == 72
    assert np.isnan(found.pitch).all()
    assert "warm up C4.flac (C4 in its name, most of its 36 sounds other notes: no pitch)" in capsys.readouterr().out


def test_a_note_played_several_times_is_that_many_sounds_of_it(tmp_path: Path) -> None:
    put(tmp_path / "in/Cello/cello C4.flac", scale(notes(CELLO, (60, 60, 60, 60)), gap_seconds=0.5))
    put(tmp_path / "in/Cello/cello E4.flac", notes(CELLO, (64,), seconds=4.0)[0])
    assert make(tmp_path / "in", tmp_path / "out") == 0
    assert sorted(read_dataset(tmp_path / "out").pitch.tolist()) == [60, 60, 60, 60, 64]


def test_links_are_followed_and_what_is_passed_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    put(source / "Piano/C4.wav", scale(notes(PIANO, (60,))))
    put(elsewhere / "C4.wav", scale(notes(CELLO, (60,))))
    (source / "Cello").symlink_to(elsewhere)
    (source / "Piano/up").symlink_to(source)
    (source / "Klavier").symlink_to(source / "Piano")
    (source / "lost").symlink_to(tmp_path / "nowhere")
    assert list_files(source).audio == ["Cello/C4.wav", "Piano/C4.wav"]
    assert make(source, tmp_path / "out") == 0
    assert sorted(read_dataset(tmp_path / "out").instrument.tolist()) == ["Cello", "Piano"]
    said = capsys.readouterr().out
    assert "labels: 2 links to a folder that is read already, left out: Klavier, Piano/up" in said
    assert "labels: 1 link that leads nowhere, left out: lost" in said


def test_one_name_in_two_unicode_forms_is_one_instrument(tmp_path: Path) -> None:
    for folder, key in ((unicodedata.normalize("NFC", "café"), 60), (unicodedata.normalize("NFD", "café"), 62)):
        put(tmp_path / f"in/{folder}/{folder} m{key}.wav", scale(notes(PIANO, (key,))))
    assert make(tmp_path / "in", tmp_path / "out") == 0
    assert read_dataset(tmp_path / "out").instrument.tolist() == ["café", "café"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text_are_read_and_escaped(tmp_path: Path) -> None:
    put(tmp_path / "plain.wav", scale(notes(PIANO, (60,))))
    folder = tmp_path / "in" / os.fsdecode(b"Fl\xf6te")
    folder.mkdir(parents=True)
    for content, name in (
        ((tmp_path / "plain.wav").read_bytes(), b"\xe4 C4.wav"),
        (without_tag(mp3(sound())), b"\xe4 D4.mp3"),
    ):
        (folder / os.fsdecode(name)).write_bytes(content)
    for _ in range(2):  # the second time everything is found finished
        assert make(tmp_path / "in", tmp_path / "out") == 0
    found = read_dataset(tmp_path / "out")
    assert found.sound.tolist() == ["Fl\\udcf6te/\\udce4 C4.wav", "Fl\\udcf6te/\\udce4 D4.mp3"]
    assert set(found.instrument.tolist()) == {"Fl\\udcf6te"}


@pytest.mark.parametrize("level", [0.5, 0.003, -0.1])
@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_a_constant_is_no_sound(tmp_path: Path, level: float, rate: int, capsys: pytest.CaptureFixture[str]) -> None:
    """At any level, resampled or not, with or without the noise of rounding."""
    put(tmp_path / "in/constant.wav", np.full(rate, level), rate)
    rounding = np.random.default_rng(2).integers(-1, 2, rate) / 2**15
    put(tmp_path / "in/rounded.wav", np.stack([level + rounding, rounding - level / 2], axis=1), rate)
    assert main(["--source", str(tmp_path / "in"), "--check", "--workers", "1"]) == 2
    assert "2 silent, left out: constant.wav (a constant offset); rounded.wav (a constant" in capsys.readouterr().out


def test_odd_headers_end_no_import_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate of 1 Hz would ask for gigabytes; a streamed file is whole; a size of 0 is wrong and the sound is there."""
    good = encoded(scale(notes(PIANO, (60,))).astype(np.float32), "WAV", "PCM_16", rate=RATE)
    (tmp_path / "in").mkdir()
    for name, content in (
        ("good", good),
        ("slow", good[:24] + (1).to_bytes(4, "little") + good[28:]),
        ("streamed", with_sizes(good, 0x7FFFF024, 0x7FFFF000)),
        ("unfinished", with_sizes(good, 0, 0)),
    ):
        (tmp_path / f"in/{name} m60.wav").write_bytes(content)
    assert make(tmp_path / "in", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "4 files, 3 read, 3 used" in said
    assert "1 unreadable, left out: slow m60.wav (its header says 1 Hz; 1000 … 768000 Hz are possible)" in said
    assert "1 wrong in their headers, read to their ends: unfinished m60.wav (its header declares 0 bytes" in said
    assert "truncated" not in said
    assert len({int(length) for length in read_dataset(tmp_path / "out").length}) == 1
