"""The house rules of the code, read from the code: who may import whom, and what the audio thread may not do."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("training", "export", "realtime", "benchmarks")

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
AUDIO_THREAD = re.compile(r"#\s*audio thread\b")
# What makes an array or a list. A line that cannot do without says so: "# allocates", and how much or why.
ALLOCATING_CALLS = {
    *("correlate", "convolve", "concatenate", "stack", "tile", "repeat", "pad", "interp", "where", "nonzero"),
    *("flatnonzero", "array", "asarray", "zeros", "ones", "empty", "zeros_like", "ones_like", "empty_like", "copy"),
    *("astype", "arange", "linspace", "sorted", "list", "tuple", "dict", "set"),
}
# Of a module that imports queue; a line may say why its call "never waits".
QUEUE_CALLS = {"put", "get", "join"}
BLOCKING_CALLS = {"print", "open", "input", "sleep", "acquire", "wait", "Lock", "RLock", "Condition", "Semaphore"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_packages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import in a module, also of importlib.import_module("...") and
    __import__("...").
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "__import__"} and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value.partition(".")[0]


def called_name(call: ast.Call) -> str:
    """The last part of what is called: `acquire` for self.guard.acquire()."""
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def audio_thread_functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions with the mark on a line of their signature, or on the line above it."""
    lines = source.splitlines()
    marked = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = max(node.lineno, node.body[0].lineno - 1)
            if any(AUDIO_THREAD.search(line) for line in lines[max(0, first - 2) : last]):
                marked.append(node)
    return marked


def audio_thread_violations(source: str) -> list[str]:
    found = []
    lines = source.splitlines()
    queues = QUEUE_CALLS if "queue" in {name for _, name in imported_packages(ast.parse(source))} else set()
    for function in audio_thread_functions(source):
        for node in ast.walk(function):
            if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
                found.append(f"{function.name}, line {node.lineno}: {type(node).__name__.lower()}")
            elif isinstance(node, ast.Call) and called_name(node) in BLOCKING_CALLS:
                found.append(f"{function.name}, line {node.lineno}: {called_name(node)}()")
            elif isinstance(node, ast.Call) and called_name(node) in ALLOCATING_CALLS | queues:
                excuse = "never waits" if called_name(node) in queues else "allocates"
                if not any(f"# {excuse}" in line for line in lines[node.lineno - 1 : node.end_lineno]):
                    found.append(f"{function.name}, line {node.lineno}: {called_name(node)}()")
            elif isinstance(node, ast.Name) and node.id in {"logging", "logger", "warnings"}:
                found.append(f"{function.name}, line {node.lineno}: {node.id}")
            elif isinstance(node, ast.With | ast.AsyncWith) and any(
                "lock" in ast.unparse(item.context_expr).lower() for item in node.items
            ):
                found.append(f"{function.name}, line {node.lineno}: holds a lock")
    return found


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


def test_audio_thread_functions_never_block_print_or_raise() -> None:
    marked = {}
    for path in sources("realtime"):
        source = path.read_text(encoding="utf-8")
        marked.update({f"{module_name(path)}.{function.name}": path for function in audio_thread_functions(source)})
        violations = audio_thread_violations(source)
        assert not violations, f"{path.relative_to(ROOT)}: " + "; ".join(violations)
    assert any(name.endswith(".process_block") for name in marked), (
        f"process_block must carry the mark; marked are {sorted(marked)}"
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("print(block)", "print()"),
        ("open('take.wav')", "open()"),
        ("raise ValueError", "raise"),
        ("assert len(block)", "assert"),
        ("self.guard.acquire()", "acquire()"),
        ("logging.info('late')", "logging"),
        ("import soxr", "import"),
        ("\n        with self._lock:\n            pass", "holds a lock"),
        ("out = np.correlate(block, self.head)", "correlate()"),
        ("later = block.copy()", "copy()"),
    ],
)
@pytest.mark.parametrize(
    "mark", ["    # audio thread\n    def process(self, block):", "    def process(self, block):  # audio thread"]
)
def test_the_check_itself_sees_each_fault(mark: str, body: str, fault: str) -> None:
    source = f"class Session:\n{mark}\n        {body}\n"
    (found,) = audio_thread_violations(source)
    assert found.startswith("process, line ")
    assert found.endswith(fault)
    assert not audio_thread_violations(source.replace("# audio thread", "# control side"))


def test_the_check_sees_queues_and_believes_a_line_that_says_why_it_may() -> None:
    source = "import queue\n\ndef give(self):  # audio thread\n    self.bell.put(True)\n    x = y.copy()\n"
    assert audio_thread_violations(source) == ["give, line 4: put()", "give, line 5: copy()"]
    excused = source.replace("(True)", "(True)  # never waits: no limit").replace(
        "copy()", "copy()  # allocates: 8 bytes"
    )
    assert not audio_thread_violations(excused)
    assert audio_thread_violations(source.replace("import queue", "import json")) == ["give, line 5: copy()"]


def test_the_import_check_sees_lazy_imports() -> None:
    source = (
        "def load():\n    import torch.nn\n    importlib.import_module('librosa.core')\n    from training.features "
        "import frames\n"
    )
    assert {name for _, name in imported_packages(ast.parse(source))} == {"torch", "librosa", "training"}
