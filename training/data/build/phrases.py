"""A phrase: one melodic line, what FluidSynth is told to play it, and the pitch that is then heard.

Consecutive notes take turns on the channels, so that bending a note leaves the ringing of the notes before it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from training.data.build.fluid import BEND_SEMITONES, BEND_STEPS, BLOCK_SAMPLES, PERCUSSION_CHANNEL, Event
from training.decibels import power_of

CHANNELS = PERCUSSION_CHANNEL  # those below it
EXPRESSION = 11  # MIDI control
AUDIBLE_DB = -50.0  # a block is heard if its level comes this close to that of the loudest block …
_NEIGHBOURHOOD_SECONDS = 0.04  # … or a block this near does: blocks are shorter than the period of a low note


@dataclass(frozen=True, eq=False)
class PhraseNote:
    """One key, from the block of its note-on to that of its note-off.

    wheel : ndarray, (release − start,), int, steps of the pitch wheel in each block; the last one stays while the note
        rings
    """

    key: int
    velocity: int
    start: int
    release: int
    wheel: np.ndarray

    def pitch(self, blocks: int) -> np.ndarray:
        """ndarray, (blocks,), MIDI note in the blocks from the note-on."""
        wheel = self.wheel[np.minimum(np.arange(blocks), len(self.wheel) - 1)]
        return self.key + wheel * BEND_SEMITONES / BEND_STEPS


@dataclass(frozen=True)
class Rest:
    """Nothing sounds in the blocks start … end − 1; from block `fade` on, what still rings fades away."""

    fade: int
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Phrase:
    """Notes and rests in the order of their beginning.

    swell : ndarray, (blocks,), int, value of control 11 for all notes, but for the rests
    """

    notes: tuple[PhraseNote, ...]
    rests: tuple[Rest, ...]
    swell: np.ndarray

    @property
    def blocks(self) -> int:
        return len(self.swell)

    @property
    def expression(self) -> np.ndarray:
        """ndarray, (blocks,), int, control 11: the swell, faded before the rests and 0 in them."""
        gate = np.ones(self.blocks)
        for rest in self.rests:
            fade = np.linspace(1, 0, rest.start - rest.fade, endpoint=False)
            gate[rest.fade : rest.start] = fade[: max(0, self.blocks - rest.fade)]
            gate[rest.start : rest.end] = 0
        return np.rint(self.swell * gate).astype(int)


def wheel_steps(semitones: np.ndarray) -> np.ndarray:
    """The nearest steps of the pitch wheel."""
    return np.rint(np.clip(semitones * BEND_STEPS / BEND_SEMITONES, -BEND_STEPS, BEND_STEPS - 1)).astype(int)


def events(phrase: Phrase) -> list[Event]:
    """The MIDI messages that play it, ascending in time. In one block: silence, note-offs, controls, wheels,
    note-ons.
    """
    channels = range(CHANNELS)
    cuts = [Event(rest.start, channel, "all_sounds_off") for rest in phrase.rests for channel in channels]
    expression = phrase.expression
    changes = np.flatnonzero(np.diff(expression, prepend=-1))
    swells = [Event(int(block), channel, "cc", (EXPRESSION, int(expression[block]))) for block in changes for channel in channels]
    offs, wheels, ons = [], [], []
    for position, note in enumerate(phrase.notes):
        channel = position % CHANNELS
        offs.append(Event(note.release, channel, "noteoff", (note.key,)))
        turns = np.flatnonzero(np.diff(note.wheel, prepend=BEND_STEPS))
        wheels += [Event(note.start + int(block), channel, "pitch_bend", (int(note.wheel[block]),)) for block in turns]
        ons.append(Event(note.start, channel, "noteon", (note.key, note.velocity)))
    heard = (event for event in cuts + offs + swells + wheels + ons if event.block < phrase.blocks)
    return sorted(heard, key=lambda event: event.block)


def pitch_track(phrase: Phrase, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The pitch of the newest note in every block, glides and vibrato included.

    Parameters
    ----------
    audio : (blocks · BLOCK_SAMPLES,), the phrase as it sounds

    Returns
    -------
    ndarray, (blocks,), float32, MIDI note; NaN where nothing is heard: before the first note, in rests, where a note
    has died away
    """
    track = np.full(phrase.blocks, np.nan)
    ends = [note.start for note in phrase.notes[1:]] + [phrase.blocks]
    for note, end in zip(phrase.notes, ends, strict=True):
        track[note.start : end] = note.pitch(end - note.start)
    for rest in phrase.rests:
        track[rest.start : rest.end] = np.nan
    power = np.square(audio.reshape(phrase.blocks, BLOCK_SAMPLES)).mean(axis=1)
    nearby = maximum_filter1d(power, 2 * round(_NEIGHBOURHOOD_SECONDS / 2 * sample_rate / BLOCK_SAMPLES) + 1)
    track[nearby < power.max() * power_of(AUDIBLE_DB)] = np.nan
    return track.astype(np.float32)
