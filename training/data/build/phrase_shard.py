"""The phrases of one program rendered to one file of sounds, their pitch tracks and their rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.data.build.composer import compose
from training.data.build.fluid import NoteRenderer
from training.data.build.gm import PROGRAMS
from training.data.build.phrases import CHANNELS, Phrase, events, pitch_track
from training.data.build.shard import audio_file, is_silent, normalise, write_shard
from training.data.manifest import SPLITS, Sound
from training.data.store import PITCH_STEP_SAMPLES


@dataclass(frozen=True)
class PhraseRequest:
    """Phrases of equal length, as many for every program."""

    source: ClassVar[str] = "phrases"
    unit: ClassVar[str] = "phrase"
    choice: ClassVar[str] = "--programs"
    has_pitch_tracks: ClassVar[bool] = True

    soundfont: str  # file name, without its folder
    soundfont_sha256: str
    programs: tuple[int, ...]  # General MIDI programs from 0, pitched ones
    phrases: int  # per program
    seconds: float
    sample_rate: int
    seed: int
    split: tuple[float, float, float]  # shares of `SPLITS`

    def sounds_of(self, program: int) -> int:
        return self.phrases

    def phrase(self, program: int, number: int) -> Phrase:
        """One phrase: it depends on the seed, the program and its number alone (and on seconds and sample rate)."""
        rng, gm = np.random.default_rng([self.seed, program, number]), PROGRAMS[program]
        return compose(rng, low=gm.low, high=gm.high, seconds=self.seconds, sample_rate=self.sample_rate)

    def render_job(self, soundfont: Path, out: Path, program: int) -> None:
        """Render one program and write its shard. Between sounds: zeros up to the next multiple of
        `PITCH_STEP_SAMPLES`.
        """
        samples = round(self.seconds * self.sample_rate)
        rows, end = list[Sound](), 0
        audio, tracks = list[np.ndarray](), list[np.ndarray]()
        with NoteRenderer(
            soundfont, bank=0, program=program, sample_rate=self.sample_rate, channels=CHANNELS
        ) as renderer:
            for number in range(self.phrases if renderer.has_program else 0):
                phrase = self.phrase(program, number)
                whole = renderer.play(events(phrase), blocks=phrase.blocks)
                if is_silent(whole[:samples]):
                    continue
                coded, gain_db = normalise(whole[:samples])
                gap = -end % PITCH_STEP_SAMPLES
                rows.append(
                    self._row(program, number, phrase, audio_file(out, program).name, end + gap, samples, gain_db)
                )
                end += gap + samples
                audio += [np.zeros(gap, "<i2"), coded]
                tracks.append(pitch_track(phrase, whole, self.sample_rate))
        write_shard(self, out, program, rows, audio, tracks)

    def _row(
        self, program: int, number: int, phrase: Phrase, file: str, offset: int, samples: int, gain_db: float
    ) -> Sound:
        name, gm = f"{program:03d}-phrase-{number:05d}", PROGRAMS[program]
        velocity = round(float(np.mean([note.velocity for note in phrase.notes])))
        return Sound(name, file, offset, samples, gm.name, gm.family, program, None, velocity, gain_db, SPLITS[0])
