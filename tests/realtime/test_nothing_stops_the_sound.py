"""Whatever comes in and however slow or broken the model is, finite sound comes out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.dsp import deadline
from realtime.dsp.limiter import CEILING
from realtime.session import SessionOptions
from tests.support.bundles import make_bundle
from tests.support.sessions import EDIT, HOP, cello_and_clarinet, difference_db, play, session_of
from tests.support.tricky_model import plug_in


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("sound") / "small.bundle"))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return cello_and_clarinet()


def square(frames: int) -> np.ndarray:
    return np.where(np.arange(frames) // 50 % 2, 1.0, -1.0).astype(np.float32)[:, None]


@pytest.mark.parametrize("resynth", [0.0, 1.0])
def test_whatever_comes_in_what_goes_out_is_finite_and_below_full_scale(
    bundle: Bundle, sound: np.ndarray, resynth: float
) -> None:
    """Square waves at full scale, far too loud ones, NaN, infinities, numbers too small to be normal, silence; and then
    the sound again.
    """
    small = np.full((4000, 1), 1e-41, np.float32)
    nothing = np.zeros((4000, 1), np.float32)
    broken = sound[:8000].copy()
    broken[::7], broken[3::31] = np.nan, np.inf
    part = sound[10000:20000]
    whole = np.concatenate([part, square(8000), 1e20 * square(2000), broken, small, nothing, part]).astype(np.float32)
    knobs = EDIT | {"gain_db": 12.0, "resynth": resynth}
    session = session_of(bundle, knobs, options=SessionOptions(provider="cpu", limit=True))
    out = play(session, whole, [333])
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= CEILING
    assert session.meters["limited"] > 1000
    assert session.meters["repaired"] == np.count_nonzero(~np.isfinite(whole))
    assert np.isfinite([session.meters[name] for name in ("peak_in", "peak_out", "rms_in", "rms_out")]).all()
    assert np.std(out[-5000:]) > 0.01, "and the sound is there again"


def test_at_rest_a_sound_passes_bit_for_bit_down_to_what_counts_as_silence(bundle: Bundle) -> None:
    """-600 dBFS; numbers near the smallest ones would take the processor a hundred times longer."""
    for level, passes in ((0.5, True), (1e-29, True), (1e-31, False), (1e-42, False)):
        sound = np.float32(level) * square(4000)
        assert np.array_equal(play(session_of(bundle, {}), sound), sound if passes else np.zeros_like(sound))


def test_a_decoder_that_answers_nonsense_fades_to_dry_in_resynth_too(tmp_path: Path, sound: np.ndarray) -> None:
    failing = load_bundle(make_bundle(tmp_path / "failing.bundle", failing=True))
    session = session_of(failing, {"resynth": 1.0})
    before = play(session, sound[:20000], [HOP])
    session.knobs.set("timbre[0]", 3.0)
    dry = play(session, sound[20000:40000], [HOP])
    assert session.meters["failed_hops"] > 50
    assert np.array_equal(dry[6000:], sound[26000:40000])
    session.knobs.set("timbre[0]", 0.0)
    after = play(session, sound[40000:], [HOP])
    assert difference_db(before[5000:], sound[5000:20000]) > -10
    assert difference_db(after[8000:], sound[48000:]) > -10
    assert max(np.abs(np.diff(part, axis=0)).max() for part in (dry, after)) < 0.9, "no click where they meet"


def test_a_model_that_is_late_is_left_out_and_tried_again(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, asked = plug_in(monkeypatch), []
    session = session_of(bundle, EDIT, options=SessionOptions(provider="cpu", live=True))
    play(session, sound[:5000], [HOP])

    def slowly() -> None:
        asked.append(True)
        time.sleep(0.1)

    hook.before = slowly
    out = play(session, sound[5000:25000], [HOP])
    assert len(asked) < 10, "it is not asked at every hop"
    assert session.meters["late_hops"] >= len(asked)
    assert session.meters["bypassed_hops"] > 200
    assert np.array_equal(out[2000:8000], sound[7000:13000]), "meanwhile the sound is dry"
    hook.before = None
    for _ in range(60):  # more than a few only where other programs hold this one up
        again = play(session, sound, [HOP])
        assert np.isfinite(again).all()
        if difference_db(again[-20000:], sound[-20000:]) > -20:
            return
    pytest.fail("the model is not asked again")


def test_offline_the_clock_does_not_count(bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = play(session_of(bundle, EDIT), sound[:2000], [HOP])
    hook = plug_in(monkeypatch)
    session = session_of(bundle, EDIT)
    hook.before = lambda: time.sleep(0.01)
    assert np.array_equal(play(session, sound[:2000], [HOP]), wanted)
    assert session.meters["bypassed_hops"] == 0


def test_in_a_hurry_rebuilt_phases_get_fewer_rounds_and_that_is_counted(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = {"resynth": 1.0, "phase": 0.0}
    wanted = play(session_of(bundle, knobs), sound, [HOP])
    monkeypatch.setattr(deadline, "BLOCK_SHARE", 1e6)
    leisurely = session_of(bundle, knobs, options=SessionOptions(provider="cpu", hurry=True))
    assert np.array_equal(play(leisurely, sound, [HOP]), wanted)
    assert leisurely.meters["shortened_steps"] == 0
    monkeypatch.setattr(deadline, "BLOCK_SHARE", -1.0)
    hurried = session_of(bundle, knobs, options=SessionOptions(provider="cpu", hurry=True))
    out = play(hurried, sound, [HOP])
    assert hurried.meters["shortened_steps"] > 0.9 * len(sound) / HOP
    assert 0.8 < np.sqrt(np.mean(out**2)) / np.sqrt(np.mean(wanted**2)) < 1.25
