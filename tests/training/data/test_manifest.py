"""The data set on disk: what is written is read back, any sound alone equals the whole read in order, damage is
named.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data.manifest import DataError, Sound, read_dataset, read_rows, replace_file, write_manifest
from training.data.store import SoundStore


@pytest.fixture
def copy(tiny_data: Path, tmp_path: Path) -> Path:
    """A data set to damage. Files are hard links: replace them, do not write into them."""
    return Path(shutil.copytree(tiny_data, tmp_path / "copy", copy_function=os.link))


def test_random_access_equals_sequential_read(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data)
    store, rng = SoundStore(sounds), np.random.default_rng(3)
    whole = {file: np.fromfile(tiny_data / file, "<i2") for file in np.unique(sounds.file).tolist()}
    assert sum(map(len, whole.values())) == sounds.length.sum(), "every sample belongs to one sound"
    for row in rng.permutation(len(sounds)):
        offset, length = int(sounds.offset[row]), int(sounds.length[row])
        expected = whole[sounds.file[row]][offset : offset + length] / np.float32(32768)
        start, count = rng.integers(length, size=2).tolist()
        assert np.array_equal(store.read(row), expected)
        assert np.array_equal(store.read(row, start, count), expected[start : start + count])
        assert np.array_equal(store.read(row, length - 5, 100), expected[-5:]), (
            "a read ends with its sound, not in the next one"
        )


def test_a_store_survives_pickling_without_its_maps(tiny_data: Path) -> None:
    store = SoundStore(read_dataset(tiny_data).select(split="test"))
    before = store.read(2)
    packed = pickle.dumps(store)
    assert len(packed) < before.nbytes
    assert np.array_equal(pickle.loads(packed).read(2), before)  # noqa: S301 — our own bytes


def test_levels(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data)
    store = SoundStore(sounds)
    for row in range(len(sounds)):
        normal, original = store.read(row), store.read(row, original_level=True)
        assert 20 * np.log10(np.abs(normal).max()) == pytest.approx(-1.0, abs=1e-3)
        assert np.allclose(original, normal * 10 ** (sounds.gain_db[row] / 20), rtol=1e-5, atol=0)
    soft, loud = (sounds.gain_db[sounds.velocity == velocity] for velocity in (60, 110))
    assert (loud > soft).all(), "normalisation must not lose that a note was played harder"


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, -1)])
def test_negative_stretches_are_refused(tiny_data: Path, start: int, length: int) -> None:
    with pytest.raises(IndexError, match=f"start={start} and length={length}"):
        SoundStore(read_dataset(tiny_data)).read(0, start, length)


def test_select(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data)
    parts = [sounds.select(split=split) for split in ("train", "validation", "test")]
    names = [set(part.sound.tolist()) for part in parts]
    assert sum(map(len, parts)) == len(sounds) == len(set.union(*names))
    chosen = sounds.select(families=["strings", "pipe"], programs=[42, 73], split="train")
    assert set(chosen.instrument.tolist()) == {"Cello", "Flute"}
    assert set(chosen.split.tolist()) == {"train"}
    assert len(sounds.select(instruments=["Violin"])) == 20
    assert np.array_equal(
        SoundStore(chosen).read(1), SoundStore(sounds).read(int(np.flatnonzero(sounds.sound == chosen.sound[1])[0]))
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"split": "dev"}, "no split 'dev'; choose from train, validation, test"),
        ({"families": ["string"]}, "no family 'string'; it has .*strings"),
        ({"instruments": ["Kazoo"]}, "no instrument 'Kazoo'; it has .*Cello"),
        ({"programs": [1]}, "no program 1; it has 0, 12"),
    ],
)
def test_selecting_what_is_not_there_is_an_error(tiny_data: Path, condition: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(tiny_data).select(**condition)


def test_any_source_can_write(tmp_path: Path) -> None:
    """Labels with commas, quotes, line ends and other scripts, no pitch, no program: all come back."""
    sound = Sound("a", "x.i16", 3, 40, 'Flügelhorn, "live"\r\nat 1 m', "金管", -1, None, 0, -0.25, "test")
    sounds = [sound, replace(sound, sound="b", offset=0, length=3, pitch=60.25, program=56, velocity=99, split="train")]
    (tmp_path / "x.i16").write_bytes(bytes(range(86)))
    write_manifest(tmp_path, sounds, sample_rate=16000, about={"source": "folder", "sample_rate": 1})
    assert read_rows(tmp_path / "manifest.csv") == sounds
    read = read_dataset(tmp_path)
    assert read.sample_rate == 16000
    assert np.isnan(read.pitch[0])
    assert read.pitch[1] == 60.25
    assert read.instrument[0] == sound.instrument
    assert json.loads((tmp_path / "dataset.json").read_text())["source"] == "folder"


def _edit_json(**changes: object) -> Callable[[Path], None]:
    def edit(data: Path) -> None:
        replace_file(
            data / "dataset.json", json.dumps({**json.loads((data / "dataset.json").read_text()), **changes}).encode()
        )

    return edit


def _edit_manifest(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda data: replace_file(data / "manifest.csv", edit((data / "manifest.csv").read_bytes()))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no dataset.json": (lambda data: (data / "dataset.json").unlink(), "holds no dataset.json"),
    "empty dataset.json": (lambda data: replace_file(data / "dataset.json", b""), "not readable JSON"),
    "a list for dataset.json": (lambda data: replace_file(data / "dataset.json", b"[]"), "format_version None"),
    "another format": (_edit_json(format_version=99), "format_version 99, this program reads 1"),
    "no sample rate": (_edit_json(sample_rate=None), "sample_rate is None"),
    "true for the count": (_edit_json(sounds=True), "sounds is True"),
    "no manifest": (lambda data: (data / "manifest.csv").unlink(), "manifest.csv cannot be read"),
    "empty manifest": (_edit_manifest(lambda text: b""), "does not begin with the columns"),
    "no rows": (
        _edit_manifest(lambda text: text.splitlines(keepends=True)[0]),
        "has 0 sounds, dataset.json counts 160",
    ),
    "manifest cut between rows": (
        _edit_manifest(lambda text: b"".join(text.splitlines(keepends=True)[:-3])),
        "has 157 sounds",
    ),
    "manifest cut within a row": (_edit_manifest(lambda text: text[:-9]), "line 161 is damaged"),
    "binary manifest": (_edit_manifest(lambda text: bytes(range(256))), "manifest.csv cannot be read"),
    "a negative offset": (
        _edit_manifest(lambda text: text.replace(b".i16,0,", b".i16,-2,", 1)),
        "offset -2 .* are not a stretch",
    ),
    "a gain that is no number": (
        _edit_manifest(lambda text: text.replace(b",60,-", b",60,x", 1)),
        "line 2 is damaged .could not convert",
    ),
    "a pitch that is not finite": (
        _edit_manifest(lambda text: text.replace(b",60.0,", b",nan,", 1)),
        "line 2 is damaged .pitch or gain is not finite",
    ),
    "a path out of the data set": (
        _edit_manifest(lambda text: text.replace(b"audio-000.i16", b"../../x.i16")),
        "points outside",
    ),
    "no audio": (lambda data: (data / "audio-040.i16").unlink(), "audio-040.i16 is missing"),
    "audio cut short": (
        lambda data: replace_file(data / "audio-040.i16", (data / "audio-040.i16").read_bytes()[:-2]),
        "bytes, the manifest needs",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_in_one_sentence(copy: Path, damage: str) -> None:
    act, message = DAMAGE[damage]
    act(copy)
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(copy)
    assert "\n" not in str(caught.value)
    assert "python -m training.data.soundfont" in str(caught.value), "it says what to do"


def test_a_missing_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; make one with: python -m training\.data\.soundfont --out"):
        read_dataset(tmp_path / "nothing")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "manifest.csv"
    replace_file(file, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]
    assert file.read_bytes() == b"old"
