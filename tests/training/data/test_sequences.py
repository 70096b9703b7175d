"""Phrases: the pitch track is the pitch that is heard, rests are silent, legato has no gap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
import pytest

from training.data import soundfont as notes
from training.data.build.fluid import BLOCK_SAMPLES
from training.data.build.gm import PROGRAMS
from training.data.build.phrase_shard import PhraseRequest
from training.data.build.phrases import Phrase
from training.data.manifest import read_dataset
from training.data.sequences import main
from training.data.store import PITCH_STEP_SAMPLES, SoundStore

PROGRAM_LIST, PHRASES, SAMPLE_RATE = (40, 56, 73), 6, 44100
VIOLIN, TRUMPET, FLUTE = PROGRAM_LIST
SPLIT = (0.7, 0.15, 0.15)


def request_for(*, sample_rate: int = SAMPLE_RATE, seed: int = 0) -> PhraseRequest:
    return PhraseRequest("", "", PROGRAM_LIST, PHRASES, 4.0, sample_rate, seed, SPLIT)


def many_phrases(sample_rate: int = SAMPLE_RATE) -> Iterator[Phrase]:
    """A hundred phrases of instruments with a wide, a usual and a very small range."""
    request = request_for(sample_rate=sample_rate, seed=1)
    for program in (0, VIOLIN, FLUTE, 14):
        for number in range(25):
            yield request.phrase(program, number)


@pytest.fixture(scope="module")
def data(soundfont: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Violin, trumpet and flute, six phrases each. Do not write into it."""
    out = tmp_path_factory.mktemp("phrases") / "data"
    programs = ",".join(map(str, PROGRAM_LIST))
    assert (
        main(["--soundfont", str(soundfont), "--out", str(out), "--programs", programs, "--phrases", str(PHRASES)]) == 0
    )
    return out


@pytest.mark.parametrize("program", PROGRAM_LIST)
def test_the_track_is_the_pitch_that_is_heard(data: Path, program: int) -> None:
    """Against librosa's probabilistic YIN, three phrases."""
    sounds = read_dataset(data).select(programs=[program])
    store, rate, hop = SoundStore(sounds), 22050, 128
    tracks, heard, apart = [], [], []
    for row in range(3):
        audio = librosa.resample(store.read(row), orig_sr=SAMPLE_RATE, target_sr=rate)
        f0_hz, _, _ = librosa.pyin(audio, fmin=150, fmax=2500, sr=rate, frame_length=1024, hop_length=hop)
        track = store.pitch_track(row)
        assert track is not None
        seconds = np.arange(len(f0_hz)) * hop / rate
        tracks.append(track[np.minimum((seconds * SAMPLE_RATE / PITCH_STEP_SAMPLES).astype(int), len(track) - 1)])
        heard.append(librosa.hz_to_midi(f0_hz))
        onsets = (
            np.array([note.start for note in request_for().phrase(program, row).notes]) * BLOCK_SAMPLES / SAMPLE_RATE
        )
        apart.append(np.abs(seconds[:, None] - onsets).min(axis=1) > 0.06)
    pitch, found, steady = np.concatenate(tracks), np.concatenate(heard), np.concatenate(apart)
    both = np.isfinite(pitch) & np.isfinite(found)
    cents = 100 * np.abs(pitch - found)
    assert np.median(cents[both]) < 30
    assert np.mean(cents[both & steady] < 50) > 0.95
    assert np.mean(both[np.isfinite(pitch)]) > 0.9, "where the track has a pitch, one is heard"
    assert np.mean(both[np.isfinite(found)]) > 0.9, "where a pitch is heard, the track has one"


