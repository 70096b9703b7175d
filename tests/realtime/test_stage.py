"""What a stage adds: nothing stops the sound, a slow model is left out, a session goes on where another died, two ways
out.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.dsp import deadline
from realtime.dsp.limiter import CEILING
from realtime.hop.published import new_published
from realtime.knobs.bank import KnobBank
from realtime.outputs.base import Answer
from realtime.outputs.morph import MorphPart
from realtime.session import Session
from tests.support.bundles import BundleSize, make_bundle
from tests.support.miniatures import CELLO, CLARINET, notes

EDIT = {"timbre[0]": 2.0, "timbre[2]": -2.5, "preset": 1, "preset_amount": 0.5}
HOP = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("stage") / "small.bundle"))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """(samples, 1): a cello and a clarinet, 1.6 s."""
    return 0.5 * np.concatenate([*notes(CELLO, (50,)), *notes(CLARINET, (65,))]).astype(np.float32)[:, None]


def bank_of(bundle: Bundle, knobs: dict[str, float]) -> KnobBank:
    bank = KnobBank(bundle.manifest)
    for name, value in knobs.items():
        bank.set(name, value)
    return bank


def session_of(bundle: Bundle, knobs: dict[str, float], **options: object) -> Session:
    return Session(bundle, bank_of(bundle, knobs), channels=1, sample_rate=44100, provider="cpu", **options)  # type: ignore[arg-type]


def play(session: Session, sound: np.ndarray, size: int = HOP) -> np.ndarray:
    out = np.empty_like(sound)
    for start in range(0, len(sound), size):
        session.process_block(sound[start : start + size], out[start : start + size])
    return out


def difference_db(a: np.ndarray, b: np.ndarray) -> float:
    return 20 * np.log10(np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(b**2)) + 1e-20)


# Nothing stops the sound
# ------------------------------------------------------------------------------------------------


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
    session = session_of(bundle, EDIT | {"gain_db": 12.0, "resynth": resynth}, limit=True)
    out = play(session, whole, 333)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= CEILING
    assert session.meters["limited"] > 1000
    assert session.meters["repaired"] == np.count_nonzero(~np.isfinite(whole))
    assert np.isfinite([session.meters[name] for name in ("peak_in", "peak_out", "rms_in", "rms_out")]).all()
    assert np.std(out[-5000:]) > 0.01, "and the sound is there again"


def test_a_decoder_that_answers_nonsense_fades_to_dry_in_resynth_too(tmp_path: Path, sound: np.ndarray) -> None:
    failing = load_bundle(make_bundle(tmp_path / "failing.bundle", failing=True))
    session = session_of(failing, {"resynth": 1.0})
    before = play(session, sound[:20000])
    session.knobs.set("timbre[0]", 3.0)
    dry = play(session, sound[20000:40000])
    assert session.meters["failed_hops"] > 50
    assert np.array_equal(dry[6000:], sound[26000:40000])
    session.knobs.set("timbre[0]", 0.0)
    after = play(session, sound[40000:])
    assert difference_db(before[5000:], sound[5000:20000]) > -10
    assert difference_db(after[8000:], sound[48000:]) > -10
    assert max(np.abs(np.diff(part, axis=0)).max() for part in (dry, after)) < 0.9, "no click where they meet"


def test_a_model_that_is_late_is_left_out_and_tried_again(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(bundle, EDIT, live=True)
    decode, asked = session._step.model.decode, []
    play(session, sound[:5000])

    def slowly() -> None:
        asked.append(True)
        time.sleep(0.1)
        decode()

    monkeypatch.setattr(session._step.model, "decode", slowly)
    out = play(session, sound[5000:25000])
    assert len(asked) < 10, "it is not asked at every hop"
    assert session.meters["late_hops"] >= len(asked)
    assert session.meters["bypassed_hops"] > 200
    assert np.array_equal(out[2000:8000], sound[7000:13000]), "meanwhile the sound is dry"
    monkeypatch.setattr(session._step.model, "decode", decode)
    again = [play(session, sound) for _ in range(6)]
    assert max(difference_db(out[-20000:], sound[-20000:]) for out in again) > -20
    assert np.isfinite(again).all()


def test_offline_the_clock_does_not_count(bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = play(session_of(bundle, EDIT), sound[:2000])
    session = session_of(bundle, EDIT)
    decode = session._step.model.decode

    def slowly() -> None:
        time.sleep(0.01)
        decode()

    monkeypatch.setattr(session._step.model, "decode", slowly)
    assert np.array_equal(play(session, sound[:2000]), wanted)
    assert session.meters["bypassed_hops"] == 0


def test_in_a_hurry_rebuilt_phases_get_fewer_rounds_and_that_is_counted(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = {"resynth": 1.0, "phase": 0.0}
    wanted = play(session_of(bundle, knobs), sound)
    monkeypatch.setattr(deadline, "BLOCK_SHARE", 1e6)
    leisurely = session_of(bundle, knobs, hurry=True)
    assert np.array_equal(play(leisurely, sound), wanted)
    assert leisurely.meters["shortened_steps"] == 0
    monkeypatch.setattr(deadline, "BLOCK_SHARE", -1.0)
    hurried = session_of(bundle, knobs, hurry=True)
    out = play(hurried, sound)
    assert hurried.meters["shortened_steps"] > 0.9 * len(sound) / HOP
    assert 0.8 < np.sqrt(np.mean(out**2)) / np.sqrt(np.mean(wanted**2)) < 1.25


# Beside the audio thread
# ------------------------------------------------------------------------------------------------


def responses(session: Session, sound: np.ndarray) -> list[np.ndarray | None]:
    """The filter of every hop, in turn."""
    found: list[np.ndarray | None] = []
    apply = session._mixer.change

    def note(answer: Answer) -> None:
        morph = answer.parts[0]
        assert isinstance(morph, MorphPart)
        found.append(morph.response.copy() if morph.filtered else None)
        apply(answer)

    session._mixer.change = note  # type: ignore[method-assign]
    for start in range(0, len(sound) // HOP * HOP, HOP):
        block = sound[start : start + HOP].copy()
        session.process_block(block, block)
        if session._worker is not None:
            session._worker.settle()
    return found


def test_the_worker_gives_the_same_filters_a_hop_later(bundle: Bundle, sound: np.ndarray) -> None:
    plain, beside = session_of(bundle, EDIT), session_of(bundle, EDIT, worker=True)
    wanted, found = responses(plain, sound[:12000]), responses(beside, sound[:12000])
    beside.close()
    assert len(found) == len(wanted) - 1 > 100
    for a, b in zip(wanted, found, strict=False):
        assert a is not None
        assert b is not None
        assert np.array_equal(a, b)


def test_a_worker_that_is_stuck_never_holds_the_sound_up(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model does not answer at all until it is let go; every block comes all the same, dry after a few hops, no
    louder than asked for.
    """
    session = session_of(bundle, EDIT | {"gain_db": -20.0}, worker=True, live=True)
    decode, go_on = session._step.model.decode, threading.Event()

    def stuck() -> None:
        go_on.wait()
        decode()

    monkeypatch.setattr(session._step.model, "decode", stuck)
    out = play(session, sound[:20000])
    assert np.allclose(out[1000:], 0.1 * sound[1000:20000], atol=1e-7)
    assert session.meters["bypassed_hops"] > 200
    go_on.set()
    assert session._worker is not None
    session._worker.settle()
    for start in range(20000, 40000, HOP):
        block = sound[start : start + HOP].copy()
        session.process_block(block, block)
        session._worker.settle()
        out[start - 20000 : start - 20000 + HOP] = block[: len(out[start - 20000 : start - 20000 + HOP])]
    session.close()
    assert difference_db(10 * out[10000:19000], sound[30000:39000]) > -20


