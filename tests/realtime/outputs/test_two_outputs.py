"""Two ways out side by side: their latencies, the fade between them, and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.session import SessionOptions
from tests.support.bundles import BundleSize, make_bundle
from tests.support.sessions import EDIT, HOP, cello_and_clarinet, difference_db, play, session_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("outputs") / "small.bundle"))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return cello_and_clarinet()


def test_the_latency_told_is_that_of_the_way_out(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, {}, options=SessionOptions(provider="cpu", latency_ms=6.0))
    play(session, sound[:1000], [HOP])
    assert (session.latency_samples, int(session.meters["latency_samples"]), session.latency_of("morph")) == (0, 0, 0)
    session.knobs.set("resynth", 0.3)
    play(session, sound[:1000], [HOP])
    late = session.latency_of("resynth")
    assert 0 < late <= 0.006 * 44100
    assert (session.latency_samples, int(session.meters["latency_samples"])) == (late, late)


def test_fading_between_the_ways_neither_clicks_nor_leaves_a_trace(tmp_path: Path, sound: np.ndarray) -> None:
    stage = load_bundle(make_bundle(tmp_path / "stage.bundle", size=BundleSize(window_samples=1024, hop_samples=256)))
    there, back = 20000, 40000
    session = session_of(stage, {})
    out = np.concatenate([play(session, sound[:there], [256]), np.empty((0, 1), np.float32)])
    session.knobs.set("resynth", 1.0)
    made = play(session, sound[there:back], [256])
    session.knobs.set("resynth", 0.0)
    after = play(session, sound[back:], [256])
    assert np.array_equal(out, sound[:there])
    assert difference_db(made[5000:], sound[there + 5000 : back]) > -10, "resynth is another sound"
    assert np.array_equal(after[15000:], sound[back + 15000 :]), "and at rest the input again, bit for bit"
    whole = np.concatenate([out, made, after])[:, 0]
    bend = np.abs(np.diff(whole, 2))
    seams = np.concatenate([bend[at : at + 2000] for at in (there, back)])
    assert seams.max() <= 1.5 * max(bend[5000:there].max(), bend[there + 5000 : back - 10].max())


def test_resynth_from_the_start_is_late_from_the_first_sample(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, {"resynth": 1.0, "mix": 0.0})
    late = session.latency_samples
    out = play(session, sound[:5000], [HOP])
    assert not out[:late].any()
    assert np.allclose(out[late:], sound[: 5000 - late], atol=1e-7)


@pytest.mark.parametrize("sizes", [1, 77, 256, 2000])
def test_the_ways_out_do_not_depend_on_the_blocks(bundle: Bundle, sound: np.ndarray, sizes: int) -> None:
    knobs = EDIT | {"resynth": 0.5, "mix": 0.7}
    short = sound[: 3000 if sizes == 1 else 12000]
    other, whole = (play(session_of(bundle, knobs), short, [size]) for size in (sizes, 512))
    assert np.abs(other - whole).max() < 1e-5


def test_keys_sound_in_silence_at_their_velocity_and_stop(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, {"resynth": 1.0, "keys": 1, "preset": 1})
    silence = np.zeros((22050, 1), np.float32)
    play(session, sound[:20000], [HOP])
    quiet = play(session, silence, [HOP])
    levels = []
    for velocity in (1.0, 0.5):
        session.knobs.set("note", 60)
        session.knobs.set("note_velocity", velocity)
        levels.append(float(np.std(play(session, silence, [HOP])[11025:])))
        session.knobs.set("note", -1)
        tail = play(session, silence, [HOP])
    assert np.abs(quiet[8000:]).max() < 1e-4
    assert levels[0] == pytest.approx(0.1, rel=0.5), "−20 dBFS"
    assert levels[1] / levels[0] == pytest.approx(0.5, rel=0.2)
    assert np.abs(tail[8000:]).max() < 1e-4
