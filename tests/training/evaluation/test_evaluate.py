"""The commands training.evaluate and training.release as a user runs them, and authority where the answer is known."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from tests.support.evaluation import SMALL, cells_of, rows_of
from training import evaluate, release
from training.checkpoint import load_checkpoint, save_slim
from training.data import sequences
from training.data.manifest import read_dataset
from training.evaluation.measurement import authority_figures
from training.evaluation.probes import encode_all
from training.features import FeatureExtractor
from training.knobs.knobs import measure_knobs
from training.models.perturbation import PerturbationVAE


@pytest.fixture(scope="module")
def models(smoke_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The smoke model, one of variation and pitch alone, and one whose pitch encoder is told the rest: of its sizes,
    weights as they are drawn.
    """
    smoke, folder = load_checkpoint(smoke_checkpoint), tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    changes: dict[str, dict[str, Any]] = {
        "two": {"factors": ("variation", "pitch")},
        "told": {"pitch_encoder": "conditional"},
    }
    for name, change in changes.items():
        model = PerturbationVAE(dataclasses.replace(smoke.model.config, **change)).eval()
        save_slim(dataclasses.replace(smoke, model=model), folder / f"{name}.pt")
    return [str(smoke_checkpoint), str(folder / "two.pt"), str(folder / "told.pt")]


