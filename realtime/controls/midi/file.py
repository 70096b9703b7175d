"""MIDI files as events on the samples they fall on."""

from __future__ import annotations

from pathlib import Path

import mido

from realtime.controls.midi.parser import is_channel_message
from realtime.controls.midi.ports import MidiError


def file_events(path: Path, sample_rate: float) -> list[tuple[int, list[int]]]:
    """All channel messages of a MIDI file with the sample they fall on, in order; the tempo map is respected.

    Raises
    ------
    MidiError
        Missing, empty, truncated, not a MIDI file, or one without a common time base.
    """
    if not path.is_file():
        raise MidiError(f"no MIDI file at {path}")
    try:
        file = mido.MidiFile(path)
    except EOFError:
        what = "is empty" if path.stat().st_size == 0 else "ends too early (truncated?)"
        raise MidiError(f"{path} {what}; export it again") from None
    except Exception as error:  # mido raises whatever the bytes lead it to
        raise MidiError(f"{path} is not a MIDI file ({' '.join(str(error).split()) or type(error).__name__})") from None
    if file.type == 2 or file.ticks_per_beat <= 0:
        kind = "independent tracks (type 2)" if file.type == 2 else "SMPTE time"
        raise MidiError(f"{path} uses {kind}; save it as type 0 or 1 with ticks per beat")
    return _timed(file, sample_rate)


def _timed(file: mido.MidiFile, sample_rate: float) -> list[tuple[int, list[int]]]:
    """Ticks are added up as whole numbers and each tempo counted once, so that no rounding piles up."""
    events = []
    tempo = 500_000  # µs per quarter note until the file says otherwise (MIDI file specification)
    time = 0  # so far, in ticks × µs per quarter note
    for message in mido.merge_tracks(file.tracks):
        time += message.time * tempo
        if message.type == "set_tempo":
            tempo = message.tempo
        elif not message.is_meta and is_channel_message(message.bytes()):
            events.append((round(time * sample_rate / (1_000_000 * file.ticks_per_beat)), message.bytes()))
    return events
