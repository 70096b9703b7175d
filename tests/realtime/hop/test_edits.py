"""Knob values become the edited timbre: the formula, the smoothing, and exact rest."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Manifest, load_bundle
from realtime.hop.edits import Edits
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import SMOOTHING_SECONDS
from tests.support.bundles import make_bundle

HEARD = np.array([0.3, -0.7, 1.1, 0.2])
LATENTS = {"timbre": HEARD, "variation": np.array([0.5, -0.25, 1.0]), "pitch": np.array([0.3, -0.6])}
LONG = 400  # hops, enough to arrive


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("edits") / "small.bundle")).manifest


@pytest.fixture
def bank(manifest: Manifest) -> KnobBank:
    return KnobBank(manifest)


@pytest.fixture
def edits(manifest: Manifest) -> Edits:
    return Edits(manifest)


def edited(edits: Edits, bank: KnobBank, hops: int = 1, note: float | None = None) -> np.ndarray:
    return all_edited(edits, bank, hops, note)["timbre"]


def all_edited(
    edits: Edits, bank: KnobBank, hops: int = 1, note: float | None = None, heard: dict[str, np.ndarray] | None = None
) -> dict:
    """Every latent after that many hops."""
    latents = {name: value[None] for name, value in (LATENTS | (heard or {})).items()}
    out = {name: np.full((2, value.shape[1]), np.nan) for name, value in latents.items()}
    for _ in range(hops):
        edits.follow(bank.values, bank.smoothing, latents)
        edits.apply(latents, bank.slots, note, out)
    return {name: rows[1] for name, rows in out.items()}


def test_untouched_knobs_are_rest_to_the_bit(edits: Edits, bank: KnobBank) -> None:
    assert np.array_equal(edited(edits, bank), HEARD)
    assert (edits.at_rest, edits.mix, edits.gain) == (True, 1.0, 1.0)


def test_axes_and_preset_add_up_as_written(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    settings = {"timbre[1]": 1.5, "brightness": -2.0, "preset": 2, "preset_amount": 0.6}
    for name, value in settings.items():
        bank.set(name, value)
    gong = np.array(manifest.presets[1].anchors[0].timbre)
    wanted = HEARD + 0.6 * (gong - HEARD) + 1.5 * np.eye(4)[1] - 2.0 * np.full(4, 0.5)
    assert np.allclose(edited(edits, bank), wanted, atol=1e-12)
    assert not edits.at_rest


@pytest.mark.parametrize(
    ("note", "share"), [(20.0, 0.0), (48.0, 0.0), (57.0, 9 / 24), (72.0, 1.0), (108.0, 1.0), (None, 0.5)]
)
def test_a_preset_knows_pitch(
    edits: Edits, bank: KnobBank, manifest: Manifest, note: float | None, share: float
) -> None:
    """Linear between the anchors at notes 48 and 72, constant beyond; middle C until a note is heard."""
    bank.set("preset", 1)
    low, high = (np.array(anchor.timbre) for anchor in manifest.presets[0].anchors)
    assert np.allclose(edited(edits, bank, note=note), low + share * (high - low), atol=1e-12)


def test_a_turned_knob_glides_there_and_arrives_exactly(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    edited(edits, bank)
    bank.set("timbre[0]", 2.0)
    way = np.array([edited(edits, bank)[0] - HEARD[0] for _ in range(LONG)])
    hops = round(SMOOTHING_SECONDS / manifest.features.hop_seconds)
    assert way[hops - 1] == pytest.approx(2 * (1 - np.exp(-1)), rel=0.05)
    assert (np.diff(way) >= 0).all()
    assert np.diff(way, prepend=0).max() < 2 * (1 - np.exp(-manifest.features.hop_seconds / SMOOTHING_SECONDS)) + 1e-12
    assert way[-1] == 2.0 + HEARD[0] - HEARD[0]


def test_letting_go_ends_in_exact_rest(edits: Edits, bank: KnobBank) -> None:
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


def test_changing_presets_crossfades(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    bank.set("preset", 1)
    before = edited(edits, bank, note=60.0)
    bank.set("preset", 2)
    way = [edited(edits, bank, note=60.0) for _ in range(LONG)]
    gong = np.array(manifest.presets[1].anchors[0].timbre)
    assert np.abs(way[0] - before).max() < 0.15 * np.abs(gong - before).max()
    assert np.allclose(way[-1], gong, atol=1e-6)


def test_mix_and_gain_are_smoothed_and_exact_at_their_defaults(edits: Edits, bank: KnobBank) -> None:
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


def test_senseless_values_in_shared_memory_do_no_harm(edits: Edits, bank: KnobBank) -> None:
    bank.set("timbre[0]", 1.0)
    before = edited(edits, bank)
    bank.values[:] = np.nan
    assert np.allclose(edited(edits, bank, LONG), before)
    bank.values[:] = 1e30
    out = edited(edits, bank, LONG)
    assert np.isfinite(out).all()
    assert edits.gain == pytest.approx(10 ** (12 / 20))


def test_reset_takes_the_knobs_as_they_stand(edits: Edits, bank: KnobBank) -> None:
    bank.set("timbre[2]", -1.0)
    first = edited(edits, bank)
    assert first[2] == HEARD[2] - 1.0
    bank.set("timbre[2]", 3.0)
    edited(edits, bank, 5)
    bank.set("timbre[2]", -1.0)
    edits.reset()
    assert np.array_equal(edited(edits, bank), first)


# Corners of the square, slots, what is held
# ------------------------------------------------------------------------------


def own(bank: KnobBank, slot: int, timbre: np.ndarray) -> int:
    """Fill a slot.  Returns its number as a preset."""
    bank.slots[slot] = timbre
    return int(bank.target("preset").high) - len(bank.slots) + 1 + slot


def test_the_square_mixes_four_presets_by_place(edits: Edits, bank: KnobBank) -> None:
    corners = np.array([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5], [2.0, -2.0, 2.0, -2.0]])
    for slot, name in enumerate(("preset", "preset_b", "preset_c", "preset_d")):
        bank.set(name, own(bank, slot, corners[slot]))
    for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.25, 0.75), (0.5, 0.5)):
        bank.set("x", x)
        bank.set("y", y)
        weights = np.array([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
        assert np.allclose(edited(edits, bank, LONG), weights @ corners, atol=1e-6)
    bank.set("preset_amount", 0.5)
    assert np.allclose(edited(edits, bank, LONG), 0.5 * HEARD + 0.5 * weights @ corners, atol=1e-6)


def test_a_corner_without_preset_and_an_empty_slot_are_ones_own_timbre(edits: Edits, bank: KnobBank) -> None:
    bank.set("preset", own(bank, 0, np.ones(4)))
    bank.set("x", 0.75)
    assert np.allclose(edited(edits, bank, LONG), 0.25 * np.ones(4) + 0.75 * HEARD, atol=1e-6)
    bank.set("preset", own(bank, 3, np.full(4, np.nan)))
    bank.set("x", 0.0)
    assert np.allclose(edited(edits, bank, LONG), HEARD, atol=1e-6)


def test_moving_across_the_square_never_jumps(edits: Edits, bank: KnobBank) -> None:
    bank.set("preset", 1)
    bank.set("preset_b", 2)
    edited(edits, bank, LONG)
    bank.set("x", 1.0)
    way = np.array([edited(edits, bank) for _ in range(LONG)])
    assert np.abs(np.diff(way, axis=0)).max() < 0.1 * np.ptp(way, axis=0).max()


def test_hold_keeps_the_timbre_and_lets_go_without_a_jump(edits: Edits, bank: KnobBank) -> None:
    edited(edits, bank)
    bank.set("timbre_hold", 1)
    edited(edits, bank, LONG)
    other = {"timbre": -3 * HEARD}
    assert np.array_equal(all_edited(edits, bank, LONG, heard=other)["timbre"], HEARD)
    assert not edits.at_rest
    bank.set("timbre_hold", 0)
    way = np.array([all_edited(edits, bank, heard=other)["timbre"] for _ in range(LONG)])
    assert np.abs(way[0] - HEARD).max() < 0.3 * np.abs(4 * HEARD).max()
    assert np.array_equal(way[-1], -3 * HEARD)
    assert edits.at_rest


# Variation and pitch
# -----------------------------------------------------------------------------------------------------


def test_variation_is_scaled_frozen_and_offset(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    variation = LATENTS["variation"]
    bank.set("variation_scale", 2.0)
    bank.set("variation[1]", -1.5)
    wanted = 2 * variation - 1.5 * np.array(manifest.variation_axes[1].direction)
    assert np.allclose(all_edited(edits, bank, LONG)["variation"], wanted, atol=1e-6)
    bank.set("variation_freeze", 1)
    all_edited(edits, bank, LONG)
    assert np.allclose(all_edited(edits, bank, LONG, heard={"variation": np.zeros(3)})["variation"], wanted, atol=1e-6)


def test_pitch_moves_along_the_learned_curve(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    notes = [anchor.midi_note for anchor in manifest.pitch_anchors]
    curve = np.array([anchor.pitch for anchor in manifest.pitch_anchors])
    bank.set("pitch_semitones", 7.0)
    low, high = (np.array([np.interp(note, notes, column) for column in curve.T]) for note in (55.0, 62.0))
    assert np.allclose(all_edited(edits, bank, LONG, note=55.0)["pitch"], high, atol=1e-6)
    bank.set("pitch_semitones", -0.25)
    below = np.array([np.interp(54.75, notes, column) for column in curve.T])
    assert np.allclose(
        all_edited(edits, bank, LONG, note=55.0)["pitch"], below + 0.75 * (LATENTS["pitch"] - low), atol=1e-6
    )
    bank.set("pitch_semitones", 0.0)
    bank.set("pitch[0]", 2.0)
    wanted = LATENTS["pitch"] + 2 * np.array(manifest.pitch_axes[0].direction)
    assert np.allclose(all_edited(edits, bank, LONG, note=55.0)["pitch"], wanted, atol=1e-6)


def test_keys_play_the_curve_and_presets_follow_the_key(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    notes = [anchor.midi_note for anchor in manifest.pitch_anchors]
    curve = np.array([anchor.pitch for anchor in manifest.pitch_anchors])
    for name, value in (("resynth", 1.0), ("keys", 1), ("note", 57), ("note_velocity", 0.5), ("preset", 1)):
        bank.set(name, value)
    found = all_edited(edits, bank, LONG, note=40.0)
    assert np.allclose(found["pitch"], [np.interp(57, notes, column) for column in curve.T], atol=1e-6)
    low, high = (np.array(anchor.timbre) for anchor in manifest.presets[0].anchors)
    assert np.allclose(found["timbre"], low + 9 / 24 * (high - low), atol=1e-6)
    assert (edits.keys, edits.velocity) == (True, 0.5)
    bank.set("note", -1)
    assert np.allclose(all_edited(edits, bank, LONG, note=40.0)["pitch"], found["pitch"], atol=1e-6), (
        "the tail keeps its pitch"
    )
    assert edits.velocity == 0.0
    bank.set("keys", 0)
    assert np.array_equal(all_edited(edits, bank, LONG, note=40.0)["pitch"], LATENTS["pitch"])


def test_a_knob_has_its_own_smoothing(edits: Edits, bank: KnobBank, manifest: Manifest) -> None:
    edited(edits, bank)
    bank.smoothing[bank.index["timbre[0]"]] = 0.1
    bank.set("timbre[0]", 2.0)
    bank.set("timbre[1]", 2.0)
    hops = round(0.1 / manifest.features.hop_seconds)
    out = edited(edits, bank, hops)
    assert out[0] - HEARD[0] == pytest.approx(2 * (1 - np.exp(-1)), rel=0.02)
    assert out[1] - HEARD[1] == pytest.approx(2 * (1 - np.exp(-5)), rel=0.02)
    bank.smoothing[:] = np.nan  # senseless: the usual one
    assert np.allclose(edited(edits, bank, LONG), HEARD + np.array([2, 2, 0, 0]), atol=1e-6)
