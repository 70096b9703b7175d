"""Knob values become the edited timbre: the formula, the smoothing, and exact rest."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Manifest, load_bundle
from realtime.controls import KnobBank
from realtime.edits import SMOOTHING_SECONDS, TimbreEdits
from tests.bundles import make_bundle

HEARD = np.array([0.3, -0.7, 1.1, 0.2])
LONG = 400  # hops, enough to arrive


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("edits") / "small.bundle")).manifest


@pytest.fixture
def bank(manifest: Manifest) -> KnobBank:
    return KnobBank(manifest)


@pytest.fixture
def edits(manifest: Manifest) -> TimbreEdits:
    return TimbreEdits(manifest)


def edited(edits: TimbreEdits, bank: KnobBank, hops: int = 1, note: float | None = None) -> np.ndarray:
    out = np.empty(4)
    for _ in range(hops):
        edits.follow(bank.values)
        edits.apply(HEARD, note, out)
    return out


def test_untouched_knobs_are_rest_to_the_bit(edits: TimbreEdits, bank: KnobBank) -> None:
    assert np.array_equal(edited(edits, bank), HEARD)
    assert (edits.at_rest, edits.mix, edits.gain) == (True, 1.0, 1.0)


def test_axes_and_preset_add_up_as_written(edits: TimbreEdits, bank: KnobBank, manifest: Manifest) -> None:
    settings = {"timbre[1]": 1.5, "brightness": -2.0, "preset": 2, "preset_amount": 0.6}
    for name, value in settings.items():
        bank.set(name, value)
    gong = np.array(manifest.presets[1].anchors[0].timbre)
    wanted = HEARD + 0.6 * (gong - HEARD) + 1.5 * np.eye(4)[1] - 2.0 * np.full(4, 0.5)
    assert np.allclose(edited(edits, bank), wanted, atol=1e-12)
    assert not edits.at_rest


@pytest.mark.parametrize(("note", "share"), [(20.0, 0.0), (48.0, 0.0), (57.0, 9 / 24), (72.0, 1.0), (108.0, 1.0), (None, 0.5)])
def test_a_preset_knows_pitch(edits: TimbreEdits, bank: KnobBank, manifest: Manifest, note: float | None, share: float) -> None:
    """Linear between the anchors at notes 48 and 72, constant beyond; middle C until a note is heard."""
    bank.set("preset", 1)
    low, high = (np.array(anchor.timbre) for anchor in manifest.presets[0].anchors)
    assert np.allclose(edited(edits, bank, note=note), low + share * (high - low), atol=1e-12)


def test_a_turned_knob_glides_there_and_arrives_exactly(edits: TimbreEdits, bank: KnobBank, manifest: Manifest) -> None:
    edited(edits, bank)
    bank.set("timbre[0]", 2.0)
    way = np.array([edited(edits, bank)[0] - HEARD[0] for _ in range(LONG)])
    hops = round(SMOOTHING_SECONDS / manifest.features.hop_seconds)
    assert way[hops - 1] == pytest.approx(2 * (1 - np.exp(-1)), rel=0.05)
    assert (np.diff(way) >= 0).all()
    assert np.diff(way, prepend=0).max() < 2 * (1 - np.exp(-manifest.features.hop_seconds / SMOOTHING_SECONDS)) + 1e-12
    assert way[-1] == 2.0 + HEARD[0] - HEARD[0]


def test_letting_go_ends_in_exact_rest(edits: TimbreEdits, bank: KnobBank) -> None:
    for name, value in (("timbre[0]", 2.0), ("brightness", -1.0), ("preset", 1)):
        bank.set(name, value)
    edited(edits, bank)
    for name in ("timbre[0]", "brightness", "preset"):
        bank.set(name, 0.0)
    rest = []
    for hops in (1, LONG):
        out = edited(edits, bank, hops)
        rest.append(edits.at_rest)
    assert rest == [False, True]
    assert np.array_equal(out, HEARD)


def test_changing_presets_crossfades(edits: TimbreEdits, bank: KnobBank, manifest: Manifest) -> None:
    bank.set("preset", 1)
    before = edited(edits, bank, note=60.0)
    bank.set("preset", 2)
    way = [edited(edits, bank, note=60.0) for _ in range(LONG)]
    gong = np.array(manifest.presets[1].anchors[0].timbre)
    assert np.abs(way[0] - before).max() < 0.15 * np.abs(gong - before).max()
    assert np.allclose(way[-1], gong, atol=1e-6)


def test_mix_and_gain_are_smoothed_and_exact_at_their_defaults(edits: TimbreEdits, bank: KnobBank) -> None:
    edited(edits, bank)
    bank.set("mix", 0.0)
    bank.set("gain_db", -20.0)
    edited(edits, bank)
    assert 0.9 < edits.mix < 1.0
    assert 0.7 < edits.gain < 1.0
    edited(edits, bank, LONG)
    assert edits.mix == 0.0
    assert edits.gain == pytest.approx(0.1)
    bank.set("mix", 1.0)
    bank.set("gain_db", 0.0)
    edited(edits, bank, LONG)
    assert (edits.mix, edits.gain) == (1.0, 1.0)


def test_senseless_values_in_shared_memory_do_no_harm(edits: TimbreEdits, bank: KnobBank) -> None:
    bank.set("timbre[0]", 1.0)
    before = edited(edits, bank)
    bank.values[:] = np.nan
    assert np.allclose(edited(edits, bank, LONG), before)
    bank.values[:] = 1e30
    out = edited(edits, bank, LONG)
    assert np.isfinite(out).all()
    assert edits.gain == pytest.approx(10 ** (12 / 20))


def test_reset_takes_the_knobs_as_they_stand(edits: TimbreEdits, bank: KnobBank) -> None:
    bank.set("timbre[2]", -1.0)
    first = edited(edits, bank)
    assert first[2] == HEARD[2] - 1.0
    bank.set("timbre[2]", 3.0)
    edited(edits, bank, 5)
    bank.set("timbre[2]", -1.0)
    edits.reset()
    assert np.array_equal(edited(edits, bank), first)
