"""What the tests of the controls share: a bundle, boards with snapshots, and an OSC server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.bundle import Bundle, load_bundle
from tests.support.boards import Board
from tests.support.bundles import make_bundle
from tests.support.osc_rig import OscRig


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("snapshots") / "small.bundle"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stage.toml"


@pytest.fixture
def new(bundle: Bundle, path: Path) -> Callable[[], Board]:
    return lambda: Board(bundle, path)


@pytest.fixture
def rig() -> Iterator[OscRig]:
    rig = OscRig()
    yield rig
    rig.close()