def test_a_closed_session_leaves_no_thread(bundle: Bundle) -> None:
    before = threading.active_count()
    session = session_of(bundle, {}, worker=True)
    assert threading.active_count() == before + 1
    session.close()
    assert threading.active_count() == before


# Going on after a death
# -------------------------------------------------------------------------------------------------


def test_another_session_goes_on_with_timbre_level_and_what_was_held(bundle: Bundle, sound: np.ndarray) -> None:
    """As if the process died in the middle: the next one knows everything but the last window of sound."""
    half = len(sound) // 2 // (8 * HOP) * 8 * HOP + HOP  # right after the state was written down
    published = new_published(bundle.manifest)
    bank = bank_of(bundle, {"timbre_hold": 1, "preset": 2, "preset_amount": 0.3})
    first = Session(bundle, bank, channels=1, sample_rate=44100, provider="cpu", published=published)
    play(first, sound[:half])
    through = play(first, sound[half:])
    again = new_published(bundle.manifest)
    second_bank = bank_of(bundle, {"timbre_hold": 1, "preset": 2, "preset_amount": 0.3})
    other = Session(bundle, second_bank, channels=1, sample_rate=44100, provider="cpu", published=again)
    play(other, sound[:half])
    resumed = Session(bundle, second_bank, channels=1, sample_rate=44100, provider="cpu", published=again, resume=True)
    assert resumed.resumed
    out = play(resumed, sound[half:])
    window = 2000
    assert difference_db(out[window:], through[window:]) < -35
    forgetful = Session(bundle, second_bank, channels=1, sample_rate=44100, provider="cpu")
    assert (
        difference_db(play(forgetful, sound[half:])[window:], through[window:])
        > difference_db(out[window:], through[window:]) + 15
    )


