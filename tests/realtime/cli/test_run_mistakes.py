"""The command line's answer to every mistake: one sentence, and nothing is written."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.run import main
from tests.support.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[3]


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
