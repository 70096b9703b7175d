"""Commands work whatever they print to: streams that are closed, not read, full, or unable to spell what is said."""

from __future__ import annotations

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import soundfile

import realtime.cli.console as of_the_runtime
import training.console as of_the_others
from tests.support.source_code import PACKAGES, ROOT, module_name, sources

PHRASE = ROOT / "benchmarks/demo/phrase.flac"
# Their streams are a protocol between programs, or they show how a host is written that knows nothing of Neiro.
OWN_STREAMS = {
    "realtime.live.audio_process",
    "benchmarks.jack.clients",
    "benchmarks.jack.midi",
    "benchmarks.soak.passthrough",
    "benchmarks.host_fused",
}


def run(
    module: str, *arguments: object, streams: str = "", cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a module from a shell that redirects its streams."""
    words = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", *words],
        cwd=cwd,
        capture_output=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def test_every_command_runs_on_guarded_streams() -> None:
    unguarded = set()
    for path in (path for package in PACKAGES for path in sources(package)):
        last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
        starts = isinstance(last, ast.If) and "__main__" in ast.unparse(last.test)
        if starts and "run_command(main" not in ast.unparse(last):
            unguarded.add(module_name(path))
    assert unguarded == OWN_STREAMS


def test_both_packages_guard_them_alike() -> None:
    def parts(module: ModuleType) -> list[str]:
        return [inspect.getsource(getattr(module, name)) for name in ("LastingStream", "_lasting", "_below", "spell")]

    assert parts(of_the_runtime) == parts(of_the_others)
    assert of_the_runtime.SPELLING == of_the_others.SPELLING


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "| true", ">/dev/full"])
def test_a_file_is_played_whatever_becomes_of_the_streams(tmp_path: Path, streams: str) -> None:
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    sound, summary = tmp_path / "out.wav", tmp_path / "summary.json"
    files = ("--input", PHRASE, "--output", sound, "--json", summary, "--seconds", 0.5)
    done = run("realtime.run", *files, streams=streams)
    assert soundfile.info(sound).frames == 22050
    assert json.loads(summary.read_text(encoding="utf-8"))["hops"] > 0
    said = done.stderr.decode().splitlines()
    assert said == (["not everything could be printed: No space left on device"] if "full" in streams else [])
    assert done.returncode == (2 if "full" in streams else 0)
    if streams == "2>&-":
        assert b"real-time factor" in done.stdout


def test_the_reader_of_a_list_may_stop_after_its_first_line() -> None:
    pipe = subprocess.Popen(
        [sys.executable, "-m", "realtime.run", "--list-knobs"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert pipe.stdout is not None
    assert pipe.stderr is not None
    assert pipe.stdout.readline().startswith(b"bundle: ")
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    assert pipe.wait(60) == 0
    pipe.stderr.close()


@pytest.mark.parametrize("encoding", ["cp437", "latin-1", "ascii"])
def test_a_console_that_lacks_a_sign_gets_another(encoding: str) -> None:
    done = run("realtime.run", "--list-knobs", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "105 ... 112 | own 1 ... own 8" in done.stdout.decode(encoding)


@pytest.mark.parametrize(
    "module", ["training.data.folder", "training.sample", "export.onnx", "benchmarks.hop_path", "benchmarks.envelope"]
)
def test_the_other_packages_do_alike(module: str, tmp_path: Path) -> None:
    missing = {
        "training.data.folder": ("--source", "none", "--check"),
        "training.sample": ("none.pt", "--instrument", "Violin", "--pitch", "60", "--out", tmp_path / "x.wav"),
        "export.onnx": ("none.pt",),
        "benchmarks.hop_path": ("--none",),
        "benchmarks.envelope": ("--data", "none"),
    }[module]
    assert run(module, *missing, streams=">&- 2>&-").returncode == 2
    said = run(module, *missing, PYTHONIOENCODING="ascii")
    assert (said.returncode, said.stdout) == (2, b"")
    assert said.stderr.decode("ascii").count("\n") == 1


def test_what_an_encoding_lacks_is_spelt() -> None:
    error = UnicodeEncodeError("ascii", "2 × 3 … é", 2, 9, "")
    assert of_the_runtime.spell(error) == ("x 3 ... \\xe9", 9)
    assert of_the_others.spell(UnicodeEncodeError("utf-8", "a\udcff", 1, 2, ""))[0] == "\\udcff"


def test_a_command_to_type_is_quoted() -> None:
    assert of_the_others.typed("python", "-m", "x", Path("my song.bundle"), 0) in (
        "python -m x 'my song.bundle' 0",
        'python -m x "my song.bundle" 0',
    )


def run_nowhere(
    folder: Path, module: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a module in a folder that is deleted just before."""
    (gone := folder / "gone").mkdir()
    return run(module, *arguments, cwd=gone, streams='$(rmdir "$PWD")', **environment)


def test_a_deleted_working_directory_stops_nothing_that_is_named_whole(tmp_path: Path) -> None:
    sound = tmp_path / "out.wav"
    done = run_nowhere(tmp_path, "realtime.run", "--input", PHRASE, "--output", sound, "--seconds", 0.5)
    assert (done.returncode, done.stderr, sound.is_file()) == (0, b"", True)
    done = run_nowhere(tmp_path, "realtime.run", "--input", PHRASE, "--output", "out.wav")
    assert done.returncode == 2
    assert done.stderr.startswith(b"there is no out.wav: the working directory was deleted")


def test_a_program_that_can_keep_no_compiled_code_compiles_it_anew(tmp_path: Path) -> None:
    """A librosa whose folders, and a user's cache in which, nothing can be made; and no working directory."""
    found = find_spec("librosa")
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent, tmp_path / "librosa", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {path.parent for path in (tmp_path / "librosa").rglob("*.py")}:
        (folder / "__pycache__").touch()
    (tmp_path / "cache").touch()
    (tmp_path / "temporary").mkdir()
    places = {name: str(tmp_path / "cache") for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")}
    paths = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), "TMPDIR": str(tmp_path / "temporary")}
    files = ("--source", PHRASE.parent, "--out", tmp_path / "set", "--workers", 1)
    done = run_nowhere(tmp_path, "training.data.folder", *files, **places, **paths)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "temporary").iterdir())