def test_nothing_or_nonsense_to_go_on_with_is_a_fresh_start(bundle: Bundle, sound: np.ndarray) -> None:
    wanted = play(session_of(bundle, EDIT), sound[:8000])
    published = new_published(bundle.manifest)
    session = session_of(bundle, EDIT, published=published, resume=True)
    assert not session.resumed
    published["memory"][:], published["bank"] = np.nan, 1
    session = session_of(bundle, EDIT, published=published, resume=True)
    assert not session.resumed
    assert np.array_equal(play(session, sound[:8000]), wanted)


def test_what_is_heard_is_published(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, EDIT)
    play(session, sound[:30000])
    assert np.array_equal(session.published["timbre"], session._step.model.latents["timbre"][0])
    assert session.published["midi_note"] == session._step._pitch.midi_note
    assert 27 <= session.published["midi_note"] <= 108


# Two ways out
# -----------------------------------------------------------------------------------------------------------


def test_the_latency_told_is_that_of_the_way_out(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, {}, latency_ms=6.0)
    play(session, sound[:1000])
    assert (session.latency_samples, int(session.meters["latency_samples"]), session.latency_of("morph")) == (0, 0, 0)
    session.knobs.set("resynth", 0.3)
    play(session, sound[:1000])
    late = session.latency_of("resynth")
    assert 0 < late <= 0.006 * 44100
    assert (session.latency_samples, int(session.meters["latency_samples"])) == (late, late)


def test_fading_between_the_ways_neither_clicks_nor_leaves_a_trace(tmp_path: Path, sound: np.ndarray) -> None:
    stage = load_bundle(make_bundle(tmp_path / "stage.bundle", size=BundleSize(window_samples=1024, hop_samples=256)))
    there, back = 20000, 40000
    session = session_of(stage, {})
    out = np.concatenate([play(session, sound[:there], 256), np.empty((0, 1), np.float32)])
    session.knobs.set("resynth", 1.0)
    made = play(session, sound[there:back], 256)
    session.knobs.set("resynth", 0.0)
    after = play(session, sound[back:], 256)
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
    out = play(session, sound[:5000])
    assert not out[:late].any()
    assert np.allclose(out[late:], sound[: 5000 - late], atol=1e-7)


@pytest.mark.parametrize("sizes", [1, 77, 256, 2000])
def test_the_ways_out_do_not_depend_on_the_blocks(bundle: Bundle, sound: np.ndarray, sizes: int) -> None:
    knobs = EDIT | {"resynth": 0.5, "mix": 0.7}
    short = sound[: 3000 if sizes == 1 else 12000]
    assert (
        np.abs(play(session_of(bundle, knobs), short, sizes) - play(session_of(bundle, knobs), short, 512)).max() < 1e-5
    )


def test_keys_sound_in_silence_at_their_velocity_and_stop(bundle: Bundle, sound: np.ndarray) -> None:
    session = session_of(bundle, {"resynth": 1.0, "keys": 1, "preset": 1})
    silence = np.zeros((22050, 1), np.float32)
    play(session, sound[:20000])
    quiet = play(session, silence)
    levels = []
    for velocity in (1.0, 0.5):
        session.knobs.set("note", 60)
        session.knobs.set("note_velocity", velocity)
        levels.append(float(np.std(play(session, silence)[11025:])))
        session.knobs.set("note", -1)
        tail = play(session, silence)
    assert np.abs(quiet[8000:]).max() < 1e-4
    assert levels[0] == pytest.approx(0.1, rel=0.5), "−20 dBFS"
    assert levels[1] / levels[0] == pytest.approx(0.5, rel=0.2)
    assert np.abs(tail[8000:]).max() < 1e-4
