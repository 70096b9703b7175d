"""A session goes on where another died, and what it heard is published."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.dsp.pitch import PitchTracker
from realtime.dsp.spectrum import FrameAnalyser
from realtime.hop.published import new_published
from realtime.session import Session, SessionOptions
from tests.support.bundles import make_bundle
from tests.support.sessions import EDIT, HOP, bank_of, cello_and_clarinet, difference_db, play, session_of
from tests.support.tricky_model import plug_in


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("memory") / "small.bundle"))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return cello_and_clarinet()


def test_another_session_goes_on_with_timbre_level_and_what_was_held(bundle: Bundle, sound: np.ndarray) -> None:
    """As if the process died in the middle: the next one knows everything but the last window of sound."""
    half = len(sound) // 2 // (8 * HOP) * 8 * HOP + HOP  # right after the state was written down
    published = new_published(bundle.manifest)
    bank = bank_of(bundle, {"timbre_hold": 1, "preset": 2, "preset_amount": 0.3})
    first = Session(
        bundle, bank, channels=1, sample_rate=44100, published=published, options=SessionOptions(provider="cpu")
    )
    play(first, sound[:half], [HOP])
    through = play(first, sound[half:], [HOP])
    again = new_published(bundle.manifest)
    second_bank = bank_of(bundle, {"timbre_hold": 1, "preset": 2, "preset_amount": 0.3})
    other = Session(
        bundle, second_bank, channels=1, sample_rate=44100, published=again, options=SessionOptions(provider="cpu")
    )
    play(other, sound[:half], [HOP])
    resumed = Session(
        bundle,
        second_bank,
        channels=1,
        sample_rate=44100,
        published=again,
        options=SessionOptions(provider="cpu", resume=True),
    )
    assert resumed.resumed
    out = play(resumed, sound[half:], [HOP])
    window = 2000
    assert difference_db(out[window:], through[window:]) < -35
    forgetful = Session(bundle, second_bank, channels=1, sample_rate=44100, options=SessionOptions(provider="cpu"))
    assert (
        difference_db(play(forgetful, sound[half:], [HOP])[window:], through[window:])
        > difference_db(out[window:], through[window:]) + 15
    )


def test_nothing_or_nonsense_to_go_on_with_is_a_fresh_start(bundle: Bundle, sound: np.ndarray) -> None:
    wanted = play(session_of(bundle, EDIT), sound[:8000], [HOP])
    published = new_published(bundle.manifest)
    session = session_of(bundle, EDIT, published=published, options=SessionOptions(provider="cpu", resume=True))
    assert not session.resumed
    published["memory"][:], published["bank"] = np.nan, 1
    session = session_of(bundle, EDIT, published=published, options=SessionOptions(provider="cpu", resume=True))
    assert not session.resumed
    assert np.array_equal(play(session, sound[:8000], [HOP]), wanted)


def test_what_is_heard_is_published(bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    hook, features = plug_in(monkeypatch), bundle.manifest.features
    session = session_of(bundle, EDIT)
    play(session, sound[:30000], [HOP])
    assert np.array_equal(session.published["timbre"], hook.models[-1].latents["timbre"][0])
    frame, pitch = FrameAnalyser(features), PitchTracker(features)
    for hop in sound[: 30000 // HOP * HOP].astype(np.float64).reshape(-1, 1, HOP):
        frame.push(hop)
        if frame.sounding:
            pitch.update(frame.amplitude)
    assert session.published["midi_note"] == pitch.midi_note
    assert 27 <= session.published["midi_note"] <= 108
