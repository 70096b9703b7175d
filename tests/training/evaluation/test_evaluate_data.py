"""training.evaluate on data that lack what a figure needs, and with bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.evaluation import SMALL, cells_of, rows_of
from training import evaluate, refine, release
from training.checkpoint import load_checkpoint, save_slim
from training.data.build.cutting import UNLABELLED
from training.data.manifest import Sound, read_rows, write_manifest


def relabelled(data: Path, out: Path, change: Callable[[Sound], Sound | None]) -> Path:
    """A copy of a data set whose rows are changed, or left out."""
    shutil.copytree(data, out, copy_function=os.link)
    rows = [changed for row in read_rows(out / "manifest.csv") if (changed := change(row)) is not None]
    write_manifest(out, rows, sample_rate=44100, about={})
    return out


@pytest.mark.parametrize(
    ("change", "figure", "sentence"),
    [
        (
            lambda row: row if row.instrument == "Flute" else None,
            "instrument from timbre",
            "one instrument only (Flute)",
        ),
        (lambda row: dataclasses.replace(row, pitch=None), "pitch from pitch", "no training sound has a known pitch"),
        (
            lambda row: dataclasses.replace(row, instrument=UNLABELLED, family=UNLABELLED),
            "instrument from variation",
            "no training sound has a known instrument",
        ),
    ],
)
def test_data_without_what_a_figure_needs_gives_a_footnote(
    smoke_checkpoint: Path,
    tiny_data: Path,
    tmp_path: Path,
    change: Callable[[Sound], Sound | None],
    figure: str,
    sentence: str,
) -> None:
    data, out = relabelled(tiny_data, tmp_path / "data", change), tmp_path / "out"
    assert evaluate.main([str(smoke_checkpoint), "--data", str(data), "--out", str(out), *SMALL]) == 0
    row = rows_of(out)["best"]
    assert row["figures"][figure] == {"value": None, "low": None, "high": None}
    assert row["figures"]["mse"]["value"] > 0
    text = (out / "report.md").read_text()
    assert re.search(rf"\(\d\) .*{re.escape(sentence)}", text)
    assert re.search(r"\| — \(\d\)", text)
    assert "nan" not in text.lower()


def test_percussion_counts_for_the_instrument_and_not_for_the_pitch(
    smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """The marimba as if it were a drum; and a model whose command says that phrases were among its sounds has no row in
    the paper.
    """

    def drummed(row: Sound) -> Sound:
        return dataclasses.replace(row, pitch=None, family="percussion") if row.instrument == "Marimba" else row

    data, out, told = relabelled(tiny_data, tmp_path / "data", drummed), tmp_path / "out", tmp_path / "phrases.pt"
    smoke = load_checkpoint(smoke_checkpoint)
    save_slim(dataclasses.replace(smoke, info=smoke.info | {"command": "fit --data.sequences=somewhere"}), told)
    assert evaluate.main([str(smoke_checkpoint), str(told), "--data", str(data), "--out", str(out), *SMALL]) == 0
    cells = cells_of((out / "report.md").read_text().split("## ")[1])
    assert [line[4] for line in cells] == [
        "pitched + percussive",
        "pitched + percussive",
        "pitched + percussive + phrases",
    ]
    assert cells[1][7:9] == ["0.549", "0.962"]
    claims = json.loads((out / "report.json").read_text())["results"]["perturbation_vae"]["claims"]
    rows = {len({claim["lower"][0], claim["higher"][0]}) for claim in claims}
    assert rows == {1}, "the training of two rows differs in more than the row"


def test_few_and_very_short_sounds_still_give_a_report(smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Sounds of 500 samples, half a window, and one sound to test on."""
    data = relabelled(tiny_data, tmp_path / "data", lambda row: dataclasses.replace(row, length=500))
    assert evaluate.main([str(smoke_checkpoint), "--data", str(data), "--out", str(tmp_path / "short"), *SMALL]) == 0
    few = ["--train-sounds", "3", "--test-sounds", "1", "--seconds", "0.5"]
    assert evaluate.main([str(smoke_checkpoint), "--data", str(tiny_data), "--out", str(tmp_path / "few"), *few]) == 0
    text = (tmp_path / "few/report.md").read_text()
    assert "3 training sounds have a known instrument, fewer than the 5 neighbours that vote." in text
    assert "could be swapped" in text


def test_missing_data_and_checkpoints_are_one_sentence(
    smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.txt").write_text("a file")
    assert evaluate.main([str(smoke_checkpoint), "--data", str(tmp_path / "none")]) == 2
    assert evaluate.main([str(tmp_path / "none.pt"), "--data", str(tiny_data)]) == 2
    assert evaluate.main([str(smoke_checkpoint), "--data", str(tiny_data), "--out", str(tmp_path / "none.txt")]) == 2
    assert release.main([str(smoke_checkpoint), "--data", str(tmp_path / "none"), "--out", str(tmp_path / "x.pt")]) == 2
    only_flutes = relabelled(tiny_data, tmp_path / "none-to-test", lambda row: dataclasses.replace(row, split="train"))
    assert evaluate.main([str(smoke_checkpoint), "--data", str(only_flutes)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 5
    assert all("none" in line for line in lines)
    assert not (tmp_path / "x.pt").exists()


def test_a_data_set_that_lacks_what_a_model_knows_is_told_with_a_way_out(
    smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another's recordings, without the labels that the model was trained on; and too few of them."""
    narrow, out = tmp_path / "narrow.pt", tmp_path / "out.pt"
    checkpoint = load_checkpoint(smoke_checkpoint)
    info = checkpoint.info | {"selection": {"families": ["piano"]}}
    save_slim(dataclasses.replace(checkpoint, info=info), narrow)
    bare = relabelled(tiny_data, tmp_path / "bare", lambda row: dataclasses.replace(row, family="unlabelled"))
    no_check = relabelled(
        tiny_data, tmp_path / "few", lambda row: dataclasses.replace(row, split=row.split.replace("validation", "test"))
    )
    for command, words, sentence in (
        (evaluate, [narrow, "--data", bare], "render one with these labels"),
        (release, [narrow, "--data", bare, "--out", out], "render one with these labels"),
        (refine, [narrow, "--data", bare, "--out", out], "render one with these labels"),
        (release, [smoke_checkpoint, "--data", no_check, "--out", out], "no validation sounds for this model"),
    ):
        assert command.main(list(map(str, words))) == 2
        told = capsys.readouterr().err.strip()
        assert sentence in told
        assert "\n" not in told
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [["--seconds", "0"], ["--test-sounds", "0"], ["--train-sounds", "many"], ["--seed", "-1"], ["--split", "train"]],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["none.pt", "--data", "nowhere", *words])
    assert stopped.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]
