"""`python -m pytest benchmarks --benchmark-only` collects the `bench_*.py` of this folder and measures them; plain
`pytest` reads tests/ only.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest-benchmark, which the project's options switch off for the tests, reads its own."""
    config.addinivalue_line("python_files", "bench_*.py")
    if config.option.benchmark_only:
        config.option.benchmark_disable = False
