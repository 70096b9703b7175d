"""The one-file runtime plays what the session plays, at rest nothing but the sound, and a host needs nothing else."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.errors import ExportError
from export.fused.file import TOLERANCE, metadata_of, play_fused, play_session, proof_knobs, verify_fused, write_fused
from export.graphs.mixture import NewestDecoder
from tests.support.fused import (
    Written,
    in_hops,
    knobs_of,
    late_bundle,
    live_bundle,
    metric_bundle,
    mixture_bundle,
    resting,
    small,
    trapped,
)
from tests.support.miniatures import CLARINET, PIANO, notes, scale
from tests.support.mixture_models import SMALL, model_of
from training.features import FeatureConfig

HOST = Path(__file__).parents[2] / "benchmarks/host_fused.py"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return live_bundle(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return metric_bundle(tmp_path_factory.mktemp("metric"))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return mixture_bundle(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return late_bundle(tmp_path_factory.mktemp("late"))


@pytest.fixture(scope="module")
def phrase() -> np.ndarray:
    """Real notes with gaps of true silence between them, 4 s."""
    return scale([*notes(CLARINET, (62, 67)), *notes(PIANO, (55,))]).astype(np.float32)


# As the session
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["live", "metric", "mixture", "late"])
def test_plays_what_the_session_plays(
    name: str, phrase: np.ndarray, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes, silences, presets, gestures and returns to rest, of the shipped model ten seconds and more; and the
    gestures are heard.
    """
    written = request.getfixturevalue(name)
    if name != "live":
        monkeypatch.setattr("export.fused.file.LEAST_SECONDS", 4.0)
    assert verify_fused(written.bundle.path, written.bundle.manifest, phrase)["fused audio"] <= TOLERANCE
    sound = in_hops(written, phrase)[: 44100 // written.step.hop]
    heard, _ = play_fused(written.file, sound, proof_knobs(written.bundle.manifest, len(sound)))
    rest, _ = play_fused(written.file, sound, resting(written, len(sound)))
    assert np.abs(heard - rest).max() > 0.02, "the proof must turn knobs that do something"


def test_another_model_is_refused(
    mixture: Written, phrase: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.fused.file.LEAST_SECONDS", 2.0)
    other = NewestDecoder(model_of(SMALL)).eval()
    with torch.no_grad():
        other.get_parameter("layers.3.weight").mul_(1.02)
    write_fused(tmp_path, mixture.bundle.manifest, mixture.encoder, other)
    (tmp_path / "streaming").symlink_to(mixture.bundle.path / "streaming")
    with pytest.raises(ExportError, match=r"differs from the runtime by .* \(limit 1e-04\)"):
        verify_fused(tmp_path, mixture.bundle.manifest, phrase[:88200])


def test_a_failed_answer_rests_and_comes_back(metric: Written, phrase: np.ndarray, tmp_path: Path) -> None:
    """Beyond a limit the decoder answers what is not a number; the dry sound is heard, as from the session, and then
    the edit again.
    """
    known = knobs_of(8, 40.0)["axes"][0]["direction"][0]
    written = small(
        tmp_path, FeatureConfig(44100, 512, 256, 1e-2, 50, "running", level="power"), *trapped(abs(known)), reach=40.0
    )
    sound = np.concatenate([in_hops(written, phrase)] * 2)[:900]
    knobs = resting(written, len(sound))
    knobs[100:300, 0] = 0.5 * np.sign(known)
    knobs[300:450, 0] = 2.5 * np.sign(known)
    knobs[450:700, 0] = 0.5 * np.sign(known)
    heard, _ = play_fused(written.file, sound, knobs)
    wanted, _ = play_session(written.bundle, sound, knobs)
    assert np.abs(heard - wanted).max() <= TOLERANCE
    assert np.array_equal(heard[320:450], sound[320:450])
    assert np.abs(heard - sound)[500:700].max() > 0.01


def test_what_is_not_a_number_harms_nothing(mixture: Written, phrase: np.ndarray) -> None:
    """In the sound it counts as silence, in a knob as no change; both as in the session."""
    sound = in_hops(mixture, phrase).copy()
    sound[300:450:7, 3], sound[325, 9], sound[350, :] = np.nan, np.inf, -np.inf
    knobs = resting(mixture, len(sound))
    knobs[150:, 0], knobs[200:350, 0], knobs[250:, 1], knobs[750:, :] = 2.0, np.nan, np.inf, np.nan
    knobs[0, 2] = np.nan
    heard, _ = play_fused(mixture.file, sound, knobs)
    wanted, _ = play_session(mixture.bundle, sound, knobs)
    assert np.isfinite(heard).all()
    assert np.abs(heard - wanted).max() <= TOLERANCE


values = st.floats(-3, 3, width=32) | st.sampled_from([0.0, 0.0, 3.0, -50.0])
# The graph's numbers: what is nothing to it must be nothing to the session.
shares = st.floats(0, 1, width=32, allow_subnormal=False)


@given(
    gestures=st.lists(
        st.tuples(
            st.integers(1, 80),
            values,
            st.integers(0, 2),
            shares,
            shares | st.sampled_from([0.0, 1.0]),
            st.floats(-70, 6),
        ),
        min_size=1,
        max_size=8,
    ),
    start=st.integers(0, 1000),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_hand_on_the_knobs(
    mixture: Written, phrase: np.ndarray, gestures: list[tuple[float, ...]], start: int
) -> None:
    """Whatever is turned and when: as the session."""
    sound = np.roll(in_hops(mixture, phrase), -start, 0)
    rows = [np.tile([value, -value, *rest], (int(length), 1)) for length, value, *rest in gestures]
    knobs = np.concatenate([*rows, resting(mixture, 60)])
    sound = sound[: len(knobs)]
    heard, _ = play_fused(mixture.file, sound, knobs)
    wanted, _ = play_session(mixture.bundle, sound, knobs)
    assert np.abs(heard - wanted).max() <= TOLERANCE


# At rest, and from zeros
# ------------------------------------------------------------------------------------------------


def test_at_rest_the_output_is_the_input(live: Written, phrase: np.ndarray) -> None:
    """Bit for bit, also once an edit's filter and glide are over and the decoder has settled."""
    sound = in_hops(live, phrase)
    knobs = resting(live, len(sound))
    knobs[200:300, 3] = 2.0
    heard, _ = play_fused(live.file, sound, knobs)
    same = (heard == sound).all(1)
    assert same[:201].all()
    assert np.abs(heard - sound)[210:300].max() > 0.01
    assert same[300 + 100 :].all()


def test_zeros_are_a_new_session(live: Written, phrase: np.ndarray) -> None:
    """With the knobs already turned, as a host that restores a preset opens: the session takes them as they stand,
    without gliding.
    """
    sound = in_hops(live, phrase)[60:260]
    knobs = resting(live, len(sound))
    knobs[:, 0], knobs[:, -4], knobs[:, -1] = -2.0, 40.0, -6.0
    heard, _ = play_fused(live.file, sound, knobs)
    wanted, _ = play_session(live.bundle, sound, knobs)
    assert np.abs(heard - wanted).max() <= TOLERANCE
    assert np.abs(heard[2:] - 10 ** (-6 / 20) * sound[2:]).max() > 0.01


def test_a_model_that_answers_late_is_heard_late(late: Written, phrase: np.ndarray) -> None:
    """By whole hops, and at rest by nothing else; the file says by how many samples."""
    sound, hop = in_hops(late, phrase)[:400].ravel(), late.step.hop
    heard, _ = play_fused(late.file, in_hops(late, sound), resting(late, 400))
    assert np.array_equal(heard.ravel()[3 * hop :], sound[: -3 * hop])
    assert not heard.ravel()[: 3 * hop].any()
    assert metadata_of(late.bundle.manifest)["latency_samples"] == str(3 * hop)


# Batches
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["live", "metric", "mixture", "late"])
@torch.no_grad()
def test_four_at_once_are_four_alone(name: str, phrase: np.ndarray, request: pytest.FixtureRequest) -> None:
    """Four sounds with their own knobs through a step that was traced with one."""
    written = request.getfixturevalue(name)
    step, hops = written.step, 45
    zeros = [torch.zeros(shape) for shape in step.state_shapes.values()]
    example = tuple(torch.zeros(shape) for shape in step.input_shapes.values())
    traced: Callable[..., Any] = torch.jit.trace(step, (*example, *zeros), check_trace=False)
    sound = torch.from_numpy(in_hops(written, phrase)[120:])
    sounds = torch.stack([sound[i * 11 : i * 11 + hops] for i in range(4)])
    knobs = torch.from_numpy(np.stack([proof_knobs(written.bundle.manifest, hops, seed) for seed in range(4)])).float()
    sounds[2, 15:40] = 0.0
    together, states = [], [zero.expand(4, *zero.shape[1:]) for zero in zeros]
    for i in range(hops):
        audio, *states = traced(sounds[:, i], knobs[:, i], *states)
        together.append(audio)
    for one in range(4):
        states = zeros
        for i in range(hops):
            audio, *states = step(sounds[one : one + 1, i], knobs[one : one + 1, i], *states)
            assert (audio[0] - together[i][one]).abs().max() < 1e-5


# A host
# -----------------------------------------------------------------------------------------------------------------


def test_a_host_of_forty_lines(live: Written, late: Written, phrase: np.ndarray, tmp_path: Path) -> None:
    """As a user runs it: at rest it copies, a knob is found by its name in the file and heard from its second on, a
    wrong one is refused.
    """
    assert len(HOST.read_text(encoding="utf-8").splitlines()) <= 40
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
        file.writeframes((32767 * phrase[:60000]).round().astype("<i2").tobytes())
    dry, turned = (tmp_path / "in.wav").read_bytes(), 44 + 2 * int(0.7 * 44100)
    for model, knob in ((live, "brightness"), (late, "timbre[0]")):
        assert _host(model, tmp_path).returncode == 0
        assert (tmp_path / "out.wav").read_bytes() == dry
        assert _host(model, tmp_path, f"{knob}=2.5@0.7", "gain_db=-3@0.7").returncode == 0
        wet, early = (tmp_path / "out.wav").read_bytes(), turned - 2 * 256 * (1 + model.bundle.manifest.lookahead_hops)
        assert len(wet) == len(dry)
        assert wet[:early] == dry[:early]
        assert (
            np.abs(np.frombuffer(wet[turned:], "<i2").astype(float) - np.frombuffer(dry[turned:], "<i2")).max() > 1000
        )
    refused = _host(live, tmp_path, "brightnes=2")
    assert refused.returncode != 0
    assert "brightnes=2: write NAME=VALUE" in refused.stderr
    assert "odd_even" in refused.stderr
    for wrong in ("none.onnx", str(live.file.parent), "in.wav"):
        refused = _host(live, tmp_path, model=wrong)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert refused.stderr.startswith(f"{wrong} in.wav out.wav: is not played (")


def _host(written: Written, folder: Path, *turns: str, model: str | None = None) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(HOST), model or str(written.file), "in.wav", "out.wav", *turns]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
