"""What a musician relies on: no change at rest or by block size, no delay, no clicks, and no harm from bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session
from tests.support.bundles import BundleSize, make_bundle
from tests.support.sessions import EDIT, at_rate, difference_db, play, session_of, stereo_phrase, turn
from tests.support.tricky_model import plug_in

RATES = [22050, 44100, 48000, 96000]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("session") / "small.bundle"))


@pytest.fixture(scope="module")
def stage_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Frames as on the stage: 2048 and 256 samples."""
    return load_bundle(
        make_bundle(
            tmp_path_factory.mktemp("session") / "stage.bundle", size=BundleSize(window_samples=2048, hop_samples=256)
        )
    )


@pytest.fixture(scope="module")
def failing_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("session") / "failing.bundle", failing=True))


@pytest.fixture(scope="module")
def phrase(tiny_data: Path) -> np.ndarray:
    return stereo_phrase(tiny_data)


def make_session(
    bundle: Bundle, sound: np.ndarray, knobs: dict[str, float] | None = None, rate: int = 44100
) -> Session:
    return session_of(bundle, knobs or {}, channels=sound.shape[1], rate=rate)


# At rest
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_at_rest_the_output_is_the_input_bit_for_bit(
    bundle: Bundle, phrase: np.ndarray, rate: int, channels: int
) -> None:
    sound = at_rate(phrase, rate, channels)
    session = make_session(bundle, sound, rate=rate)
    assert np.array_equal(play(session, sound, [333, 64, 2000]), sound)
    assert session.meters["hops"] > 0.9 * len(sound) / rate / bundle.manifest.features.hop_seconds - 20
    assert session.meters["failed_hops"] == 0


def test_letting_go_of_the_knobs_ends_at_the_input_bit_for_bit(stage_bundle: Bundle, phrase: np.ndarray) -> None:
    session = make_session(stage_bundle, phrase, EDIT)
    let_go, settled = 15000, 15000 + 44100 // 2
    out = play(session, phrase, [256], {let_go: turn(session, dict.fromkeys(EDIT, 0.0))})
    assert difference_db(out[5000:let_go], phrase[5000:let_go]) > -20
    assert np.array_equal(out[settled:], phrase[settled:])


def test_dry_mix_is_exact_and_half_mix_is_half(stage_bundle: Bundle, phrase: np.ndarray) -> None:
    assert np.array_equal(play(make_session(stage_bundle, phrase, EDIT | {"mix": 0.0}), phrase), phrase)
    wet = play(make_session(stage_bundle, phrase, EDIT), phrase)
    half = play(make_session(stage_bundle, phrase, EDIT | {"mix": 0.5}), phrase)
    assert np.abs(half - (wet + phrase) / 2).max() < 1e-6


def test_gain_alone_is_a_plain_factor(bundle: Bundle, phrase: np.ndarray) -> None:
    session = make_session(bundle, phrase, {"gain_db": -6.0})
    out = play(session, phrase)
    assert np.abs(out[200:] - phrase[200:] * 10 ** (-6 / 20)).max() < 1e-7


