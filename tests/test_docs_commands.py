"""The documentation's command lines and examples: programs understand them, and what takes seconds runs."""

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
from dataclasses import dataclass
from pathlib import Path

import pytest

from realtime.cli.option_checks import check
from realtime.cli.options import read_options
from realtime.run import main
from tests.support.pages import GUIDES, ROOT, Block, blocks_in, modules_run, prose

PHRASE, KNOBS = Path("benchmarks/demo/phrase.flac"), Path("benchmarks/demo/knobs.mid")
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
