"""The documentation: links lead somewhere, what it names exists, only known programs are started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime.bundle import embedded_bundle, load_bundle
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import load_map
from realtime.knobs.bank import KnobBank
from tests.support.pages import GUIDES, PAGES, ROOT, anchors, blocks, blocks_in, commands, prose

LANGUAGES = {"sh", "python", "toml", "text"}
# Programs that are not ours: nothing about them is checked.
FOREIGN = {"source", "sudo", "tensorboard"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{page.name}: {target} leads out of the project"
        assert file.exists(), f"{page.name}: there is no {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {file.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    """`training/train.py`, `realtime/outputs/`: every path in backticks that begins with a folder of the project."""
    tops = "training|export|realtime|benchmarks|tests|docs|.ci"
    for path in re.findall(rf"`((?:{tops})/[\w./-]*)`", prose(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_name_their_language(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, (
            f"{block.place}: write one of {', '.join(sorted(LANGUAGES))} after the fence"
        )


def test_the_readme_is_short_and_begins_with_the_two_commands_and_python() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = blocks(ROOT / "README.md")[:2]
    assert [line.partition("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]
    assert second.language == "python"
    assert len([line for line in second.text.splitlines() if line]) == 5
    assert len(text.split()) <= 1300


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES[1:] if f"]({page.relative_to(ROOT).as_posix()})" not in text]
    assert not missing


def test_only_known_programs_are_started() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for place, words in commands():
        if words[0] == "make":
            assert words[1] in targets, f"{place}: the Makefile has no target {words[1]}"
        elif words[0] == "python" and words[1] != "-m":
            assert (ROOT / words[1]).is_file(), f"{place}: there is no {words[1]}"
        else:
            assert words[0] in {"python", "torchrun", *FOREIGN}, f"{place}: {words[0]} is not checked"


def test_knob_maps_are_read(tmp_path: Path) -> None:
    found = blocks_in("toml")
    assert found
    desk = Desk(KnobBank(load_bundle(embedded_bundle()).manifest))
    for block in found:
        file = tmp_path / "map.toml"
        file.write_text(block.text, encoding="utf-8")
        assert len(load_map(file, desk).routes) == block.text.count("[[knob]]"), block.place


def test_the_code_refers_to_pages_that_are_here() -> None:
    """Docstrings name `docs/architecture.md`, no page outside the project."""
    files = [
        path
        for part in ("training", "export", "realtime", "benchmarks", "tests")
        for path in (ROOT / part).rglob("*.py")
    ]
    page = "DESIGN" + " §"
    strange = [str(path.relative_to(ROOT)) for path in files if page in path.read_text(encoding="utf-8")]
    assert not strange
