"""Rendering a SoundFont: the right notes, from their onset on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import librosa
import numpy as np
import pretty_midi
import pytest
from scipy.signal import find_peaks

from training.data.build.fluid import NoteRenderer
from training.data.build.gm import FAMILIES, PERCUSSION, PERCUSSION_KEYS, PROGRAMS
from training.data.build.shard import MARGIN_SECONDS
from training.data.manifest import read_dataset
from training.data.soundfont import main
from training.data.store import SoundStore


def test_general_midi_table() -> None:
    """Against pretty_midi's own table, which spells a few names otherwise."""
    others = {"Synth Voice": "Synth Choir", "Lead 4 (chiff)": "Lead 4 chiff", "Closed Hi-Hat": "Closed Hi Hat"}
    others |= {"Pedal Hi-Hat": "Pedal Hi Hat", "Open Hi-Hat": "Open Hi Hat"}
    assert [others.get(program.name, program.name).lower() for program in PROGRAMS] == [
        name.lower() for name in pretty_midi.INSTRUMENT_MAP
    ]
    classes = [pretty_midi.program_to_instrument_class(program.number).lower() for program in PROGRAMS]
    assert [program.family for program in PROGRAMS] == classes
    assert [others.get(name, name) for name in PERCUSSION_KEYS.values()] == pretty_midi.DRUM_MAP
    assert list(PERCUSSION_KEYS) == list(range(35, 82))
    assert all(21 <= program.low <= program.high <= 108 for program in PROGRAMS)
    assert len(set(FAMILIES)) == 17
    assert len({program.name for program in PROGRAMS} | set(PERCUSSION_KEYS.values())) == 128 + 47, (
        "names tell all instruments apart"
    )


def test_pitch_is_the_midi_note(tiny_data: Path) -> None:
    """Librosa's estimate of every fifth sound, in the middle of the note."""
    sounds = read_dataset(tiny_data)
    store, sample_rate = SoundStore(sounds), sounds.sample_rate
    for row in range(0, len(sounds), 5):
        audio = store.read(row, int(0.05 * sample_rate), int(0.5 * sample_rate))
        f0_hz = librosa.yin(audio, fmin=180, fmax=1100, sr=sample_rate, frame_length=2048)
        found = float(np.median(librosa.hz_to_midi(f0_hz)))
        assert found == pytest.approx(sounds.pitch[row], abs=0.5), f"{sounds.sound[row]} {sounds.instrument[row]}"


def test_sounds_begin_at_their_onset(tiny_data: Path) -> None:
    """For struck and plucked instruments librosa, given silence before the sound, finds the onset where the sound
    begins.
    """
    sounds = read_dataset(tiny_data).select(families=["piano", "chromatic percussion", "guitar"])
    store, hop, lead = SoundStore(sounds), 64, 8192
    for row in range(len(sounds)):
        audio = np.concatenate([np.zeros(lead, np.float32), store.read(row, 0, 22050)])
        strength = librosa.onset.onset_strength(y=audio, sr=sounds.sample_rate, hop_length=hop)
        onsets = hop * find_peaks(strength / strength.max(), height=0.2, distance=0.03 * sounds.sample_rate / hop)[0]
        assert abs(int(onsets[0]) - lead) < 0.012 * sounds.sample_rate, (
            f"{sounds.sound[row]}: onset at {onsets[0] - lead} samples"
        )


def test_nothing_audible_is_trimmed_and_the_level_is_kept(tiny_data: Path, soundfont: Path) -> None:
    """The first note of each instrument, rendered anew: what the data set lacks of it is 50 dB below its peak, the rest
    is equal.
    """
    sounds = read_dataset(tiny_data)
    for program in np.unique(sounds.program).tolist():
        first = sounds.take(sounds.program == program).take(np.arange(1))
        key, velocity, samples = int(first.pitch[0]), int(first.velocity[0]), 2 * first.sample_rate
        with NoteRenderer(soundfont, bank=0, program=program, sample_rate=first.sample_rate) as renderer:
            whole = renderer.note(
                key,
                velocity,
                held_samples=round(0.85 * samples),
                samples=samples + round(MARGIN_SECONDS * first.sample_rate),
            )
        audio = SoundStore(first).read(0, original_level=True)
        limit = np.abs(whole).max() * 10 ** (-50 / 20)
        onset = int(np.flatnonzero(np.abs(whole) >= limit)[0])
        step = 10 ** (first.gain_db[0] / 20) / 32768
        assert len(audio) <= samples
        assert np.abs(audio - whole[onset : onset + len(audio)]).max() < step, (
            "equal to one 16-bit step of the normalised sound"
        )
        assert np.abs(whole[onset + len(audio) : onset + samples]).max(initial=0) < step, (
            "only digital silence is missing at the end"
        )


