"""A bundle tells its kind; the kind says which graphs and ports it has, and the model that plays it is chosen by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realtime.bundle import Bundle, BundleError, embedded_bundle, load_bundle
from realtime.hop import model
from realtime.hop.model import EngineError, StreamingModel, open_model
from realtime.kinds import KINDS, Kind
from tests.support.bundles import make_bundle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "small.bundle")


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    edit(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def port(manifest: dict[str, Any], graph: str, side: str, name: str) -> dict[str, Any]:
    (found,) = (port for port in manifest["graphs"][graph][side] if port["name"] == name)
    return found


def test_bundles_that_do_not_tell_their_kind_have_latents(path: Path) -> None:
    assert load_bundle(change(path, lambda manifest: manifest.pop("kind", None))).manifest.kind == "latents"
    assert load_bundle(embedded_bundle()).manifest.streaming == ("streaming/encoder", "streaming/decoder")


def test_a_kind_of_tomorrow_is_refused_in_one_sentence(path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"'mask' is none that this version of Neiro plays \(latents, harmonic\)"
    ) as told:
        load_bundle(change(path, lambda manifest: manifest.update(kind="mask")))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda manifest: port(manifest, "streaming/encoder", "inputs", "rate").update(name="speed"),
            r"streaming/encoder: input rate is none, a bundle of the kind 'latents' has \(1,\)",
        ),
        (
            lambda manifest: port(manifest, "streaming/decoder", "outputs", "log_amplitude").update(shape=[2, 7]),
            r"streaming/decoder: output log_amplitude is \(2, 7\), a bundle of the kind 'latents' has \(2, \d+\)",
        ),
        (
            lambda manifest: manifest["graphs"]["streaming/encoder"]["outputs"].append(
                {"name": "mask", "shape": [1, 8]}
            ),
            r"streaming/encoder: output mask is \(1, 8\), a bundle of the kind 'latents' has none",
        ),
    ],
)
def test_ports_that_are_not_those_of_the_kind_are_named(
    path: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(BundleError, match=words + "; export the bundle again"):
        load_bundle(change(path, edit))


def test_the_kind_chooses_the_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(path)
    assert type(open_model(bundle, "cpu")) is StreamingModel
    monkeypatch.setitem(KINDS, "mask", Kind(KINDS["latents"].graphs, (), ("morph",), KINDS["latents"].ports))
    other = Bundle(path, bundle.manifest.model_copy(update={"kind": "mask"}))
    with pytest.raises(EngineError, match=r"is of the kind 'mask'.*latents"):
        open_model(other, "cpu")
    asked = []
    monkeypatch.setitem(model.MODELS, "mask", lambda *arguments, **options: asked.append((arguments, options)))
    open_model(other, "cpu", flush_denormals=True)
    assert asked == [((other, "cpu"), {"flush_denormals": True})]