# Block sizes and time
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_block_sizes_change_nothing(bundle: Bundle, phrase: np.ndarray, rate: int) -> None:
    sound = at_rate(phrase, rate, 2)[: rate // 2]
    random = np.random.default_rng(0)
    odd = [int(size) for size in random.choice([1, 2, 3, 17, 64, 65, 255, 256, 511, 1024, 2049, 8192], 40)]
    outs = []
    for sizes in ([len(sound)], odd, [64], [8192]):
        session = make_session(bundle, sound, rate=rate)
        outs.append(
            play(
                session,
                sound,
                sizes,
                {rate // 5: turn(session, EDIT), rate // 3: turn(session, {"gain_db": -9.0, "preset": 2})},
            )
        )
        assert session.meters["frames"] == len(sound)
    assert difference_db(outs[0], sound) > -20
    for out in outs[1:]:
        assert np.abs(out - outs[0]).max() < 1e-6


def test_one_sample_at_a_time(stage_bundle: Bundle, phrase: np.ndarray) -> None:
    sound = phrase[3000:9000]
    whole, single = (play(make_session(stage_bundle, sound, EDIT), sound, [size]) for size in (6000, 1))
    assert difference_db(whole, sound) > -20
    assert np.abs(single - whole).max() < 1e-6


@pytest.mark.parametrize("rate", [44100, 48000])
def test_reset_repeats_bit_for_bit(bundle: Bundle, phrase: np.ndarray, rate: int) -> None:
    sound = at_rate(phrase, rate, 1)[:20000]
    session = make_session(bundle, sound, EDIT, rate)
    first = play(session, sound, [300])
    assert not np.array_equal(play(session, sound, [300]), first)  # it does remember
    session.reset()
    assert np.array_equal(play(session, sound, [300]), first)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_future_cannot_leak(bundle: Bundle, phrase: np.ndarray, rate: int) -> None:
    sound = at_rate(phrase, rate, 1)[:20000]
    for moment in (7000, 12345):
        other = sound.copy()
        other[moment:] = np.random.default_rng(1).uniform(-1, 1, other[moment:].shape)
        one, two = (play(make_session(bundle, take, EDIT, rate), take, [777]) for take in (sound, other))
        assert np.abs(one[:moment] - two[:moment]).max() < 1e-6
        assert np.abs(one[moment:] - two[moment:]).max() > 0.1


@pytest.mark.parametrize("block", [1, 64, 1000])
@pytest.mark.parametrize("rate", RATES)
def test_reported_latency_is_measured_latency(bundle: Bundle, phrase: np.ndarray, rate: int, block: int) -> None:
    """An impulse after a phrase, in the silence that freezes the filter: the response begins on the very sample."""
    sound = at_rate(phrase, rate, 1)
    quiet = len(sound) + rate // 4
    with_impulse = np.concatenate([sound, np.zeros((rate // 2, 1), np.float32)])
    with_impulse[quiet] = 0.5
    session = make_session(bundle, sound, EDIT, rate)
    play(session, with_impulse[: quiet - 100], [1000])
    answer = play(session, with_impulse[quiet - 100 : quiet + 300], [block])[:, 0]
    session_without = make_session(bundle, sound, EDIT, rate)
    silent = np.concatenate([sound, np.zeros((rate // 2, 1), np.float32)])
    play(session_without, silent[: quiet - 100], [1000])
    answer = answer - play(session_without, silent[quiet - 100 : quiet + 300], [block])[:, 0]
    assert np.abs(answer[:100]).max() < 1e-7
    assert session.latency_samples == 0
    assert abs(answer[100]) > 0.02
    assert np.abs(answer).argmax() - 100 <= 3 * rate / 22050  # minimum phase: the peak comes with the first samples


# Knobs
# ------------------------------------------------------------------------------------------------------------------


def test_every_channel_gets_the_same_filter(stage_bundle: Bundle, phrase: np.ndarray) -> None:
    session = make_session(stage_bundle, phrase, EDIT)
    out = play(session, phrase)
    mixed = phrase.mean(axis=1, keepdims=True)
    alone = play(make_session(stage_bundle, mixed, EDIT), mixed)
    assert np.abs(out.mean(axis=1) - alone[:, 0]).max() < 1e-6


@pytest.mark.parametrize("change", [{"timbre[0]": 3.0}, {"preset": 2}, {"gain_db": -30.0}, {"mix": 0.0}])
def test_a_jumping_knob_does_not_click(stage_bundle: Bundle, phrase: np.ndarray, change: dict[str, float]) -> None:
    """Within the sustained cello note no step between samples exceeds the note's own, before or after the jump."""
    sound = phrase[3000:25050, :1]
    session = make_session(stage_bundle, sound, {"timbre[2]": -2.5})
    jump = 11000
    steps = np.abs(np.diff(play(session, sound, [256], {jump: turn(session, change)})[:, 0]))
    there = make_session(stage_bundle, sound, {"timbre[2]": -2.5} | change)
    after = np.abs(np.diff(play(there, sound, [256])[:, 0]))
    largest = max(steps[jump - 4000 : jump].max(), after[jump : jump + 4000].max())
    assert steps[jump : jump + 4000].max() < 1.5 * largest


@pytest.mark.parametrize(
    ("channel", "start"), [(0, 3000), (0, 28050), (1, 3000), (1, 28050)], ids=["cello", "trumpet", "flute", "piano"]
)
def test_an_edit_changes_timbre_not_loudness(
    stage_bundle: Bundle, phrase: np.ndarray, channel: int, start: int
) -> None:
    sound = np.ascontiguousarray(phrase[start : start + 22050, channel : channel + 1])
    for knobs in ({"timbre[0]": -3.0}, EDIT, {"preset": 2.0}):
        out = play(make_session(stage_bundle, sound, knobs), sound)
        assert difference_db(out, sound) > -15
        assert abs(20 * np.log10(out[8000:].std() / sound[8000:].std())) < 3.0


def test_noise_below_the_threshold_is_not_blown_up(stage_bundle: Bundle, phrase: np.ndarray) -> None:
    """After a note the hiss of the room passes the frozen filter, and no more."""
    hiss = 1e-5 * np.random.default_rng(0).standard_normal((44100, 1)).astype(np.float32)
    sound = np.concatenate([phrase[3000:25000, :1], hiss])
    session = make_session(stage_bundle, sound, EDIT)
    out = play(session, sound)
    assert session.meters["silent_hops"] > 150
    gain = out[-20000:].std() / hiss[-20000:].std()
    assert gain < 10 ** (42 / 20)  # the filter's own limit and the level keeper's; a normalising frame would give 80 dB
    later = out[-40000:-20000].std() / hiss[-40000:-20000].std()
    assert later == pytest.approx(gain, rel=0.3)


# Bad input
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("edit", [{}, EDIT])
def test_bad_samples_do_no_lasting_harm(bundle: Bundle, phrase: np.ndarray, bad: float, edit: dict[str, float]) -> None:
    broken, clean = phrase.copy(), phrase.copy()
    broken[8000:8100] = bad
    clean[8000:8100] = 0
    session = make_session(bundle, broken, edit)
    out = play(session, broken, [256])
    assert np.isfinite(out).all()
    assert np.isfinite([session.meters["peak_in"], session.meters["peak_out"]]).all()
    if not np.isfinite(bad):
        assert np.abs(out - play(make_session(bundle, clean, edit), clean, [256])).max() < 1e-6
    if not edit:
        assert np.array_equal(out[8100:], phrase[8100:])


def test_a_failing_model_fades_to_dry_and_recovers(failing_bundle: Bundle, phrase: np.ndarray) -> None:
    """This decoder answers NaN when z^t[0] is turned too far."""
    session = make_session(failing_bundle, phrase, {"timbre[2]": 2.0})
    hop = failing_bundle.manifest.features.hop_samples
    too_far, back = 10000, 20000
    out = play(
        session, phrase, [256], {too_far: turn(session, {"timbre[0]": 3.0}), back: turn(session, {"timbre[0]": 0.0})}
    )
    failed = int(session.meters["failed_hops"])
    assert 20 <= failed <= (back - too_far) / hop + 30
    assert np.isfinite(out).all()
    assert difference_db(out[5000:too_far], phrase[5000:too_far]) > -20
    assert np.array_equal(out[too_far + 4000 : back], phrase[too_far + 4000 : back])
    assert difference_db(out[back + 4000 :], phrase[back + 4000 :]) > -20


def test_a_model_that_throws_is_survived(bundle: Bundle, phrase: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = plug_in(monkeypatch)
    session = make_session(bundle, phrase, EDIT)

    def throw() -> None:
        raise RuntimeError("the device was lost")

    hook.before = throw
    assert np.array_equal(play(session, phrase), phrase)
    assert session.meters["failed_hops"] == session.meters["hops"] > 100


def test_blocks_of_no_samples_and_in_place(bundle: Bundle, phrase: np.ndarray) -> None:
    wanted = play(make_session(bundle, phrase, EDIT), phrase, [300])
    session, block = make_session(bundle, phrase, EDIT), phrase.copy()
    session.process_block(block[:0], block[:0])
    for start in range(0, len(block), 300):
        session.process_block(block[start : start + 300], block[start : start + 300])
    assert np.array_equal(block, wanted)


def test_meters_and_summary_tell_what_happened(bundle: Bundle, phrase: np.ndarray) -> None:
    sound = phrase * np.float32(1.9)
    session = make_session(bundle, sound, {"gain_db": 6.0})
    out = play(session, sound, [512])
    summary = session.summary("small.bundle")
    features = bundle.manifest.features
    assert summary.hops == len(sound) // features.hop_samples
    assert summary.audio_seconds == pytest.approx(len(sound) / 44100)
    assert summary.clipped_samples == np.count_nonzero(np.abs(out) > 1) > 0
    assert 3000 // features.hop_samples - 2 <= summary.silent_hops < summary.hops
    assert (summary.failed_hops, summary.latency_samples, summary.latency_ms, summary.provider) == (0, 0, 0.0, "cpu")
    assert summary.real_time_factor > 0
    assert summary.hop_ms_max is not None
    last = slice(len(sound) // 512 * 512, None)
    assert session.meters["peak_in"] == np.abs(sound[last]).max()
    assert session.meters["peak_out"] == np.abs(out[last]).max()


def test_knobs_of_another_bundle_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = load_bundle(make_bundle(tmp_path / "other.bundle", size=BundleSize(timbre=7)))
    with pytest.raises(ValueError, match="make them from its manifest"):
        Session(bundle, KnobBank(other.manifest), channels=1, sample_rate=44100)
    with pytest.raises(ValueError, match="0 channels at 44100 Hz"):
        Session(bundle, KnobBank(bundle.manifest), channels=0, sample_rate=44100)
