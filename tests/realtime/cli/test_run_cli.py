"""The command line: files through the session, every option, and one sentence for every mistake."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import mido
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


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("cli") / "small.bundle")


@pytest.fixture(scope="module")
def sound(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cello note, 1 s, mono."""
    dataset = read_dataset(tiny_data)
    row = int(np.flatnonzero(dataset.program == 42)[3])
    path = tmp_path_factory.mktemp("sound") / "cello.wav"
    soundfile.write(path, SoundStore(dataset).read(row, 0, RATE), RATE, subtype="FLOAT")
    return path


@pytest.fixture
def midi(tmp_path: Path) -> Path:
    """Half a second of nothing, then the first timbre knob up and the first preset."""
    path = tmp_path / "turns.mid"
    file = mido.MidiFile()
    changes = [
        mido.Message("control_change", control=20, value=127, time=480),
        mido.Message("program_change", program=1),
    ]
    file.tracks.append(mido.MidiTrack(changes))
    file.save(path)
    return path


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--input", "SOUND"], "--output is missing"),
        (["--output", "OUT"], "--input is missing"),
        (["--midi", "MIDI"], "--input is missing"),
        (["--bundle", "BUNDLE"], "give --device N to play live"),
        (["--input", "SOUND", "--output", "OUT", "--device", "0"], "--device is for live playing"),
        (["--input", "SOUND", "--output", "OUT", "--midi-port", "x"], "--midi-port is for live playing"),
        (["--input", "SOUND", "--output", "OUT", "--no-worker"], "--worker is for live playing"),
        (["--input", "SOUND", "--output", "OUT", "--learn"], "--learn is for live playing"),
        (["--input", "SOUND", "--output", "OUT", "--record", "OUT"], "--output and --record are the same file"),
        (["--device", "0", "--limiter"], "--limiter is for files"),
        (
            ["--device", "0", "--channels", "2", "--input-channel", "2"],
            "--input-channel takes one channel and --channels several",
        ),
        (["--device", "0", "--input-channel", "0"], "--input-channel 0 must be at least 1"),
        (["--device", "0", "--sample-rate", "10"], "--sample-rate 10 is outside 1000 … 768000"),
        (["--device", "0", "--latency-ms", "2"], "--latency-ms 2 is outside 3 … 50"),
        (["--device", "0", "--phase", "1.5"], "--phase 1.5 is outside 0 … 1"),
        (["--device", "0", "--osc", "stage:99999"], "--osc stage:99999: give a port from 1 to 65535, or HOST:PORT"),
        (["--device", "0", "--osc-out", "9001"], "--osc-out needs --osc"),
        (["--device", "0", "--record", "FOLDER/none/x.wav"], "cannot write .*x.wav: there is no folder"),
        (["--device", "0", "--record", "TEXT"], "end it with .wav or .flac"),
        (["--device", "0", "--snapshots", "FOLDER"], "cannot write .*folder: it is a folder"),
        (["--device", "0", "--snapshot", "night"], "no snapshot 'night' in neiro-snapshots.toml; there are: none yet"),
        (["--device", "0", "--snapshots", "TEXT"], "text.txt is not TOML"),
        (["--device", "0", "--timbre", "TEXT"], "text.txt is not a sound file"),
        (["--device", "0", "--timbre", "EMPTY"], "empty.wav is empty"),
        (["--input", "SOUND", "--output", "SOUND"], "--input and --output are the same file"),
        (["--input", "SOUND", "--output", "OUT", "--json", "OUT"], "--output and --json are the same file"),
        (["--input", "none.wav", "--output", "OUT"], "none.wav"),
        (["--input", "FOLDER", "--output", "OUT"], "is a directory|is a folder|not a file"),
        (["--input", "EMPTY", "--output", "OUT"], "empty"),
        (["--input", "TEXT", "--output", "OUT"], "text.txt"),
        (["--input", "SOUND", "--output", "FOLDER/none/x.wav"], "cannot write .*x.wav: there is no folder"),
        (["--input", "SOUND", "--output", "FOLDER"], "cannot write .*folder: it is a folder"),
        (["--input", "SOUND", "--output", "TEXT"], "end it with .wav or .flac"),
        (
            ["--input", "SOUND", "--output", "OUT", "--json", "FOLDER/none/x.json"],
            "cannot write .*x.json: there is no folder",
        ),
        (["--input", "SOUND", "--output", "OUT", "--midi", "none.mid"], "no MIDI file at none.mid"),
        (["--input", "SOUND", "--output", "OUT", "--midi", "TEXT"], "is not a MIDI file"),
        (["--input", "SOUND", "--output", "OUT", "--map", "none.toml"], "cannot read the knob map none.toml"),
        (["--input", "SOUND", "--output", "OUT", "--bundle", "none.bundle"], "no bundle at none.bundle; make one with"),
        (["--input", "SOUND", "--output", "OUT", "--bundle", "FOLDER"], "has no manifest.json"),
        (
            ["--input", "SOUND", "--output", "OUT", "--knob", "timbr[0]=1"],
            r"no knob named 'timbr\[0\]'; did you mean timbre\[0\]",
        ),
        (["--input", "SOUND", "--output", "OUT", "--knob", "mix=2"], "mix=2 is outside 0 … 1"),
        (["--input", "SOUND", "--output", "OUT", "--knob", "mix"], "cannot read the knob 'mix'"),
        (["--input", "SOUND", "--output", "OUT", "--knob", "preset_b=theremin"], "no preset 'theremin'; "),
        (["--input", "SOUND", "--output", "OUT", "--preset", "theremin"], "no preset 'theremin'; "),
        (["--input", "SOUND", "--output", "OUT", "--preset", "999"], "no preset '999'; "),
        (["--device", "0", "--block-size", "9000"], "--block-size 9000 is outside 0 … 8192"),
        (["--device", "0", "--block-size", "x"], "invalid int value: 'x'"),
        (["--device", "0", "--seconds", "nan"], "--seconds nan must be more than 0"),
        (["--device", "0", "--channels", "0"], "--channels 0 must be at least 1"),
        (["--device", "0", "--provider", "tpu"], "invalid choice: 'tpu'"),
        (["--devise", "0"], "unrecognized arguments: --devise"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    sound: Path,
    bundle: Path,
    midi: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.txt").write_text("a letter, not a sound\n" * 99)
    names = {"SOUND": sound, "OUT": tmp_path / "out.wav", "MIDI": midi, "BUNDLE": bundle, "FOLDER": tmp_path / "folder"}
    names |= {"EMPTY": tmp_path / "empty.wav", "TEXT": tmp_path / "text.txt"}
    before = sorted(tmp_path.rglob("*"))
    words = [re.sub("^[A-Z]+", lambda match: str(names[match[0]]), word) for word in options]
    if "--bundle" not in words:
        words += ["--bundle", str(bundle)]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(expected, error), error
    assert sorted(tmp_path.rglob("*")) == before


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


def test_a_bundle_with_a_changed_byte_is_refused(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = make_bundle(tmp_path / "changed.bundle")
    graph = changed / "streaming" / "decoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    assert main(["--input", str(sound), "--output", str(tmp_path / "out.wav"), "--bundle", str(changed)]) == 2
    assert re.fullmatch(
        r".*decoder.onnx has been changed since the export .*; export the bundle again\n", capsys.readouterr().err
    )


def test_a_full_disk_leaves_the_old_output_alone(sound: Path, bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    output.write_bytes(b"the take of my life")
    done = subprocess.run(
        [sys.executable, "-m", "realtime.run", "--input", str(sound), "--output", str(output), "--bundle", str(bundle)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_bytes() == b"the take of my life"
    assert list(tmp_path.iterdir()) == [output]
