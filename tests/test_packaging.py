"""What is installed is what the code needs: the wheel's content, and versions that agree with each other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("training", "export", "realtime", "benchmarks")
DATA = (
    ("training/recipes", "*.yaml"),
    ("training/checkpoints", "*"),
    ("realtime/default.bundle", "**/*"),
    ("realtime", "*.toml"),
    ("benchmarks/demo", "*"),
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(*extras: str) -> list[Requirement]:
    """The direct requirements of the base (always) and of some extras."""
    project = PYPROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, Version] = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{line}: a pin is NAME==VERSION"
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice"
            found[name] = Version(specifier.version)
    return found


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """File names in a wheel built from a copy, so that no build folder is left in the tree (or read from it)."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(target),
        str(source),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = target.glob("*.whl")
    assert wheel.name.startswith(f"neiro-{PYPROJECT['project']['version']}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module_and_no_tests(wheel_files: set[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules <= wheel_files
    assert {name.partition("/")[0] for name in wheel_files} == {
        *PACKAGES,
        f"neiro-{PYPROJECT['project']['version']}.dist-info",
    }
    assert not [name for name in wheel_files if Path(name).name.startswith("test_") or "__pycache__" in name]


@pytest.mark.parametrize(("folder", "pattern"), DATA)
def test_wheel_holds_the_package_data(wheel_files: set[str], folder: str, pattern: str) -> None:
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern) if path.is_file()}
    assert data, f"{folder} holds no {pattern}"
    assert data <= wheel_files


def test_constraints_pin_every_direct_requirement_inside_its_range() -> None:
    pinned = pins()
    for requirement in requirements("cpu", "gpu", "train", "dev"):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement.name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), (
            f"{name}=={pinned[name]} is outside {requirement.specifier}"
        )


def test_machines_choose_the_build_not_the_version() -> None:
    """Both ONNX Runtimes are the same version, and torch is pinned without naming CPU or CUDA."""
    pinned = pins()
    assert pinned["onnxruntime"] == pinned["onnxruntime-gpu"]
    assert pinned["torch"].local is None


def test_stage_install_is_light_and_nothing_needs_torchaudio() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    everything = {canonicalize_name(requirement.name) for requirement in requirements(*extras)} | set(pins())
    assert not {"torchaudio", "torchvision"} & everything
    stage = {canonicalize_name(requirement.name) for requirement in requirements("cpu", "gpu")}
    assert not {"torch", "lightning", "librosa", "scipy"} & stage