@pytest.fixture(scope="module")
def report(models: list[str], tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all three, with every figure."""
    out = tmp_path_factory.mktemp("report") / "out"
    assert evaluate.main([*models, "--data", str(tiny_data), "--out", str(out), *SMALL]) == 0
    return out


def test_authority_is_all_or_nothing_where_the_decoder_reads_one_latent(
    smoke_checkpoint: Path, tiny_data: Path
) -> None:
    """A decoder whose first layer is deaf to variation and pitch: swapping the timbre is swapping everything."""
    checkpoint = load_checkpoint(smoke_checkpoint)
    assert isinstance(checkpoint.model, PerturbationVAE)
    with torch.no_grad():
        checkpoint.model.decoder_stack.body.get_parameter("weight_ih_l0")[:, checkpoint.model.config.timbre_dim :] = 0
    sounds = read_dataset(tiny_data).select(split="test")
    shares = authority_figures(checkpoint, FeatureExtractor(checkpoint.features), sounds, 0.5, seed=0)
    assert {name: share.value for name, share in shares.items()} == {
        "authority of timbre": pytest.approx(1.0, abs=1e-6),
        "authority of variation": 0.0,
        "authority of pitch": 0.0,
    }
    assert len(shares["authority of pitch"].units) == len(sounds)


def test_report_has_a_row_per_model_beside_the_papers(report: Path) -> None:
    second, third = re.split(r"^## ", (report / "report.md").read_text(), flags=re.MULTILINE)[1:3]
    cells = cells_of(second)
    assert {len(line) for line in cells} == {17}
    assert [line[0] for line in cells] == ["best", "*paper*", "two", "*paper*"]
    assert [line[1:4] for line in cells] == [["✓", "✓", "✓"]] * 2 + [["", "✓", "✓"]] * 2
    assert [line[6] for line in cells] == ["✓", "", "✓", ""]  # centred
    assert cells[1][7:14] == ["0.553", "0.974", "0.340 (↓)", "0.395", "0.107", "0.024", "0.751"]
    assert cells[3][7:14] == ["0.557", "—", "0.659 (↑)", "0.445", "—", "0.066", "0.813"]
    assert cells[2][8] == cells[2][11] == cells[2][14] == "—"  # it has no timbre
    assert all(re.fullmatch(r"\d\.\d{3} ±\d\.\d{3}( \([↓↑]\))?", cell) for cell in cells[0][7:])
    assert "±" in cells[2][15]
    assert third.startswith("Table III")
    assert [line[0] for line in cells_of(third)] == ["best", "*paper*", "told", "*paper*"]
    assert [line[5] for line in cells_of(third)] == ["independent"] * 2 + ["conditional"] * 2
    assert cells_of(third)[0] == cells[0]
    assert cells_of(third)[3][7:11] == ["0.553", "0.981", "0.334 (↓)", "0.476"]


def test_report_json_is_strict_and_has_intervals_seed_machine_and_verdicts(report: Path) -> None:
    content = json.loads(
        (report / "report.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")
    )
    assert (content["seed"], content["split"], content["train_sounds"], content["test_sounds"]) == (0, "test", 120, 40)
    assert content["duration_seconds"] > 0
    assert {"machine", "processors", "torch", "scikit-learn"} <= set(content["machine"])
    three = rows_of(report)["best"]["figures"]
    for name, figure in three.items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert "authority of timbre" not in rows_of(report)["two"]["figures"]
    claims = content["results"]["perturbation_vae"]["claims"]
    assert {claim["verdict"].partition(" (")[0] for claim in claims} <= {
        "holds",
        "does not hold",
        "cannot be told apart",
    }
    between = [claim for claim in claims if claim["lower"][0] != claim["higher"][0]]
    assert len(between) == 6  # five in table II of three factors and variation + pitch, one in table III
    assert all(low < high for low, high in (claim["paper"] for claim in claims))


def test_figures_are_shown_by_relative_links_and_hold_a_picture(report: Path) -> None:
    text = (report / "report.md").read_text()
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert links == ["swaps-best.png", "swaps-told.png"]  # the two-factor model has nothing to swap as in the paper
    pixels = imread(report / links[0])
    assert min(pixels.shape[:2]) > 400
    assert pixels[..., :3].std() > 0.1


def test_nothing_in_the_report_says_where_things_were(report: Path, tiny_data: Path) -> None:
    for file in ("report.md", "report.json"):
        text = (report / file).read_text()
        assert str(tiny_data.parent) not in text
        assert str(report.parent) not in text
        assert not re.search(r"(?<![\w.])/(tmp|home|root|work|var|Users)\b", text)


def test_without_out_the_same_table_is_printed(
    report: Path,
    models: list[str],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate.main([*models, "--data", str(tiny_data), *SMALL]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("|")] == [
        line for line in (report / "report.md").read_text().splitlines() if line.startswith("|")
    ]
    assert "seed 0" in printed
    assert "![" not in printed
    assert not list(tmp_path.iterdir())


def test_phrases_have_the_same_table(smoke_checkpoint: Path, tiny_data: Path, soundfont: Path, tmp_path: Path) -> None:
    phrases = tmp_path / "phrases"
    options = ["--programs", "40,56,73", "--phrases", "3", "--seconds", "2", "--split", "0,0,1"]
    assert sequences.main(["--soundfont", str(soundfont), "--out", str(phrases), *options]) == 0
    out = tmp_path / "out"
    assert (
        evaluate.main(
            [str(smoke_checkpoint), "--data", str(tiny_data), "--sequences", str(phrases), "--out", str(out), *SMALL]
        )
        == 0
    )
    found = rows_of(out)["best"]["phrases"]
    assert found["phrases"] == 9
    figures = {name: figure["value"] for name, figure in found["figures"].items()}
    assert {"mse", "instrument from timbre", "authority of pitch", "pitch from variation, moving"} <= set(figures)
    both = [figures[f"pitch from pitch, {kind}"] for kind in ("steady", "moving")]
    assert min(both) <= figures["pitch from pitch, all frames"] <= max(both)
    assert figures["pitch from pitch, notes"] > 0.3  # chance: 0.1
    assert "## Phrases with glides" in (out / "report.md").read_text()
    assert evaluate.main([str(smoke_checkpoint), "--data", str(tiny_data), "--sequences", str(tiny_data), *SMALL]) == 2


def test_release_and_evaluate_agree(smoke_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The card's figures are those that evaluating the released checkpoint gives; knobs travel in it."""
    out = tmp_path / "mine.pt"
    words = [
        str(smoke_checkpoint),
        "--data",
        str(tiny_data),
        "--out",
        str(out),
        "--command",
        "as said",
        "--tuning-steps",
        "3",
    ]
    assert release.main([*words, *SMALL]) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    released = load_checkpoint(out)
    assert card["command"] == released.info["command"] == "as said"
    assert released.knobs is not None
    assert len(released.knobs["presets"]) == 8
    assert out.stat().st_size < 0.6 * smoke_checkpoint.stat().st_size
    assert evaluate.main([str(out), "--data", str(tiny_data), "--out", str(tmp_path / "report"), *SMALL]) == 0
    found = rows_of(tmp_path / "report")["mine"]
    assert {name: round(figure["value"], 4) for name, figure in found["figures"].items()} | found[
        "measured"
    ] == pytest.approx(card["held_out"], abs=1e-4)


def test_knobs_are_the_same_from_a_table_that_is_there_already(smoke_checkpoint: Path, tiny_data: Path) -> None:
    checkpoint = load_checkpoint(smoke_checkpoint)
    features, data = FeatureExtractor(checkpoint.features), read_dataset(tiny_data)
    train, held_out = data.select(split="train"), data.select(split="validation")
    known = encode_all(checkpoint.model, features, train, 0.5)
    anew, given = (measure_knobs(checkpoint.model, features, train, held_out, 0.5, table) for table in (None, known))
    for one, other in zip(anew["axes"], given["axes"], strict=True):
        assert one["name"] == other["name"]
        np.testing.assert_allclose(one["direction"], other["direction"], atol=1e-3)
    assert [preset["name"] for preset in anew["presets"]] == [preset["name"] for preset in given["presets"]]
