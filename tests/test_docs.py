"""The documentation: links lead somewhere, commands are understood, and examples that take seconds run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from realtime.bundle import embedded_bundle, load_bundle
from realtime.cli.option_checks import check
from realtime.cli.options import read_options
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import load_map
from realtime.knobs.bank import KnobBank
from realtime.run import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # what a change log quotes may be history
LANGUAGES = {"sh", "python", "toml", "text"}
PHRASE, KNOBS = Path("benchmarks/demo/phrase.flac"), Path("benchmarks/demo/knobs.mid")
# Programs that are not ours: nothing about them is checked.
FOREIGN = {"source", "sudo", "tensorboard"}
# Read by their help, for they do not read their command line with argparse alone.
HELP_ONLY = ("pytest", "torch.distributed.run")

# Reads every command line with its module's own parser, and stops there. One process, so that torch is loaded once.
READER = """
import argparse, contextlib, io, json, runpy, sys

class Understood(Exception):
    pass

def only_parse(parse):
    def parsing(self, *arguments, **named):
        parse(self, *arguments, **named)
        raise Understood
    return parsing

plain = argparse.ArgumentParser.parse_args
reading = only_parse(plain)

def run(module, words):
    sys.argv = [module, *words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Understood:
        return ["understood", said.getvalue()]
    except SystemExit as end:
        return ["ended" if end.code in (0, None) else "refused", said.getvalue()]
    return ["ended", said.getvalue()]

answers = []
for kind, module, words in json.load(sys.stdin):
    argparse.ArgumentParser.parse_args = reading if kind == "parse" else plain
    answers.append(run(module, words))
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    found: list[Block] = []
    language, start, lines = "", 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif start:
            found.append(Block(page, start, language, "\n".join(lines)))
            start = 0
        else:
            language, start, lines = line[3:].strip(), number, []
    assert not start, f"{page.name}: the block that begins in line {start} has no end"
    return tuple(found)


def blocks_in(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


@cache
def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of every heading, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", prose(page), flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return frozenset(found)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where each command stands, and its words without comments."""
    for block in blocks_in("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield block.place, words


def modules_run() -> list[tuple[str, str, list[str]]]:
    """Place, module and arguments of every `python -m …`, also of those that torchrun starts."""
    found = []
    for place, words in commands():
        if words[0] == "torchrun":
            at = words.index("-m")
            found += [(place, "torch.distributed.run", words[1:at]), (place, words[at + 1], words[at + 2 :])]
        elif words[:2] == ["python", "-m"]:
            found.append((place, words[2], words[3:]))
    return found


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


@dataclass(frozen=True)
class Job:
    """What the reader is asked.

    kind : "parse" the words and stop; "print" what they were understood as; "help"
    """

    place: str
    kind: str
    module: str
    words: tuple[str, ...]


def job_for(place: str, module: str, words: list[str]) -> Job:
    if module in HELP_ONLY:
        return Job(place, "help", module, ("--help",))
    if module == "training.train":
        return Job(place, "print", module, (*words, "--print_config"))
    return Job(place, "parse", module, tuple(words))


@pytest.fixture(scope="module")
def answers() -> dict[Job, tuple[str, str]]:
    """How each command line ended ("understood", "ended", "refused") and what was said; and each module's help."""
    run = modules_run()
    jobs = [job_for(*command) for command in run if command[1] != "realtime.run"]
    jobs += [help_of(module) for module in sorted({module for _, module, _ in run})]
    result = subprocess.run(
        [sys.executable, "-c", READER],
        input=json.dumps([(job.kind, job.module, job.words) for job in jobs]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return {job: (end, said) for job, (end, said) in zip(jobs, json.loads(result.stdout.splitlines()[-1]), strict=True)}


def help_of(module: str) -> Job:
    return Job("", "help", module, ("fit", "--help") if module == "training.train" else ("--help",))


def test_command_lines_are_understood_by_their_programs(answers: dict[Job, tuple[str, str]]) -> None:
    for job, (end, said) in answers.items():
        line = f"{job.place}: python -m {job.module} {shlex.join(job.words)}"
        assert end == ("understood" if job.kind == "parse" else "ended"), f"{line}: {said[-2000:]}"
    for place, module, words in modules_run():
        if module in HELP_ONLY:
            told = answers[help_of(module)][1]
            strange = [word for word in words if word.startswith("--") and word not in told]
            assert not strange, f"{place}: {module} does not know {strange}"


def test_command_lines_of_the_runtime_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place, module, words in modules_run():
        if module == "realtime.run":
            try:
                check(read_options(words))
            except Exception as error:
                pytest.fail(f"{place}: {shlex.join(words)}: {error}")


def test_options_in_the_text_exist(answers: dict[Job, tuple[str, str]]) -> None:
    """Every `--option` in a sentence belongs to a program that the same pages start."""
    told = " ".join(said for job, (_, said) in answers.items() if job.kind == "help")
    known = set(re.findall(r"--[\w.]+(?:-[\w.]+)*", told))
    for page in GUIDES:
        for code in re.findall(r"`([^`]+)`", prose(page)):
            if re.match(r"(apt|pip|make|brew|python3|py) ", code):
                continue
            for option in re.findall(r"(?<![\w-])--[\w.]+(?:-[\w.]+)*", code):
                assert option in known, f"{page.name}: no program knows {option}"


def runs_in_seconds(words: list[str]) -> bool:
    """The runtime, asked for its knobs, or playing a file that ships."""
    return words == ["--list-knobs"] or ("--input" in words and str(PHRASE) in words)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory like the project's, as far as the examples use it."""
    for file in (PHRASE, KNOBS):
        (tmp_path / file.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_commands_that_take_seconds_run(folder: Path) -> None:
    runs = {
        shlex.join(words) for _, module, words in modules_run() if module == "realtime.run" and runs_in_seconds(words)
    }
    assert len(runs) >= 3, "the pages show the list of knobs and files that are played"
    for line in sorted(runs):
        words = shlex.split(line)
        with contextlib.redirect_stdout(said := io.StringIO()):
            assert main(words) == 0, line
        assert said.getvalue(), line
        if "--output" in words:
            assert (folder / words[words.index("--output") + 1]).stat().st_size > 100_000, line


@pytest.mark.parametrize("block", blocks_in("python"), ids=lambda block: block.place)
def test_python_examples_run_as_they_stand(block: Block, folder: Path) -> None:
    result = subprocess.run([sys.executable, "-c", block.text], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, f"{block.place}: {result.stderr[-2000:]}"
    for name in re.findall(r'write\("([^"]+)"', block.text):
        assert (folder / name).stat().st_size > 100_000, f"{block.place}: {name}"


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
