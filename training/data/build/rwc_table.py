"""The instruments of the RWC Musical Instrument Sound Database (RWC-MDB-I-2001) and where its file names and its own
list say what a file is.

A file is called NNVSSYYD: instrument number and variation (011 … 503), instrument symbol (PF), playing style (NO),
dynamics (F, M, P), for example 011PFNOF.WAV, in a folder of that number (RWC-I/011/011PFNOF.WAV, or
RWC-MDB-I-2001-W01/011/011PFNOF.WAV). The release of 2026 (Zenodo record 17170844) carries
`02_instruments_details_en.csv` with the instrument and the pitch range of every file. Without that list this table
stands in: usual playing ranges, sounding pitch, so a file whose sounds do not fit is aligned by estimated pitches.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.labels import note_number
from training.data.manifest import DataError

LIST_NAME = "02_instruments_details_en.csv"
FILE_NAME = re.compile(r"(\d{2})(\d)([A-Z][A-Z0-9])([A-Z0-9]{2})([FMP])")
VELOCITIES = {"P": 40, "M": 80, "F": 115}


@dataclass(frozen=True)
class Instrument:
    """`low`, `high`: lowest and highest MIDI note, both None where it is not pitched."""

    name: str
    family: str
    low: int | None
    high: int | None


# Per family: number, symbol, name, lowest and highest note. Several instruments of one number are variations of it.
_TABLE: dict[str, str] = {
    "keyboard": (
        "01 PF Pianoforte A0 C8, 02 EP Electric Piano E1 E7, 03 HC Harpsichord F1 F6, 06 OR Pipe Organ C2 C7, "
        "07 AC Accordion F3 A6"
    ),
    "mallet": "04 GL Glockenspiel G5 C8, 04 XY Xylophone F4 C8, 05 VI Vibraphone F3 F6, 05 MB Marimba C3 C7",
    "reed organ": "08 HM Harmonica C4 C7",
    "plucked": (
        "09 CG Classic Guitar E2 B5, 10 UK Ukulele C4 A5, 11 AG Acoustic Guitar E2 D6, 12 MD Mandolin G3 A6, "
        "13 EG Electric Guitar E2 D6, 14 EB Electric Bass E1 G4, 19 HP Harp C1 G7, 36 BJ Banjo C3 C6"
    ),
    "string": "15 VN Violin G3 E7, 16 VL Viola C3 F6, 17 VC Cello C2 F5, 18 CB Contrabass E1 A4",
    "timpani": "20 TI Timpani C2 C4",
    "brass": "21 TR Trumpet E3 A#5, 22 TB Trombone A#1 C#5, 23 TU Tuba D1 F4, 24 HR Horn D2 F5",
    "woodwind": (
        "25 SS Soprano Sax G#3 E6, 26 AS Alto Sax C#3 A5, 27 TS Tenor Sax G#2 E5, 28 BS Baritone Sax C2 A4, "
        "29 OB Oboe A#3 G6, 29 EH English Horn E3 A5, 30 FG Bassoon A#1 D5, 31 CL Clarinet D3 F6, "
        "32 PC Piccolo D5 C8, 33 FL Flute C4 C7, 33 PN Pan Flute G4 G6, 34 RC Recorder F3 G6, 35 SH Shakuhachi D4 D6"
    ),
    "Japanese": "37 SM Shamisen C3 C6, 38 KT Koto D3 D6",
    "voice": "46 SO Soprano C4 C6, 46 AL Alto F3 F5, 46 TN Tenor C3 C5, 46 BT Baritone G2 G4, 46 BA Bass E2 E4",
}
_LAST_KNOWN = 38  # up to here a number alone tells the instrument, if it has only one
_DRUMS, _FIRST_VOICE = range(40, 46), 45  # sources differ on where the voices begin, so their symbols decide


def _instruments() -> dict[str, tuple[int, Instrument]]:
    """By symbol: number and instrument."""
    found = {}
    for family, entries in _TABLE.items():
        for entry in entries.split(", "):
            number, symbol, *name, low, high = entry.split()
            found[symbol] = int(number), Instrument(" ".join(name), family, note_number(low), note_number(high))
    return found


INSTRUMENTS = _instruments()


def known_instrument(number: int, symbol: str) -> Instrument | None:
    """The instrument of a number and symbol, else the only one with this number; a drum by its symbol; None where that
    would be a guess.
    """
    of, instrument = INSTRUMENTS.get(symbol, (0, None))
    if instrument and (number <= _LAST_KNOWN if of <= _LAST_KNOWN else number >= _FIRST_VOICE):
        return instrument
    if number in _DRUMS:
        return Instrument(f"Drums {number} {symbol}", "percussion", None, None)
    same_number = [other for of, other in INSTRUMENTS.values() if of == number]
    return same_number[0] if len(same_number) == 1 and number <= _LAST_KNOWN else None


@dataclass(frozen=True)
class Range:
    """What a list says of one file (or of a symbol): instrument ("" if it does not say), lowest and highest note, None
    if unpitched.
    """

    instrument: str
    low: int | None
    high: int | None


def read_list(path: Path) -> dict[str, Range]:
    """The database's own list, by file name in capitals without ending; columns as in the release of 2026."""
    rows = list(csv.DictReader(io.StringIO(_text(path), newline="")))
    if not rows or "Instrument name" not in rows[0]:
        raise DataError(
            f"{path} has no column 'Instrument name', so it is not the database's list; restore it or move it out of "
            f"the source"
        )
    found, instrument = {}, ""
    for row in rows:
        instrument = (row["Instrument name"] or "").strip() or instrument  # written once for all its rows
        for dynamics in VELOCITIES:
            stem = Path((row.get(f"File name ({dynamics})") or "").strip()).stem.upper()
            if stem:
                ends = [note_number(note) for note in (row.get(f"Pitch range ({dynamics})") or "").split(">>")]
                low, high = (ends[0], ends[-1]) if None not in ends else (None, None)
                found[stem] = Range(_plain(instrument), low, high)
    return found


def read_ranges(path: Path) -> dict[str, Range]:
    """--ranges: a line per file name or symbol, lowest note, highest note ('011PFNOF,A0,C8' or 'VN,55,100'); both
    empty: unpitched.
    """
    found = {}
    for number, line in enumerate(csv.reader(io.StringIO(_text(path), newline="")), start=1):
        cells = [cell.strip() for cell in line]
        if not any(cells) or cells[0].startswith("#"):
            continue
        ends = [int(cell) if cell.isdecimal() else note_number(cell) for cell in cells[1:3] if cell]
        in_order = len(cells) == 3 and (
            not ends or (len(ends) == 2 and None not in ends and 0 <= (ends[0] or 0) <= (ends[1] or 0) <= 127)
        )
        if not in_order:
            raise DataError(
                f"{path} line {number}: {','.join(line)!r} is not 'file or symbol,lowest note,highest note'; write "
                f"for example VN,G3,E7"
            )
        found[Path(cells[0]).stem.upper()] = Range("", *(ends or (None, None)))
    return found


def with_range(instrument: Instrument, found: Range) -> Instrument:
    """The instrument as the list has it."""
    return replace(instrument, name=found.instrument or instrument.name, low=found.low, high=found.high)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())}); give a CSV file in UTF-8") from None


def _plain(name: str) -> str:
    """'BASSOON (FAGOTTO)' → 'Bassoon', 'TIMPANI 1 (23 inches)' → 'Timpani'."""
    return re.sub(r"\s*(\(.*|\d.*)$", "", name.rpartition("/")[2].strip()).title()
