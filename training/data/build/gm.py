"""General MIDI level 1: what the 128 programs and the percussion keys are called, and which notes each instrument
plays.

Names and families: the MIDI Manufacturers Association's sound set. Ranges: the usual playing ranges of orchestration
books, sounding pitch; synthetic programs play the whole piano. All MIDI notes lie within A0 … C8.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWEST_NOTE, HIGHEST_NOTE = 21, 108  # A0, C8
PERCUSSION = 128  # stands in the program column for the percussion bank


@dataclass(frozen=True)
class Program:
    """One melodic program. `number` counts from 0; `low` and `high` are MIDI notes, both played."""

    number: int
    name: str
    family: str
    low: int
    high: int
    pitched: bool  # False where the MIDI note does not name the pitch that is heard


# Eight programs per family, in order: name, lowest note, highest note.
_FAMILIES: dict[str, str] = {
    "piano": (
        "Acoustic Grand Piano 21 108, Bright Acoustic Piano 21 108, Electric Grand Piano 21 108, "
        "Honky-tonk Piano 21 108, Electric Piano 1 28 103, Electric Piano 2 28 103, Harpsichord 29 89, Clavinet 29 88"
    ),
    "chromatic percussion": (
        "Celesta 60 108, Glockenspiel 79 108, Music Box 60 96, Vibraphone 53 89, Marimba 45 96, Xylophone 65 108, "
        "Tubular Bells 60 77, Dulcimer 50 86"
    ),
    "organ": (
        "Drawbar Organ 36 96, Percussive Organ 36 96, Rock Organ 36 96, Church Organ 24 108, Reed Organ 36 96, "
        "Accordion 53 93, Harmonica 60 96, Tango Accordion 53 93"
    ),
    "guitar": (
        "Acoustic Guitar (nylon) 40 84, Acoustic Guitar (steel) 40 84, Electric Guitar (jazz) 40 86, "
        "Electric Guitar (clean) 40 86, Electric Guitar (muted) 40 86, Overdriven Guitar 40 86, "
        "Distortion Guitar 40 86, Guitar Harmonics 52 96"
    ),
    "bass": (
        "Acoustic Bass 28 67, Electric Bass (finger) 28 67, Electric Bass (pick) 28 67, Fretless Bass 28 67, "
        "Slap Bass 1 28 67, Slap Bass 2 28 67, Synth Bass 1 24 72, Synth Bass 2 24 72"
    ),
    "strings": (
        "Violin 55 103, Viola 48 91, Cello 36 81, Contrabass 28 67, Tremolo Strings 28 96, Pizzicato Strings 28 96, "
        "Orchestral Harp 24 103, Timpani 36 57"
    ),
    "ensemble": (
        "String Ensemble 1 28 96, String Ensemble 2 28 96, Synth Strings 1 36 96, Synth Strings 2 36 96, "
        "Choir Aahs 41 84, Voice Oohs 41 84, Synth Voice 41 84, Orchestra Hit 36 84"
    ),
    "brass": (
        "Trumpet 52 86, Trombone 40 77, Tuba 26 65, Muted Trumpet 52 86, French Horn 34 77, Brass Section 36 86, "
        "Synth Brass 1 36 96, Synth Brass 2 36 96"
    ),
    "reed": (
        "Soprano Sax 56 88, Alto Sax 49 81, Tenor Sax 44 76, Baritone Sax 36 69, Oboe 58 91, English Horn 52 81, "
        "Bassoon 34 75, Clarinet 50 94"
    ),
    "pipe": (
        "Piccolo 74 108, Flute 60 98, Recorder 60 98, Pan Flute 60 96, Blown Bottle 60 96, Shakuhachi 55 84, "
        "Whistle 60 96, Ocarina 60 84"
    ),
    "synth lead": (
        "Lead 1 (square) 21 108, Lead 2 (sawtooth) 21 108, Lead 3 (calliope) 36 96, Lead 4 (chiff) 36 96, "
        "Lead 5 (charang) 36 96, Lead 6 (voice) 36 96, Lead 7 (fifths) 36 96, Lead 8 (bass + lead) 21 108"
    ),
    "synth pad": (
        "Pad 1 (new age) 36 96, Pad 2 (warm) 36 96, Pad 3 (polysynth) 36 96, Pad 4 (choir) 36 96, "
        "Pad 5 (bowed) 36 96, Pad 6 (metallic) 36 96, Pad 7 (halo) 36 96, Pad 8 (sweep) 36 96"
    ),
    "synth effects": (
        "FX 1 (rain) 36 96, FX 2 (soundtrack) 36 96, FX 3 (crystal) 36 96, FX 4 (atmosphere) 36 96, "
        "FX 5 (brightness) 36 96, FX 6 (goblins) 36 96, FX 7 (echoes) 36 96, FX 8 (sci-fi) 36 96"
    ),
    "ethnic": (
        "Sitar 48 77, Banjo 48 84, Shamisen 50 79, Koto 43 84, Kalimba 48 79, Bagpipe 36 77, Fiddle 55 96, Shanai 48 72"
    ),
    "percussive": (
        "Tinkle Bell 72 84, Agogo 60 72, Steel Drums 52 76, Woodblock 60 84, Taiko Drum 36 60, Melodic Tom 36 72, "
        "Synth Drum 36 72, Reverse Cymbal 60 60"
    ),
    "sound effects": (
        "Guitar Fret Noise 48 72, Breath Noise 48 72, Seashore 48 72, Bird Tweet 48 72, Telephone Ring 48 72, "
        "Helicopter 48 72, Applause 48 72, Gunshot 48 72"
    ),
}

FAMILIES: tuple[str, ...] = (*_FAMILIES, "percussion")
_UNPITCHED = range(115, 128)  # Woodblock, drums, cymbal, sound effects


def _programs() -> tuple[Program, ...]:
    programs: list[Program] = []
    for family, entries in _FAMILIES.items():
        for entry in entries.split(", "):
            name, low, high = entry.rsplit(" ", 2)
            number = len(programs)
            programs.append(Program(number, name, family, int(low), int(high), number not in _UNPITCHED))
    return tuple(programs)


PROGRAMS: tuple[Program, ...] = _programs()

_FIRST_KEY = 35
_KEY_NAMES = (
    "Acoustic Bass Drum, Bass Drum 1, Side Stick, Acoustic Snare, Hand Clap, Electric Snare, Low Floor Tom, Closed "
    "Hi-Hat, High Floor Tom, "
    "Pedal Hi-Hat, Low Tom, Open Hi-Hat, Low-Mid Tom, Hi-Mid Tom, Crash Cymbal 1, High Tom, Ride Cymbal 1, Chinese "
    "Cymbal, Ride Bell, Tambourine, "
    "Splash Cymbal, Cowbell, Crash Cymbal 2, Vibraslap, Ride Cymbal 2, Hi Bongo, Low Bongo, Mute Hi Conga, Open Hi "
    "Conga, Low Conga, High Timbale, "
    "Low Timbale, High Agogo, Low Agogo, Cabasa, Maracas, Short Whistle, Long Whistle, Short Guiro, Long Guiro, "
    "Claves, Hi Wood Block, "
    "Low Wood Block, Mute Cuica, Open Cuica, Mute Triangle, Open Triangle"
)
PERCUSSION_KEYS: dict[int, str] = dict(enumerate(_KEY_NAMES.split(", "), start=_FIRST_KEY))  # 35 … 81
