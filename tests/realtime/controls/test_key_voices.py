"""MIDI keys become voices: the free one first, else the oldest; tied notes share one. --synth on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from realtime.bundle import Bundle
from realtime.controls.desk import Desk
from realtime.controls.map.knob_map import KnobMap, load_map
from realtime.controls.snapshots import MOMENTARY
from realtime.kinds import VOICES
from realtime.knobs.bank import KnobBank
from realtime.knobs.targets import KEY_TARGETS
from tests.support.bundles import make_bundle
from tests.support.harmonic import harmonic_bundle, tone


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return harmonic_bundle(tmp_path_factory.mktemp("harmonic") / "small.bundle")


@pytest.fixture
def desk(bundle: Bundle) -> Desk:
    return Desk(KnobBank(bundle.manifest))


@pytest.fixture
def played(desk: Desk) -> KnobMap:
    return load_map(None, desk)


def sounding(desk: Desk) -> list[float]:
    notes = [desk.value(desk.index[f"key[{i}]"]) for i in range(VOICES)]
    return sorted(note for note in notes if note >= 0)


def press(played: KnobMap, desk: Desk, *notes: int, velocity: int = 100) -> None:
    for note in notes:
        played.apply((0x90, note, velocity), desk)


def test_chords_sound_and_end_key_by_key(played: KnobMap, desk: Desk) -> None:
    press(played, desk, 60, 64, 67)
    assert sounding(desk) == [60, 64, 67]
    played.apply((0x80, 64, 0), desk)
    assert sounding(desk) == [60, 67]
    assert desk.value(desk.index["note"]) == 67, "the older target follows as before"
    played.apply((0xB0, 123, 0), desk)
    assert sounding(desk) == []


def test_a_ninth_key_takes_the_oldest_voice(played: KnobMap, desk: Desk) -> None:
    press(played, desk, *range(50, 58))
    press(played, desk, 70)
    assert sounding(desk) == [51, 52, 53, 54, 55, 56, 57, 70]
    played.apply((0x80, 50, 0), desk)  # its voice plays another key now
    assert 70 in sounding(desk)


def test_a_key_struck_again_gets_another_voice_so_that_it_is_noticed(played: KnobMap, desk: Desk) -> None:
    press(played, desk, 60)
    before = [desk.value(desk.index[f"key[{i}]"]) for i in range(VOICES)].index(60)
    played.apply((0x80, 60, 0), desk)
    press(played, desk, 60, velocity=64)
    after = [desk.value(desk.index[f"key[{i}]"]) for i in range(VOICES)].index(60)
    assert before != after
    assert desk.value(desk.index[f"key_velocity[{after}]"]) == pytest.approx(64 / 127, abs=0.01)


def test_tied_notes_share_a_voice_and_the_one_held_before_returns(played: KnobMap, desk: Desk) -> None:
    desk.set("legato", 1)
    press(played, desk, 60, 67)
    assert sounding(desk) == [67]
    played.apply((0x80, 67, 0), desk)
    assert sounding(desk) == [60]
    played.apply((0x80, 60, 0), desk)
    assert sounding(desk) == []


def test_what_is_held_is_no_setting() -> None:
    assert set(KEY_TARGETS) <= set(MOMENTARY)


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime.run", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_synth_from_the_command_line(bundle: Bundle, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", tone(220.0, 0.5), 44100)
    files = ("--input", "in.wav", "--output", "out.wav")
    done = run(*files, "--bundle", bundle.path, "--synth", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "synth 0" in done.stdout
    assert soundfile.info(tmp_path / "out.wav").frames == 22050
    listed = run("--list-knobs", "--bundle", bundle.path, cwd=tmp_path)
    assert listed.returncode == 0
    assert "exact pitch" in listed.stdout
    assert "portamento" in listed.stdout


@pytest.mark.parametrize(
    ("words", "message"), [(("--synth",), "--synth needs a harmonic model"), (("--synth", "--resynth"), "two ways out")]
)
def test_synth_of_a_model_without_it_is_refused_in_a_sentence(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    small = make_bundle(tmp_path / "small.bundle")
    soundfile.write(tmp_path / "in.wav", tone(220.0, 0.5), 44100)
    done = run("--input", "in.wav", "--output", "out.wav", "--bundle", small, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "out.wav").exists()