@pytest.mark.parametrize("sample_rate", [44100, 8000])
def test_glides_are_continuous_and_real(sample_rate: int) -> None:
    """Within a note the pitch never jumps; some notes travel, in 100 to 400 ms per glide; none leaves the wheel's
    reach.
    """
    travels = []
    for phrase in many_phrases(sample_rate):
        for note in phrase.notes:
            pitch = note.pitch(note.release - note.start)
            assert np.abs(np.diff(pitch)).max(initial=0) < 1
            assert np.abs(pitch - note.key).max() < 12
            travels.append(abs(round(float(np.median(pitch[-8:]))) - note.key))
    assert 0.1 < np.mean(np.array(travels) > 0) < 0.6
    assert max(travels) <= 11


def test_vibrato_fades_in_at_a_players_rate() -> None:
    """Held keys without glide or scoop: the bend starts at 0, swings by 10 to 60 cents, 4 to 7 times a second."""
    rates, depths = [], []
    step = BLOCK_SAMPLES / SAMPLE_RATE
    for phrase in many_phrases():
        for note in phrase.notes:
            bend = note.pitch(note.release - note.start) - note.key
            if len(bend) * step > 0.75 and bend[0] == 0 and 0 < np.abs(bend).max() < 0.62:
                assert np.abs(bend[: round(0.05 / step)]).max() < 0.01
                moving = np.flatnonzero(bend)
                crossings = moving[np.flatnonzero(np.diff(np.sign(bend[moving])))]
                rates.append(1 / (2 * np.diff(crossings).mean() * step))
                depths.append(np.abs(bend).max())
    assert len(rates) >= 10
    assert 3.9 < min(rates) < 5 < 6 < max(rates) < 7.1
    assert 0.06 < min(depths) < 0.2 < 0.4 < max(depths) < 0.61


def test_phrases_have_rests_legato_repeats_staccato_and_dynamics() -> None:
    phrases = list(many_phrases())
    step = BLOCK_SAMPLES / SAMPLE_RATE
    pairs = [(first, second) for phrase in phrases for first, second in pairwise(phrase.notes)]
    overlaps = np.array([(first.release - second.start) * step for first, second in pairs])
    assert np.mean(overlaps > 0) > 0.2
    assert (np.abs(overlaps[overlaps > 0] - 0.04) < 0.022).all(), "legato notes overlap by 20 to 60 ms"
    assert any(
        first.key == second.key and overlap < 0 for (first, second), overlap in zip(pairs, overlaps, strict=True)
    ), "repeated"
    assert any((note.release - note.start) * step < 0.11 for phrase in phrases for note in phrase.notes), "staccato"
    rests = [rest for phrase in phrases for rest in phrase.rests if rest.fade > 0 and rest.end < phrase.blocks]
    assert len(rests) > 20
    assert all(0.09 < (rest.end - rest.start) * step < 0.61 for rest in rests)
    late = np.array([phrase.notes[0].start * step for phrase in phrases])
    assert (late < 0.21).all()
    assert 0.2 < np.mean(late > 0) < 0.8
    assert 0.2 < np.mean([np.ptp(phrase.swell) > 10 for phrase in phrases]) < 0.8
    assert all(len({note.velocity for note in phrase.notes}) > 1 for phrase in phrases if len(phrase.notes) > 3)
    for program in (0, VIOLIN, FLUTE, 14):
        keys = [
            note.key
            for phrase in (request_for().phrase(program, number) for number in range(10))
            for note in phrase.notes
        ]
        assert PROGRAMS[program].low <= min(keys) <= max(keys) <= PROGRAMS[program].high


def test_rests_are_silent_and_the_track_says_so(data: Path) -> None:
    sounds = read_dataset(data)
    store, seen = SoundStore(sounds), 0
    for row in range(len(sounds)):
        phrase = request_for().phrase(int(sounds.program[row]), row % PHRASES)
        audio, track = store.read(row), store.pitch_track(row)
        assert track is not None
        for rest in phrase.rests:
            assert np.abs(audio[rest.start * BLOCK_SAMPLES : rest.end * BLOCK_SAMPLES]).max(initial=0) < 10 ** (
                -70 / 20
            )
            assert np.isnan(track[rest.start : rest.end]).all()
            seen += 1
        assert np.isfinite(track).mean() > 0.4
    assert seen > len(sounds) / 2


