"""Timbres of files, captures, snapshots and both ways out, offline through the very desk that plays live."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import soxr

from realtime.bundle import Bundle, load_bundle
from realtime.cli.run_report import latencies
from realtime.cli.terminal import describe_notes
from realtime.controls.snapshot_file import Snapshot, read_snapshots, write_snapshots
from realtime.files.audio_files import AudioFileError
from realtime.files.timbre_file import timbre_of_file
from realtime.knobs.bank import KnobBank
from realtime.run import main
from realtime.session import Session, SessionOptions
from tests.support.bundles import make_bundle
from training.data.manifest import read_dataset
from training.data.store import SoundStore

ROOT = Path(__file__).resolve().parents[3]
RATE = 44100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("stage") / "small.bundle"))


@pytest.fixture(scope="module")
def notes(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A cello and a trumpet, 1 s each."""
    folder, dataset = tmp_path_factory.mktemp("notes"), read_dataset(tiny_data)
    found: dict[str, Path] = {}
    for name, program in (("cello", 42), ("trumpet", 56)):
        samples = SoundStore(dataset).read(int(np.flatnonzero(dataset.program == program)[3]), 0, RATE)
        soundfile.write(found.setdefault(name, folder / f"{name}.wav"), samples, RATE, subtype="FLOAT")
    return found


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def play(source: Path, bundle: Bundle, *options: str | Path) -> tuple[np.ndarray, dict]:
    arguments = ["--input", source, "--output", "out.wav", "--bundle", bundle.path, "--json", "out.json", *options]
    assert main([str(argument) for argument in arguments]) == 0
    return soundfile.read("out.wav", dtype="float32")[0], json.loads(Path("out.json").read_text())


def midi_file(*messages: tuple[float, mido.Message]) -> str:
    """Messages at seconds."""
    file, track, last = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack(), 0
    for seconds, message in messages:
        tick = round(seconds * 960)
        track.append(message.copy(time=tick - last))
        last = tick
    file.tracks.append(track)
    file.save("turns.mid")
    return "turns.mid"


# Timbres of files
# ---------------------------------------------------------------------------------------------------------


def test_a_files_timbre_is_what_the_session_hears_in_it(bundle: Bundle, notes: dict[str, Path]) -> None:
    """With a time constant so long that the session's running mean is the mean of all."""
    samples = soundfile.read(notes["trumpet"], dtype="float32", always_2d=True)[0]
    knobs = KnobBank(bundle.manifest)
    knobs.set("timbre_seconds", 30.0)
    session = Session(bundle, knobs, channels=1, sample_rate=RATE, options=SessionOptions(provider="cpu"))
    session.process_block(samples, np.empty_like(samples))
    found = timbre_of_file(bundle, notes["trumpet"], "cpu")
    np.testing.assert_allclose(found.timbre, session.published["timbre"], atol=1e-6)
    assert found.whole
    assert 0.9 < found.seconds <= 1.0


