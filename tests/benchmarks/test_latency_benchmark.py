"""The latency and endurance benchmarks on miniatures: known delays are found to the sample, a wrong report is found
out, a leak is a leak.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from benchmarks.latency import inside as latency_inside
from benchmarks.latency.inside import EDITED, INPUT_PHASE, RANDOM, REST
from benchmarks.latency.measure import delays_of, first_departure, impulse_delays, onset_delays, spectral_share
from benchmarks.latency.report import Measured, promises, write
from benchmarks.latency.response import knob_response
from benchmarks.latency.sounds import MarkedSound, bursts, impulses, plucked, steady
from benchmarks.soak import hops as soak_hops
from benchmarks.soak.hops import EndlessResult, endless
from benchmarks.soak.memory import growth, private_kib
from benchmarks.soak.report import no_worse
from benchmarks.soak.report import promises as soak_promises
from realtime.bundle import Bundle, load_bundle
from tests.support.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]
RATE = 44100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("latency") / "small.bundle"))


@pytest.fixture(scope="module")
def clicks() -> MarkedSound:
    return impulses(np.random.default_rng(1), RATE, 4)


def late(sound: np.ndarray, samples: int) -> np.ndarray:
    return np.concatenate([np.zeros(samples, sound.dtype), sound])[: len(sound)]


@pytest.mark.parametrize("delay", [0, 1, 137, 2205])
def test_impulses_through_a_filter_of_minimum_phase_or_a_symmetric_one_are_found_to_the_sample(
    clicks: MarkedSound, delay: int
) -> None:
    behind = scipy.signal.lfilter([1.0, 0.4], [1.0, -0.7], late(clicks.samples, delay))
    around = scipy.signal.fftconvolve(late(clicks.samples, delay), scipy.signal.windows.hann(65), "same")
    for out, symmetric in ((behind, False), (around, True)):
        found = impulse_delays(clicks, out, symmetric=symmetric)
        assert (found.count, found.lowest, found.highest, found.spread, found.lost) == (4, delay, delay, 0, 0)


@pytest.mark.parametrize("make", [bursts, plucked])
def test_onsets_are_found_by_their_envelopes_even_with_other_phases(
    make: Callable[[np.random.Generator, int, int], MarkedSound],
) -> None:
    delay = 265
    sound = make(np.random.default_rng(2), RATE, 5)
    b, a = scipy.signal.butter(2, [300, 3000], "bandpass", fs=RATE)
    for out, within in (
        (late(sound.samples, delay), 0.0),
        (late(scipy.signal.lfilter(b, a, sound.samples), delay), 90.0),
    ):
        found = onset_delays(sound, out)
        assert found.lost == 0
        assert max(abs(found.lowest - delay), abs(found.highest - delay)) <= within


def test_jitter_and_losses_are_counted(clicks: MarkedSound) -> None:
    out = clicks.samples.copy()
    out[clicks.starts[0]], out[clicks.starts[0] + 7] = 0.0, 0.5
    out[clicks.starts[1]] = 0.0
    found = impulse_delays(clicks, out, symmetric=False)
    assert (found.lowest, found.highest, found.spread, found.lost) == (0, 7, 7, 1)
    assert delays_of([None]).count == 0


def test_departure_and_share_of_a_change() -> None:
    before = steady(np.random.default_rng(0), RATE, 0.5)
    after = 0.25 * before
    moved = np.where(np.arange(len(before)) < 5000, before, 0.5 * before)  # half of the way, in dB
    assert first_departure(moved, before, 4000, 1e-7) == 1000
    shares = spectral_share(moved, before, after, 256)
    assert np.allclose(shares[2:17], 0.0, atol=0.01)
    assert np.allclose(shares[25:80], 0.5, atol=0.1)


@pytest.mark.parametrize("way", [REST, EDITED, INPUT_PHASE])
@pytest.mark.parametrize("block", [100, RANDOM])
def test_a_session_is_as_late_as_it_says(
    bundle: Bundle, clicks: MarkedSound, way: latency_inside.Way, block: int
) -> None:
    rng = np.random.default_rng(3)
    row = latency_inside.measure(
        bundle, way, block=block, sample_rate=RATE, latency_ms=3.0, sounds={"impulse": clicks}, rng=rng
    )
    assert row.impulse is not None
    assert row.impulse.count == 4
    assert row.holds
    assert (row.total > 0) == way.resynth
    assert not replace(row, reported=row.reported + 1).holds


def test_a_knob_is_heard_within_one_hop_and_one_block(bundle: Bundle) -> None:
    for block in (32, 500):
        found = knob_response(bundle, "gain_db", block=block, count=4)
        assert found.holds
        assert found.departure.highest <= bundle.manifest.features.hop_samples + block


def test_the_report_names_the_promise_that_is_not_kept(bundle: Bundle, clicks: MarkedSound, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    row = latency_inside.measure(
        bundle, REST, block=64, sample_rate=RATE, latency_ms=6.0, sounds={"impulse": clicks}, rng=rng
    )
    about = dict.fromkeys(("cpu", "processors", "seconds", "bundle", "python", "numpy", "onnxruntime", "system"), "?")
    about |= dict.fromkeys(("load_before", "load_after", "sample_rate", "hop_samples", "window_samples"), "?")
    measured = Measured(rows=[row, replace(row, block="128")], no_jack="there was none.")
    assert all(promise.kept for promise in promises(measured))
    lying = replace(measured, rows=[row, replace(row, block="128", reported=1)])
    text = write(tmp_path, lying, about)
    assert "✗ Reported latency equals measured latency to the sample: 1 of 2 settings" in text
    assert "Not measured through JACK: there was none." in text
    assert json.loads((tmp_path / "report.json").read_text())["rows"][1]["holds"] is False
    assert (tmp_path / "agreement.png").stat().st_size > 1000


def test_a_session_played_long_is_the_same_after_a_reset(bundle: Bundle) -> None:
    found = endless(bundle, 1500, compared_seconds=0.3)
    assert len(set(found.digests)) == 1
    assert found.failed_hops == 0
    assert found.hops >= 1500
    assert all(promise.kept for promise in soak_promises(None, found)), soak_promises(None, found)


def test_a_leak_is_told(bundle: Bundle) -> None:
    looks = list(range(0, 1000, 10))
    flat = EndlessResult(
        1000, 1.0, 1.0, 128, looks, [50000] * 100, [1000] * 100, [0], 10, 0.0, [], ("a", "a", "a"), 0, {}
    )
    leaking = replace(
        flat, private_kib=[50000 + 30 * k for k in range(100)], allocated_blocks=[1000 + 10 * k for k in range(100)]
    )
    other = replace(flat, digests=("a", "b", "a"), failed_hops=1)
    assert [promise.kept for promise in soak_promises(None, flat)] == [True] * 5
    assert [promise.kept for promise in soak_promises(None, leaking)] == [False, False, True, True, True]
    assert [promise.kept for promise in soak_promises(None, other)] == [True, True, True, False, False]
    assert growth([9, 9, *[5] * 50, *[7] * 50], warm=2) == 2
    assert private_kib() > 1000
    assert (no_worse(3, 3), no_worse(3, 1), no_worse(4, 1)) == (True, True, False)


def test_knobs_are_turned_everywhere_and_home(bundle: Bundle) -> None:
    player = soak_hops.Player(bundle, 128)
    turner = soak_hops.KnobTurner(player.bank, 0)
    seen = []
    for _ in range(200):
        turner.turn()
        for target, value in zip(player.bank.targets, player.bank.values, strict=True):
            assert target.low <= value <= target.high
            assert not target.whole or value == round(value)
        seen.append(player.bank.values.copy())
    assert (np.ptp(seen, axis=0) > 0).all()
    assert any(np.array_equal(values, player.rest) for values in seen)


@pytest.mark.parametrize("module", ["latency", "soak"])
def test_interrupted_and_misused_it_says_one_sentence_and_writes_nothing(module: str, tmp_path: Path) -> None:
    missing = run(module, "--bundle", str(tmp_path / "none.bundle"), "--out", str(tmp_path / "out"))
    assert missing.wait(60) == 2
    assert missing.stderr is not None
    assert missing.stderr.read().count("\n") == 1
    nothing = ["--no-jack"] if module == "latency" else ["--minutes", "0", "--hops", "1000000"]
    process = run(module, *nothing, "--out", str(tmp_path / "out"))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("measuring")
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors.count("\n") == 1
    assert errors.startswith("stopped; nothing was written")
    assert not (tmp_path / "out").exists()


def run(module: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
