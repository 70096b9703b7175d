"""The pitch benchmark: its truth is true, and its figures tell a good tracker from a bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pitch.__main__ import main, synthetic_onsets
from benchmarks.pitch.material import PitchedSound, hz, one_voice, read_notes
from benchmarks.pitch.measure import compare, pooled
from training.data.sequences import main as render

RATE, HOP = 44100, 256


def test_a_perfect_answer_is_perfect_and_a_late_octave_is_not() -> None:
    sounds = synthetic_onsets(RATE)[:8]

    def answer(late: int, factor: float) -> dict[str, float]:
        found = []
        for sound in sounds:
            ends = np.minimum((np.arange(len(sound.audio) // HOP) + 1) * HOP - 1 - late, len(sound.audio) - 1)
            found.append(compare(sound, factor * np.nan_to_num(hz(sound.midi[ends])), RATE, HOP))
        return pooled(found)

    perfect = answer(0, 1.0)
    assert perfect["median_cents"] < 1e-6
    assert (perfect["close"], perfect["octave"], perfect["onset_in_25_ms"]) == (1.0, 0.0, 1.0)
    assert answer(round(0.05 * RATE), 1.0)["onset_median_ms"] == pytest.approx(50, abs=6)
    assert answer(0, 2.0)["octave"] == 1.0


def test_bent_notes_have_the_pitch_they_are_said_to_have(tiny_data: Path) -> None:
    """Of a sine in place of a note, measured by counting its zero crossings."""
    note = read_notes(tiny_data, 1, 0)[0]
    sine = np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)
    audio, midi = np.concatenate([np.zeros(note.onsets[0]), sine]), np.full(note.onsets[0] + 2 * RATE, 57.0)
    for phrase in one_voice([PitchedSound(audio, midi, "sine", note.onsets, ())], 4, RATE, 0):
        assert len(phrase.audio) == len(phrase.midi)
        assert not phrase.audio[~np.isfinite(phrase.midi)].any()
        for change in phrase.changes:
            middle = slice(change + 2000, change + 12000)
            rising = np.count_nonzero(np.diff(np.signbit(phrase.audio[middle]).astype(int)) < 0)
            assert rising == pytest.approx(hz(phrase.midi[middle]).sum() / RATE, abs=1.1)


def test_the_command_writes_its_report(
    tiny_data: Path, soundfont: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phrases, out = tmp_path / "phrases", tmp_path / "report"
    sizes = ["--programs", "42,73", "--phrases", "3", "--seconds", "1", "--split", "0,0,1"]
    assert render(["--out", str(phrases), "--soundfont", str(soundfont), *sizes]) == 0
    words = ["--data", str(tiny_data), "--phrases", str(phrases), "--sounds", "2", "--no-judge", "--out", str(out)]
    assert main(words) == 0
    assert (out / "errors.png").is_file()
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "held-out notes: frames within 50 cents" in text
    assert main(["--data", str(tmp_path / "none"), "--phrases", str(phrases)]) == 2
    assert "benchmarks.pitch:" in capsys.readouterr().err
