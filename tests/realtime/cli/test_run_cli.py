"""The command line: files through the session, with every option."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime.bundle import load_bundle
from realtime.run import main
from tests.support.bundles import make_bundle
from training.data.manifest import read_dataset
from training.data.store import SoundStore

ROOT = Path(__file__).resolve().parents[3]
RATE = 44100


def play(sound: Path, output: Path, bundle: Path, *options: str | int | Path) -> np.ndarray:
    assert main(["--input", str(sound), "--output", str(output), "--bundle", str(bundle), *map(str, options)]) == 0
    return soundfile.read(output, dtype="float32")[0]


def test_at_rest_the_file_comes_out_as_it_went_in(
    sound: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = play(sound, tmp_path / "out.wav", bundle, "--json", tmp_path / "out.json")
    assert np.array_equal(out, soundfile.read(sound, dtype="float32")[0])
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["real_time_factor"] > 0
    assert summary["hop_ms_median"] > 0
    assert (summary["latency_samples"], summary["failed_hops"], summary["provider"]) == (0, 0, "cpu")
    said = capsys.readouterr().out
    assert f"bundle: {bundle}" in said
    assert "real-time factor" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.wav"]


@pytest.mark.parametrize("block_size", [1, 333, 8192])
def test_a_midi_file_turns_knobs_on_the_sample(
    sound: Path, bundle: Path, tmp_path: Path, midi: Path, block_size: int
) -> None:
    dry = soundfile.read(sound, dtype="float32")[0]
    wet = play(sound, tmp_path / "out.wav", bundle, "--midi", midi, "--block-size", block_size)
    event = RATE // 2
    assert np.array_equal(wet[:event], dry[:event])
    assert np.std(wet[event:] - dry[event:]) > 0.05 * np.std(dry[event:])


def test_a_fixed_knob_overrides_midi(sound: Path, bundle: Path, tmp_path: Path, midi: Path) -> None:
    dry = soundfile.read(sound, dtype="float32")[0]
    still = play(sound, tmp_path / "out.wav", bundle, "--midi", midi, "--knob", "timbre[0]=0", "--knob", "preset=0")
    assert np.array_equal(still, dry)
    turned = play(sound, tmp_path / "out.wav", bundle, "--knob", "timbre[0]=2")
    assert not np.array_equal(turned, dry)


def test_a_preset_by_number_and_by_name(sound: Path, bundle: Path, tmp_path: Path) -> None:
    name = load_bundle(bundle).manifest.presets[0].name
    by_number = play(sound, tmp_path / "number.wav", bundle, "--preset", "1")
    by_name = play(sound, tmp_path / "name.wav", bundle, "--preset", name.upper())
    assert np.array_equal(by_number, by_name)
    assert not np.array_equal(by_number, soundfile.read(sound, dtype="float32")[0])


def test_a_map_of_ones_own(sound: Path, bundle: Path, tmp_path: Path, midi: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('[[knob]]\ncc = 20\ntarget = "gain_db"\nlow = 0\nhigh = -60\n')
    wet = play(sound, tmp_path / "out.wav", bundle, "--midi", midi, "--map", path)
    assert np.std(wet[3 * RATE // 4 :]) < 0.01 * np.std(wet[: RATE // 2])


def test_seconds_ends_early(sound: Path, bundle: Path, tmp_path: Path) -> None:
    assert len(play(sound, tmp_path / "out.wav", bundle, "--seconds", "0.25")) == RATE // 4


def test_stereo_and_other_rates_stay_as_they_are(tiny_data: Path, bundle: Path, tmp_path: Path) -> None:
    dataset = read_dataset(tiny_data)
    store = SoundStore(dataset)
    stereo = np.stack([store.read(row, 0, 24000) for row in (0, 20)], axis=1)
    soundfile.write(tmp_path / "in.flac", stereo, 48000, subtype="PCM_24")
    out = play(tmp_path / "in.flac", tmp_path / "out.wav", bundle)
    assert soundfile.info(tmp_path / "out.wav").samplerate == 48000
    assert np.array_equal(out, soundfile.read(tmp_path / "in.flac", dtype="float32")[0])


def test_the_newest_bundle_here_is_found_and_named(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for age, name in enumerate(("new.bundle", "old.bundle")):
        make_bundle(tmp_path / name)
        os.utime(tmp_path / name / "manifest.json", (time.time() - 100 * age,) * 2)
    monkeypatch.chdir(tmp_path)
    assert main(["--list-knobs"]) == 0
    assert "new.bundle (the newest one here)" in capsys.readouterr().out


def test_knobs_and_presets_are_listed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-knobs", "--bundle", str(bundle)]) == 0
    said = capsys.readouterr().out
    manifest = load_bundle(bundle).manifest
    for name in [
        *(axis.name for axis in manifest.axes),
        *(preset.name for preset in manifest.presets),
        "gain_db",
        "CC 20",
        "program change",
    ]:
        assert name in said


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "--list-devices" in capsys.readouterr().out


def test_it_plays_without_torch(sound: Path, bundle: Path, tmp_path: Path) -> None:
    blocked = dict.fromkeys(("torch", "lightning", "librosa", "pedalboard", "scipy", "sklearn"))
    script = f"import sys; sys.modules.update({blocked!r}); from realtime.run import main; sys.exit(main(sys.argv[1:]))"
    options = [
        "--input",
        str(sound),
        "--output",
        str(tmp_path / "out.wav"),
        "--bundle",
        str(bundle),
        "--knob",
        "timbre[0]=2",
    ]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_samples_that_are_no_numbers_become_silence_and_are_mentioned(
    sound: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = soundfile.read(sound, dtype="float32")[0]
    samples[1000:1010] = [np.nan, np.inf] * 5
    soundfile.write(tmp_path / "broken.wav", samples, RATE, subtype="FLOAT")
    out = play(tmp_path / "broken.wav", tmp_path / "out.wav", bundle, "--knob", "timbre[0]=2")
    assert np.isfinite(out).all()
    assert out[-RATE // 2 :].any()
    assert "10 of 44100 samples are not numbers" in capsys.readouterr().out