def test_level_rate_channels_and_length_of_the_file_do_not_matter(
    bundle: Bundle, notes: dict[str, Path], tmp_path: Path
) -> None:
    samples = soundfile.read(notes["trumpet"], dtype="float32")[0]
    expected = timbre_of_file(bundle, notes["trumpet"], "cpu").timbre
    cello = timbre_of_file(bundle, notes["cello"], "cpu").timbre
    other = soxr.resample(np.stack([samples, samples], axis=1) / 2, RATE, 48000)
    soundfile.write(tmp_path / "other.flac", other, 48000, subtype="PCM_24")
    assert np.linalg.norm(
        timbre_of_file(bundle, tmp_path / "other.flac", "cpu").timbre - expected
    ) < 0.05 * np.linalg.norm(cello - expected)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 70), RATE)
    long = timbre_of_file(bundle, tmp_path / "long.wav", "cpu")
    assert (long.whole, round(long.seconds)) == (False, 60)
    assert np.linalg.norm(long.timbre - expected) < 0.2 * np.linalg.norm(cello - expected)
    soundfile.write(tmp_path / "still.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioFileError, match=r"still.wav is silent: nothing in it reaches -70 dBFS"):
        timbre_of_file(bundle, tmp_path / "still.wav", "cpu")


def test_swap_takes_the_timbre_of_a_file(bundle: Bundle, notes: dict[str, Path]) -> None:
    dry = soundfile.read(notes["cello"], dtype="float32")[0]
    swapped, account = play(notes["cello"], bundle, "--timbre", notes["trumpet"], "--timbre", notes["cello"])
    assert (account["knobs"]["preset"], account["knobs"]["preset_amount"]) == (3, 1)
    assert np.std(swapped - dry) > 0.05 * np.std(dry)
    named, _ = play(
        notes["cello"], bundle, "--timbre", notes["cello"], "--timbre", notes["trumpet"], "--preset", "trumpet"
    )
    assert np.array_equal(named, swapped)
    halved, account = play(
        notes["cello"], bundle, "--timbre", notes["trumpet"], "--knob", "preset_b=Gong", "--knob", "x=0.5"
    )
    assert account["knobs"]["preset_b"] == 2
    assert not np.array_equal(halved, swapped)


# Snapshots and captures in a rendering
# ------------------------------------------------------------------------------------


def test_a_program_change_recalls_on_the_sample_and_a_rendering_leaves_the_file_alone(
    bundle: Bundle, notes: dict[str, Path]
) -> None:
    write_snapshots(
        Path("neiro-snapshots.toml"), [Snapshot(number=4, name="low", knobs={"gain_db": -20.0, "timbre[0]": 1.0})]
    )
    Path("map.toml").write_text(
        '[[knob]]\nprogram_change = true\ntarget = "snapshot"\n[[knob]]\ncc = 5\ntarget = "snapshot_store"\n'
        '[[knob]]\nnote = 60\ntarget = "capture"\nvalue = 1\n'
    )
    recall, store = mido.Message("program_change", program=4), mido.Message("control_change", control=5, value=9)
    capture = mido.Message("note_on", note=60, velocity=90)
    before = Path("neiro-snapshots.toml").read_bytes()
    wet, account = play(
        notes["cello"], bundle, "--map", "map.toml", "--midi", midi_file((0.25, recall), (0.5, store), (0.75, capture))
    )
    dry = soundfile.read(notes["cello"], dtype="float32")[0]
    assert np.array_equal(wet[: RATE // 4], dry[: RATE // 4])
    assert np.std(wet[RATE // 2 :]) < 0.3 * np.std(dry[RATE // 2 :])
    assert (account["knobs"]["gain_db"], account["knobs"]["timbre[0]"], account["knobs"]["preset"]) == (-20, 1, 3)
    assert account["midi_messages"] == 3
    assert Path("neiro-snapshots.toml").read_bytes() == before
    _, account = play(notes["cello"], bundle, "--snapshot", "low", "--knob", "gain_db=0")
    assert account["knobs"]["gain_db"] == 0
    assert account["knobs"]["timbre[0]"] == 1


def test_a_snapshot_of_a_files_timbre_sounds_the_same_without_the_file(bundle: Bundle, notes: dict[str, Path]) -> None:
    Path("map.toml").write_text('[[knob]]\ncc = 5\ntarget = "mix"\n')
    wet, _ = play(notes["cello"], bundle, "--timbre", notes["trumpet"])
    values = timbre_of_file(bundle, notes["trumpet"], "cpu").timbre.tolist()
    kept = Snapshot.model_validate(
        {"number": 1, "knobs": {"preset": "own 1"}, "own": [{"slot": 1, "name": "trumpet", "values": values}]}
    )
    write_snapshots(Path("mine.toml"), [kept])
    assert read_snapshots(Path("mine.toml"))[1] == kept
    again, _ = play(notes["cello"], bundle, "--snapshots", "mine.toml", "--snapshot", "1")
    assert np.array_equal(again, wet)


# Ways out
# -----------------------------------------------------------------------------------------------------------------


def test_a_resynthesised_file_is_in_step_with_its_source(bundle: Bundle, notes: dict[str, Path]) -> None:
    """With mix = 0 resynth plays the input, late: with the latency taken off it is the source, sample by sample."""
    dry = soundfile.read(notes["cello"], dtype="float32")[0]
    for latency_ms in (3, 20):
        wet, account = play(notes["cello"], bundle, "--resynth", "--knob", "mix=0", "--latency-ms", str(latency_ms))
        assert account["latency_samples_taken_off"] == account["latency_samples_resynth"] > 0
        assert len(wet) == len(dry)
        np.testing.assert_allclose(wet[2000:], dry[2000:], atol=1e-6)


def test_the_control_process_knows_the_latencies_of_a_session_it_does_not_have(bundle: Bundle) -> None:
    for rate, latency_ms in ((44100, 6.0), (48000, 3.0), (96000, 50.0)):
        session = Session(
            bundle,
            KnobBank(bundle.manifest),
            channels=1,
            sample_rate=rate,
            options=SessionOptions(provider="cpu", latency_ms=latency_ms),
        )
        told = latencies(bundle.manifest, rate, latency_ms)
        assert told == {f"latency_samples_{way}": session.latency_of(way) for way in ("morph", "resynth")}  # type: ignore[arg-type]


def test_the_limiter_keeps_a_file_below_full_scale_if_asked(bundle: Bundle, notes: dict[str, Path]) -> None:
    loud, account = play(notes["cello"], bundle, "--knob", "gain_db=12")
    assert np.abs(loud).max() > 1
    assert account["samples_beyond_full_scale"] == np.count_nonzero(np.abs(loud) > 1) > 0
    assert (account["clipped_samples"], account["limited_samples"]) == (0, 0)  # a float file holds them
    limited, account = play(notes["cello"], bundle, "--knob", "gain_db=12", "--limiter")
    assert np.abs(limited).max() <= 1
    assert account["limited_samples"] > 0


# What is told
# -------------------------------------------------------------------------------------------------------------


def test_playable_notes_are_those_measured_to_be_true(bundle: Bundle) -> None:
    """The small bundle's pitches lie 30, 40 … 70 cents off, on the notes 36, 48 … 84."""
    assert describe_notes(bundle.manifest).endswith(
        "these MIDI notes sound within 50 cents of the note: 36 … 60 (3 of 5 measured)"
    )
    assert "no measured pitches" in describe_notes(bundle.manifest.model_copy(update={"pitch_anchors": ()}))


def test_a_live_control_process_loads_no_onnxruntime(bundle: Bundle) -> None:
    script = f"""
import sys
from realtime import run
code = run.main(["--input-device", "none", "--output-device", "none", "--bundle", {str(bundle.path)!r}, "--monitor"])
assert code == 2
assert "onnxruntime" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"no sound device", done.stderr)
