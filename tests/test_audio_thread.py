"""What functions marked `# audio thread` may not do, read from the code: block, print, raise, allocate."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.source_code import ROOT, called_name, imported_packages, module_name, sources

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