def test_legato_has_no_gap(data: Path) -> None:
    """From 30 ms before the new note to 100 ms after, every 20 ms is within 20 dB of the old note's level, and has a
    pitch.
    """
    sounds = read_dataset(data)
    store, seen = SoundStore(sounds), 0
    for row in range(len(sounds)):
        audio, track = store.read(row), store.pitch_track(row)
        assert track is not None
        played = request_for().phrase(int(sounds.program[row]), row % PHRASES).notes
        for old, new in pairwise(played):
            onset, end = new.start * BLOCK_SAMPLES, (new.start + 69) * BLOCK_SAMPLES
            if old.release <= new.start or end > len(audio):
                continue
            before = float(np.sqrt(np.mean(np.square(audio[onset - 2205 : onset]))))
            around = librosa.feature.rms(y=audio[onset - 1323 : end], frame_length=882, hop_length=441, center=False)
            assert around.min() > 0.1 * before
            assert np.isfinite(track[new.start - 20 : new.start + 69]).all()
            seen += 1
    assert seen > 10


def test_labels_splits_and_layout(data: Path, soundfont: Path, tmp_path: Path) -> None:
    """The labels of training.data.soundfont, its shares, pitch left to the track; sounds begin at multiples of a
    block.
    """
    options = [
        "--programs",
        ",".join(map(str, PROGRAM_LIST)),
        "--notes",
        "72",
        "--velocities",
        "90",
        "--seconds",
        "0.2",
        "--no-percussion",
    ]
    assert notes.main(["--soundfont", str(soundfont), "--out", str(tmp_path), *options]) == 0
    single, sounds = read_dataset(tmp_path), read_dataset(data)
    labels = [
        set(zip(part.program.tolist(), part.instrument.tolist(), part.family.tolist(), strict=True))
        for part in (single, sounds)
    ]
    assert labels[0] == labels[1]
    assert PITCH_STEP_SAMPLES == BLOCK_SAMPLES
    assert (sounds.length == 4 * SAMPLE_RATE).all()
    assert not (sounds.offset % PITCH_STEP_SAMPLES).any()
    assert np.isnan(sounds.pitch).all()
    for program in PROGRAM_LIST:
        part = sounds.select(programs=[program])
        assert len(part.select(split="train")) in (3, 4, 5)
        velocities = [
            np.mean([note.velocity for note in request_for().phrase(program, number).notes])
            for number in range(PHRASES)
        ]
        assert part.velocity.tolist() == [round(float(velocity)) for velocity in velocities]
    assert SoundStore(single).pitch_track(0) is None, "single notes have no tracks"


def test_each_track_belongs_to_its_sound(soundfont: Path, tmp_path: Path) -> None:
    """Phrases whose length is no multiple of a block: the track is that of the phrase alone, wherever it is heard."""
    command = [
        "--soundfont",
        str(soundfont),
        "--out",
        str(tmp_path),
        "--programs",
        "73",
        "--phrases",
        "4",
        "--seconds",
        "1.237",
        "--seed",
        "7",
    ]
    assert main(command) == 0
    sounds = read_dataset(tmp_path)
    store, request = SoundStore(sounds), PhraseRequest("", "", (FLUTE,), 4, 1.237, SAMPLE_RATE, 7, SPLIT)
    assert (sounds.length == round(1.237 * SAMPLE_RATE)).all()
    assert sounds.length[0] % PITCH_STEP_SAMPLES
    for row in range(4):
        track, phrase = store.pitch_track(row), request.phrase(FLUTE, row)
        assert track is not None
        assert track.dtype == np.float32
        assert len(track) == -(-sounds.length[row] // PITCH_STEP_SAMPLES)
        expected = np.full(phrase.blocks, np.nan)
        for note in phrase.notes:
            expected[note.start :] = note.pitch(max(0, phrase.blocks - note.start))
        heard = np.isfinite(track)
        assert heard.any()
        assert np.abs(track - expected)[heard].max() < 1e-4
