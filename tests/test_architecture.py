"""The house rules of the code, read from the code: who may import whom, and how big folders and test files may be."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from tests.support.source_code import PACKAGES, ROOT, imported_packages, module_name, sources

# The four lines: what each package must never import, not even inside a function.
FORBIDDEN = {
    "training": {"export", "realtime", "benchmarks"},
    "export": {"benchmarks"},
    "realtime": {"training", "export", "benchmarks", "torch", "lightning", "pytorch_lightning", "librosa"},
    "benchmarks": set(),
}
# Import names that differ from the distribution's name.
IMPORT_NAMES = {
    "python-rtmidi": "rtmidi",
    "python-osc": "pythonosc",
    "onnxruntime-gpu": "onnxruntime",
    "JACK-Client": "jack",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may_know(package: str) -> None:
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imported_packages(ast.parse(path.read_text(encoding="utf-8")))
        if name in FORBIDDEN[package]
    ]
    assert not broken, "\n".join(broken)


def test_realtime_imports_nothing_beyond_its_own_dependencies() -> None:
    """What `neiro[cpu,jack]` or `neiro[gpu,jack]` installs is all that realtime may use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = [
        Requirement(line).name for line in [*project["dependencies"], *extras["cpu"], *extras["gpu"], *extras["jack"]]
    ]
    allowed = {IMPORT_NAMES.get(name, name) for name in names} | {"realtime"} | sys.stdlib_module_names
    unknown = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("realtime")
        for line, name in imported_packages(ast.parse(path.read_text(encoding="utf-8")))
        if name not in allowed
    ]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize("package", PACKAGES)
def test_init_files_are_a_docstring_and_nothing_is_called_utils(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
    for path in sources(package):
        assert "utils" not in module_name(path).split("."), (
            f"{path.relative_to(ROOT)}: name the module by what it is for"
        )
        assert (path.parent / "__init__.py").is_file(), (
            f"{path.parent.relative_to(ROOT)} lacks __init__.py, so it would not be installed"
        )
        if path == ROOT / "realtime/__init__.py":
            continue  # the library's one name; see the next test
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, f"{path.relative_to(ROOT)} must hold a docstring and nothing else"
            assert ast.get_docstring(ast.Module(body=body, type_ignores=[])), (
                f"{path.relative_to(ROOT)} must hold a docstring"
            )


def test_the_library_offers_one_name_and_loads_it_when_asked() -> None:
    """`realtime/__init__.py` holds a docstring, imports for types, `__all__` and `__getattr__`, nothing that runs."""
    body = ast.parse((ROOT / "realtime/__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(body[0], ast.Expr)
    kinds = [type(node) for node in body[1:]]
    assert kinds == [ast.ImportFrom, ast.ImportFrom, ast.If, ast.Assign, ast.FunctionDef]
    assert isinstance(body[-1], ast.FunctionDef)
    assert body[-1].name == "__getattr__"


# Each room of the runtime, with those below it: a module may import from its own room and from earlier ones.
ROOMS = (
    "kinds",
    "bundle",
    "knobs",
    "dsp",
    "outputs",
    "hop",
    "session",
    "render",
    "instrument",
    "files",
    "devices",
    "controls",
    "cli",
    "live",
    "run",
)
MOST_MODULES = 16  # in one folder
MOST_TEST_LINES = 300  # in one file


def rooms_imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and room of every import from the runtime."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("realtime."):
            yield node.lineno, node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "realtime":
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from ((node.lineno, name[1]) for name in names if name[0] == "realtime" and len(name) > 1)


def test_rooms_of_the_runtime_stand_in_order() -> None:
    seen, broken = set(), []
    for path in sources("realtime"):
        parts = path.relative_to(ROOT / "realtime").with_suffix("").parts
        if parts == ("__init__",):
            continue
        seen.add(parts[0])
        for line, room in rooms_imported(ast.parse(path.read_text(encoding="utf-8"))):
            if ROOMS.index(room) > ROOMS.index(parts[0]) or (parts[0] == "dsp" and room == "knobs"):
                broken.append(f"{path.relative_to(ROOT)}:{line}: {parts[0]} comes before {room}")
    assert not broken, "\n".join(broken)
    assert seen == set(ROOMS), "name a new room in ROOMS, where it belongs"


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_stay_small_enough_to_survey(package: str) -> None:
    folders = {path.parent for path in sources(package)}
    counts = {folder: sum(path.name != "__init__.py" for path in folder.glob("*.py")) for folder in folders}
    crowded = [
        f"{folder.relative_to(ROOT)}: {count} modules" for folder, count in counts.items() if count > MOST_MODULES
    ]
    assert not crowded, "\n".join(crowded)


def test_test_files_stay_short_enough_to_read() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources("tests")}
    long = [f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > MOST_TEST_LINES]
    assert not long, "split by theme, shared helpers to tests/support: " + ", ".join(long)


def test_importing_realtime_loads_no_torch_and_starts_nothing() -> None:
    modules = [module_name(path) for path in sources("realtime") if path.stem != "__main__"]
    script = f"""
import importlib, json, logging, multiprocessing, signal, sys, threading
interrupt = signal.getsignal(signal.SIGINT)
for name in {modules!r}:
    importlib.import_module(name)
print(json.dumps({{
    "loaded": sorted({{name.partition(".")[0] for name in sys.modules}}),
    "threads": [thread.name for thread in threading.enumerate()],
    "processes": len(multiprocessing.active_children()),
    "log_handlers": len(logging.root.handlers),
    "interrupt_kept": signal.getsignal(signal.SIGINT) is interrupt,
}}))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)  # also proves that importing prints nothing
    assert not FORBIDDEN["realtime"] & set(seen["loaded"])
    assert seen["threads"] == ["MainThread"]
    assert (seen["processes"], seen["log_handlers"], seen["interrupt_kept"]) == (0, 0, True)


def test_the_import_check_sees_lazy_imports() -> None:
    source = (
        "def load():\n    import torch.nn\n    importlib.import_module('librosa.core')\n    from training.features "
        "import frames\n"
    )
    assert {name for _, name in imported_packages(ast.parse(source))} == {"torch", "librosa", "training"}
