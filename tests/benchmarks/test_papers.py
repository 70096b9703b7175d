"""The papers' report end to end on a miniature: rendered, trained, killed, resumed, evaluated, written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.papers import __main__ as papers
from benchmarks.papers import workshop
from benchmarks.papers.rows import Row, rows
from benchmarks.papers.workshop import Workshop
from training.checkpoint import load_checkpoint

SHORT = (
    "--data.steps_per_epoch=3",
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
    "--data.validation_sounds=12",
)
FEW = (*SHORT, "--model.model.hidden=12", "--data.batch_size=6")
PROGRAMS = "--data.programs=[0,12,24,40,56,71,73]"
INSTRUMENTS = "--data.instruments=[Violin,Trumpet,Flute]"
ROWS = (
    Row("s1-three-pitched", "s1", "tanaka2022-small", (*FEW, PROGRAMS)),
    Row("s1-timbre-pitch-pitched", "s1", "tanaka2022-small", (*FEW, PROGRAMS, "--model.model.factors=[timbre,pitch]")),
    Row("s1-three-phrases", "s1", "tanaka2022-small", (*FEW, PROGRAMS), phrases=True),
    Row(
        "s2-vanilla",
        "s2",
        "tanaka2021-small",
        (*FEW, PROGRAMS, "--data.held_out_instruments=[1,2]", "--model.alpha=0", "--model.beta=0"),
    ),
    Row("s2-metric", "s2", "tanaka2021-small", (*FEW, PROGRAMS, "--data.held_out_instruments=[1,2]")),
    Row("s3-all-labels", "s3", "luo2019-small", (*FEW, INSTRUMENTS, "--model.model.filters=8")),
)


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers, "rows", lambda: ROWS)
    monkeypatch.setattr(workshop, "PROGRAMS", "0,12,24,40,56,71,73")
    monkeypatch.setattr(workshop, "VELOCITIES", "70,100")
    monkeypatch.setattr(workshop, "PHRASES", 6)


def test_every_row_of_the_papers_is_there() -> None:
    """Tables II and III: three kinds of factors and the conditional encoder, each on both kinds of data; centred ones;
    S2's two; S3's two.
    """
    named = {row.name: row for row in rows()}
    for data in ("pitched", "percussive"):
        for kind in ("three", "variation-pitch", "timbre-pitch", "conditional"):
            row = named[f"s1-{kind}-{data}"]
            assert ("128]" in " ".join(row.options)) == (data == "percussive")
    assert "--model.model.centred_variation=true" in named["s1-centred-pitched"].options
    assert named["s1-three-phrases"].phrases
    assert {"s2-vanilla", "s2-metric", "s3-all-labels", "s3-quarter-of-labels"} <= named.keys()


def test_miniature_report_and_what_is_finished_stays(miniature: None, soundfont: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "report"
    arguments = ["--work", str(work), "--out", str(out), "--soundfont", str(soundfont), "--jobs", "2"]
    assert papers.main(arguments) == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for row in ROWS:
        assert row.name in text
    assert {line["row"]: line["steps"] for line in content["training"]} == dict.fromkeys((row.name for row in ROWS), 6)
    pictures = re.findall(r"\]\(([^)]+\.png)\)", text)
    assert len(pictures) >= 6
    assert all((out / picture).stat().st_size > 5000 for picture in pictures)
    assert str(tmp_path) not in text + json.dumps(content)

    shop = Workshop(work)
    assert load_checkpoint(shop.checkpoint(ROWS[2])).info["sequences"]
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.pt")}
    (work / "rows/s2-metric/done.json").unlink()  # as if it had been stopped before its end
    assert papers.main([*arguments, "--rows", "s2-vanilla,s2-metric"]) == 0
    after = {path: path.stat().st_mtime_ns for path in work.rglob("*.pt")}
    assert {path.parts[-3] for path in before if before[path] != after.get(path)} <= {"s2-metric"}
    assert "s3" not in json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_wrong_requests_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert papers.main(["--rows", "s9", "--work", str(tmp_path)]) == 2
    assert papers.main(["--jobs", "0", "--work", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "s9" in lines[0]
    assert not list(tmp_path.iterdir())
