"""A harmonic bundle in a session: synth follows the input, keys play, what is unsure crosses to morph."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Bundle
from realtime.hop.keys import KEY_LEVEL
from realtime.render import render
from tests.support.harmonic import RATE, cents_off, harmonic_bundle, level_db, session_of, tone, turn, weighted_db


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return harmonic_bundle(tmp_path_factory.mktemp("harmonic") / "small.bundle")


def test_at_rest_the_output_is_the_input(bundle: Bundle) -> None:
    sound = tone(220.0)
    np.testing.assert_array_equal(render(session_of(bundle), sound, RATE), sound)


@pytest.mark.parametrize("semitones", [0.0, 7.0, -5.5, 0.37])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_what_sounds_has_the_input_s_pitch_transposed_and_its_level(
    bundle: Bundle, semitones: float, rate: int
) -> None:
    sound = tone(220.0, rate=rate)
    found = render(session_of(bundle, rate, synth=1.0, pitch_semitones=semitones), sound, rate)[:, 0]
    steady = found[rate // 2 :]
    assert abs(cents_off(steady, 220 * 2 ** (semitones / 12), rate)) <= 3.0
    assert weighted_db(steady, rate) == pytest.approx(weighted_db(sound[rate // 2 :], rate), abs=1.0)


def test_nothing_of_the_level_knob_at_zero_is_heard(bundle: Bundle) -> None:
    sound = tone(220.0)
    wanted = render(session_of(bundle, preset=1), sound, RATE)
    np.testing.assert_array_equal(
        render(session_of(bundle, preset=1, harmonics=0.3, vibrato=0.0, key_0=60, portamento=1.0), sound, RATE), wanted
    )


def test_vibrato_is_kept_flattened_or_doubled(bundle: Bundle) -> None:
    time = np.arange(2 * RATE) / RATE
    track = 220 * 2 ** (0.4 / 12 * np.sin(2 * np.pi * 5.5 * time))
    turns = 2 * np.pi * np.cumsum(track) / RATE
    sound = (0.1 * np.sum([np.sin(h * turns + h * h) / h for h in range(1, 9)], axis=0)).astype(np.float32)[:, None]
    widths = []
    for vibrato in (0.0, 1.0, 2.0):
        session = session_of(bundle, synth=1.0, vibrato=vibrato)
        heard, out = [], np.zeros((256, 1), np.float32)
        for start in range(0, len(sound) - 256, 256):
            session.process_block(sound[start : start + 256], out)
            played = session._step._voices.played  # type: ignore[union-attr]
            heard.append(1200 * np.log2(played.f0_hz[0] / 220))
        widths.append(np.percentile(np.abs(heard[80:]), 95))
    assert widths[1] == pytest.approx(40, abs=5)
    assert widths[0] < 15
    assert widths[2] > 65


@pytest.mark.parametrize("note", [21, 45, 69, 108])
def test_a_key_plays_its_note_without_any_input(bundle: Bundle, note: int) -> None:
    session = session_of(bundle, synth=1.0, keys=1, key_0=note)
    found = render(session, np.zeros((RATE, 1), np.float32), RATE)[RATE // 4 :, 0]
    assert abs(cents_off(found, 440 * 2 ** ((note - 69) / 12))) <= 2.0
    assert level_db(found) > -35


def test_eight_keys_sound_together_with_their_velocities_and_end(bundle: Bundle) -> None:
    notes = {f"key_{i}": 40 + 5 * i for i in range(8)}
    session = session_of(bundle, synth=1.0, keys=1, **notes, key_velocity_3=0.5)
    silence = np.zeros((RATE // 2, 1), np.float32)
    render(session, silence, RATE)
    played = session._step._voices.played  # type: ignore[union-attr]
    np.testing.assert_allclose(played.f0_hz[1:], 440 * 2 ** ((np.arange(40, 80, 5) - 69) / 12))
    assert played.level[4] == pytest.approx(0.5 * KEY_LEVEL)
    assert (np.delete(played.level[1:], 3) == KEY_LEVEL).all()
    turn(session, **dict.fromkeys(notes, -1))
    after = np.concatenate([render(session, silence, RATE) for _ in range(2)])
    assert after[: RATE // 20].any()
    assert not after[3 * RATE // 4 :].any()


def test_portamento_glides_and_legato_has_no_attack(bundle: Bundle) -> None:
    session = session_of(bundle, synth=1.0, keys=1, key_0=48, portamento=0.1, legato=1)
    block, out, track, struck = np.zeros((256, 1), np.float32), np.zeros((256, 1), np.float32), [], []
    for hop in range(160):
        if hop == 40:
            turn(session, key_0=60)
        session.process_block(block, out)
        played = session._step._voices.played  # type: ignore[union-attr]
        track.append(69 + 12 * np.log2(played.f0_hz[1] / 440))
        struck.append(bool(played.struck[1]))
    assert struck.count(True) == 1
    assert track[39] == pytest.approx(48)
    assert track[-1] == pytest.approx(60, abs=0.05)
    assert np.abs(np.diff(track[2:])).max() < 1.0
    gone = (np.array(track[41:]) - 48) / 12
    assert 256 * np.argmax(gone > 1 - np.exp(-1)) / RATE == pytest.approx(0.1, abs=0.02)


def test_a_preset_knows_the_key_s_note(bundle: Bundle) -> None:
    session = session_of(bundle, synth=1.0, keys=1, preset=1, key_0=36, key_1=84)
    render(session, np.zeros((RATE // 4, 1), np.float32), RATE)
    inputs = session._step.model.key_inputs  # type: ignore[attr-defined]
    low, _, high = bundle.manifest.presets[0].anchors
    for row, anchor in ((0, low), (1, high)):
        np.testing.assert_allclose(inputs["timbre"][row], anchor.timbre, atol=1e-5)
        np.testing.assert_allclose(inputs["pitch"][row], np.array(anchor.pitch), atol=1e-5)


def test_a_preset_moves_both_latents_of_what_is_heard(bundle: Bundle) -> None:
    session = session_of(bundle, preset=2)
    render(session, tone(440 * 2 ** ((60 - 69) / 12)), RATE)
    inputs, anchor = session._step.model.decoder_inputs, bundle.manifest.presets[1].anchors[1]
    np.testing.assert_allclose(inputs["timbre"][1], anchor.timbre, atol=0.05)
    np.testing.assert_allclose(inputs["pitch"][1], np.array(anchor.pitch), atol=0.05)
    assert np.abs(inputs["pitch"][0] - inputs["pitch"][1]).max() > 0.1


def test_what_has_no_single_pitch_crosses_to_morph_without_a_click(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((RATE, 1))).astype(np.float32)
    found = render(session_of(bundle, synth=1.0), noise, RATE)
    np.testing.assert_allclose(found[RATE // 2 :], noise[RATE // 2 :], atol=1e-6)  # morph with no edit: the input
    both = tone(220.0) + tone(220 * 2 ** (4 / 12))
    together = render(session_of(bundle, synth=1.0), both, RATE)
    np.testing.assert_allclose(together[RATE // 2 :], both[RATE // 2 :], atol=1e-2)
    sound = np.concatenate([tone(220.0, 0.5), noise[: RATE // 2], tone(330.0, 0.5)])
    crossed = render(session_of(bundle, synth=1.0), sound, RATE)[:, 0]
    assert np.isfinite(crossed).all()
    assert np.abs(crossed).max() < 2 * np.abs(sound).max()


@pytest.mark.parametrize("kind", ["silence", "clicks", "constant", "low", "high"])
def test_bad_input_gives_no_jump_and_nothing_that_is_not_a_number(bundle: Bundle, kind: str) -> None:
    sound = np.zeros((RATE // 2, 1), np.float32)
    if kind == "clicks":
        sound[::3000] = 0.9
    elif kind == "constant":
        sound[:] = 0.5
    elif kind in ("low", "high"):
        sound = tone(20.0 if kind == "low" else 6000.0, 0.5)
    found = render(session_of(bundle, synth=1.0, pitch_semitones=5), sound, RATE)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 3 * max(np.abs(sound).max(), 1e-9)


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_blocks_make_no_difference(bundle: Bundle, block: int) -> None:
    def play(size: int) -> np.ndarray:
        sound, session = tone(220.0, 0.3), session_of(bundle, synth=0.8, preset=1, keys=0)
        out = np.zeros_like(sound)
        for start in range(0, len(sound), size):
            session.process_block(sound[start : start + size], out[start : start + size])
        return out

    np.testing.assert_array_equal(play(block), play(256))


def test_latency_is_none_and_as_reported(bundle: Bundle) -> None:
    session = session_of(bundle, synth=1.0)
    assert session.latencies["synth"] == session.latency_samples == 0
    silence = np.zeros((4096, 1), np.float32)
    turn(session, keys=1)
    render(session, silence, RATE)
    out = np.zeros((256, 1), np.float32)
    turn(session, key_0=69)
    session.process_block(silence[:256], out)  # ends a hop, in which the key is noticed
    session.process_block(silence[:256], out)
    assert np.abs(out[:8]).max() > 0, "it sounds from the first sample after"


def test_resynth_of_a_harmonic_model_is_in_tune_too(bundle: Bundle) -> None:
    found = render(session_of(bundle, resynth=1.0, pitch_semitones=7.0), tone(220.0), RATE)[RATE // 2 :, 0]
    assert abs(cents_off(found, 220 * 2 ** (7 / 12))) <= 10.0
