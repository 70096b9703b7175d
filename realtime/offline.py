"""Playing a file: the same session, the same knobs, faster than real time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from realtime.audio_files import AudioFileError, output_format, read_audio, write_audio
from realtime.bundle import Bundle
from realtime.controls import KnobBank
from realtime.engine import EngineError
from realtime.knobmap import KnobMap
from realtime.meters import Summary
from realtime.midi import file_events
from realtime.render import render
from realtime.session import Session

USUAL_BLOCK_SAMPLES = 512


class OfflineError(Exception):
    """A file that cannot be played or written; the message says why and what to do."""


def play_file(
    bundle: Bundle,
    bank: KnobBank,
    knob_map: KnobMap,
    *,
    source: Path,
    target: Path,
    midi: Path | None,
    block_size: int,
    provider: str,
    seconds: float | None,
    say: Callable[[str], None],
) -> Summary:
    """Play `source` into `target`; the MIDI file turns knobs through the map.

    block_size : samples, 0 = the usual;  seconds : how much of the file, None = all;  say : called with one line per warning

    Raises
    ------
    OfflineError, realtime.midi.MidiError
        Nothing is then written, and an old `target` is still whole.
    """
    try:
        output_format(target)
        audio = read_audio(source)
        samples = audio.samples if seconds is None else audio.samples[: max(1, round(seconds * audio.sample_rate))]
        events = [(sample, partial(knob_map.apply, message, bank)) for sample, message in file_events(midi, audio.sample_rate)] if midi else []
        session = Session(bundle, bank, channels=samples.shape[1], sample_rate=audio.sample_rate, provider=provider)
        played = render(session, samples, audio.sample_rate, events, block_size or USUAL_BLOCK_SAMPLES)
        for warning in (*audio.warnings, *write_audio(target, played, audio.sample_rate)):
            say(warning)
    except (AudioFileError, EngineError) as error:
        raise OfflineError(str(error)) from None
    except ValueError as error:  # a rate the session refuses
        raise OfflineError(f"{source}: {error}") from None
    return session.summary(bundle.path.name)