def test_release_is_heard(tiny_data: Path) -> None:
    """Sustained instruments are let go before the sound ends: its last 50 ms are at least 20 dB below its middle."""
    sounds = read_dataset(tiny_data).select(instruments=["Trumpet", "Clarinet", "Flute"])
    store = SoundStore(sounds)
    for row in range(len(sounds)):
        audio = store.read(row)
        middle, end = (float(np.sqrt(np.mean(part**2))) for part in (audio[44100:48510], audio[-2205:]))
        assert end < 0.1 * middle


def test_splits_have_their_shares_in_every_instrument(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data)
    for instrument in np.unique(sounds.instrument).tolist():
        counts = Counter(sounds.select(instruments=[instrument]).split.tolist())
        assert counts["train"] in (13, 14, 15)
        assert counts["validation"] in (2, 3, 4)
        assert counts["test"] in (2, 3, 4)


def test_percussion(soundfont: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "--soundfont",
                str(soundfont),
                "--out",
                str(tmp_path),
                "--programs",
                "40",
                "--notes",
                "60",
                "--seconds",
                "0.5",
            ]
        )
        == 0
    )
    sounds = read_dataset(tmp_path).select(families=["percussion"])
    assert set(sounds.instrument.tolist()) == set(PERCUSSION_KEYS.values())
    assert set(sounds.program.tolist()) == {PERCUSSION}
    assert np.isnan(sounds.pitch).all()
    centroid_hz = {}
    for instrument in ("Bass Drum 1", "Closed Hi-Hat"):
        audio = SoundStore(sounds.select(instruments=[instrument])).read(0)
        centroid_hz[instrument] = float(librosa.feature.spectral_centroid(y=audio, sr=44100).mean())
    assert centroid_hz["Bass Drum 1"] < 2000 < 5000 < centroid_hz["Closed Hi-Hat"], "the names belong to the sounds"


def test_each_instrument_keeps_to_its_range(
    soundfont: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--programs",
        "42,72",
        "--velocities",
        "90",
        "--seconds",
        "0.2",
        "--no-percussion",
        "--sample-rate",
        "22050",
    ]
    assert main(["--soundfont", str(soundfont), "--out", str(tmp_path), *options]) == 0
    sounds = read_dataset(tmp_path)
    assert sounds.sample_rate == 22050
    assert sounds.length.max() == 4410
    for program in (42, 72):
        pitch = sounds.select(programs=[program]).pitch
        assert (pitch.min(), pitch.max(), len(pitch)) == (
            PROGRAMS[program].low,
            PROGRAMS[program].high,
            np.ptp(pitch) + 1,
        )
    assert f"{len(sounds)} sounds in {tmp_path}, 0 silent notes dropped" in capsys.readouterr().out


def test_silent_notes_are_counted_and_failing_programs_named(
    tmp_path: Path, soundfont: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SoundFont with the preset header of program 40 renumbered: the violin is then not in it."""
    content = bytearray(soundfont.read_bytes())
    headers = content.index(b"phdr") + 8
    for start in range(headers, headers + int.from_bytes(content[headers - 4 : headers], "little"), 38):
        if content[start + 20 : start + 24] == bytes([40, 0, 0, 0]):
            content[start + 20] = 127
            content[start + 22] = 99
    changed = tmp_path / "no violin.sf2"
    changed.write_bytes(content)
    options = ["--programs", "40,41", "--notes", "60-64", "--velocities", "90", "--seconds", "0.2", "--no-percussion"]
    assert main(["--soundfont", str(changed), "--out", str(tmp_path / "out"), *options]) == 0
    said = capsys.readouterr().out
    assert "no sound from: 40 Violin" in said
    assert "5 sounds in" in said
    assert "5 silent notes dropped" in said
    assert main(["--soundfont", str(changed), "--out", str(tmp_path / "none"), *options, "--programs", "40"]) == 2
    assert "no violin.sf2 gives no sound" in capsys.readouterr().err
    assert not any((tmp_path / "none").iterdir()), "nothing is left in the way of another try"
