"""Labels in names: notes, MIDI numbers, velocities and dynamics."""

from __future__ import annotations

import re
import unicodedata

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ALTERATIONS = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NOTE = re.compile(r"([A-G])([#♯s♭b]?)(-?\d)")
_NOTES = re.compile(r"(?:[A-G][#♯s♭b]?\d){2,}")  # a range, as in C3Bb3
_NUMBER = re.compile(r"(?:m|midi)(\d{1,3})", re.IGNORECASE)
_MODEL = re.compile(r"[A-Z]{1,4}\d{2,4}")  # a microphone, as in U87 or SM57
# A number before one of these measures something; a number or note name after one of `_COUNTING` counts.
_UNITS = re.compile(r"bpm|k?hz|bits?|db|s|secs?|ms|min|kb(?:it|ps)|[cm]?m|ft|st|cents?|percent|bars?", re.IGNORECASE)
_COUNTING = re.compile(
    r"takes?|track|trk|side|part|pt|no|nr|number|mic|ch|channel|session|scene|set|ver|version|day|tempo|op|opus|bank|slot|"
    r"group|section|cut|roll|tape|reel|test|file|song",
    re.IGNORECASE,
)
_VELOCITY = re.compile(r"(?:v|vel|velocity)(\d{1,3})", re.IGNORECASE)
DYNAMICS = {
    "ppp": 16,
    "pp": 33,
    "p": 49,
    "mp": 64,
    "mf": 80,
    "f": 96,
    "ff": 112,
    "fff": 126,
}  # MIDI velocities, as notation programs play them


def as_text(name: str) -> str:
    """A file name as text: bytes of another encoding than the system's are escaped."""
    return name.encode(errors="backslashreplace").decode()


def label_of(name: str) -> str:
    """A folder's name as a label: text, and the same whether its accents are letters or follow them."""
    return unicodedata.normalize("NFC", as_text(name))


def note_number(name: str) -> int | None:
    """The MIDI note of 'A4' (69), 'C#3', 'As3', 'Bb2'; None for anything else."""
    match = _NOTE.fullmatch(name.strip())
    if match is None:
        return None
    step, alteration, octave = match.groups()
    number = 12 * (int(octave) + 1) + _STEPS[step] + _ALTERATIONS[alteration]
    return number if 0 <= number <= 127 else None


def note_name(number: float) -> str:
    """'A4' for 69; a number that is no whole note is rounded."""
    return f"{_NAMES[round(number) % 12]}{round(number) // 12 - 1}"


def counted(number: int, word: str) -> str:
    """'1 file', '2 files'."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def pitch_in(stem: str) -> float | None:
    """The MIDI note a file name (without its ending) tells, None where it tells none or several.

    A note name with a capital letter ('A4', 'C#3', 'Bb2', 'As3'), else 'm60' or 'midi60', else a number of two or three
    digits within A0 … C8 (21 … 108) that stands between other words ('violin_60_f') and is no part of a date, an amount
    ('90 bpm') or a microphone's name. What follows a word like 'take' only counts.
    """
    words = _words(stem)
    if any(_NOTES.fullmatch(word) for word in words):
        return None
    counting = [False, *(_COUNTING.fullmatch(word) is not None for word in words[:-1])]
    notes = [note_number(word) for word in words]
    named = {number for number, after in zip(notes, counting, strict=True) if number is not None and not after}
    numbered = {int(match[1]) for word in words if (match := _NUMBER.fullmatch(word)) and int(match[1]) <= 127}
    plain = {int(words[place]) for place in range(1, len(words) - 1) if not counting[place] and _is_plain(words, place)}
    for found in (named, numbered, plain):
        if found:
            return float(found.pop()) if len(found) == 1 else None
    return None


def _is_plain(words: list[str], place: int) -> bool:
    """Whether a word between others can be the number of a note: alone, not part of a date, an amount or a model."""
    before, word, after = words[place - 1 : place + 2]
    return (
        re.fullmatch(r"\d{2,3}", word) is not None
        and 21 <= int(word) <= 108
        and not (before.isdecimal() or after.isdecimal())
        and not _UNITS.fullmatch(after)
        and not any(_MODEL.fullmatch(each) and note_number(each) is None for each in (before, after))
    )


def velocity_in(stem: str) -> int:
    """The MIDI velocity a file name tells: 'v100', else dynamics from 'ppp' to 'fff' in small letters; 0 where it tells
    none or several.
    """
    words = _words(stem)
    numbers = {int(match[1]) for word in words if (match := _VELOCITY.fullmatch(word)) and 1 <= int(match[1]) <= 127}
    found = numbers or {DYNAMICS[word] for word in words if word in DYNAMICS}
    return found.pop() if len(found) == 1 else 0


def _words(stem: str) -> list[str]:
    return [word for word in re.split(r"[\s_.,()\[\]-]+", stem) if word]
