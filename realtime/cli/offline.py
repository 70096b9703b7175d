"""Playing a file: the same session, the same desk, faster than real time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from realtime.bundle import Bundle
from realtime.cli.run_report import RunReport, counted, knobs_of
from realtime.cli.setup import PlayerSetup
from realtime.controls.midi.file import file_events
from realtime.files.audio_files import AudioFileError, output_format, read_audio, write_audio
from realtime.hop.model import EngineError
from realtime.render import render
from realtime.session import Session, SessionOptions

USUAL_BLOCK_SAMPLES = 512


class OfflineError(Exception):
    """A file that cannot be played or written; the message says why and what to do."""


@dataclass(frozen=True)
class Take:
    """What to play, and how.

    midi : turns knobs through the map;  block_size : samples, 0 = the usual
    seconds : how much of the source, None = all
    latency_ms : of resynth;  limit : keep below full scale
    """

    source: Path
    target: Path
    midi: Path | None
    block_size: int
    provider: str
    seconds: float | None
    latency_ms: float
    limit: bool


def play_file(
    bundle: Bundle, setup: PlayerSetup, published: np.ndarray, take: Take, say: Callable[[str], None]
) -> RunReport:
    """Play a file into another. The way out chosen at the start sets what is taken off as latency.

    published : the record that the setup captures timbres from
    say : called with one line per warning

    Raises
    ------
    OfflineError, realtime.controls.midi.ports.MidiError
        Nothing is then written, and an old target is still whole.
    """
    desk = setup.desk
    try:
        _, subtype = output_format(take.target)
        audio = read_audio(take.source)
        rate = audio.sample_rate
        samples = audio.samples if take.seconds is None else audio.samples[: max(1, round(take.seconds * rate))]
        events = (
            [(sample, partial(setup.knob_map.apply, message, desk)) for sample, message in file_events(take.midi, rate)]
            if take.midi
            else []
        )
        session = Session(
            bundle,
            desk.bank,
            channels=samples.shape[1],
            sample_rate=rate,
            published=published,
            options=SessionOptions(provider=take.provider, latency_ms=take.latency_ms, limit=take.limit),
        )
        taken_off = session.latency_samples
        played = render(session, samples, rate, events, take.block_size or USUAL_BLOCK_SAMPLES)
        for warning in (*audio.warnings, *write_audio(take.target, played, rate)):
            say(warning)
    except (AudioFileError, EngineError) as error:
        raise OfflineError(str(error)) from None
    except ValueError as error:  # a rate the session refuses
        raise OfflineError(f"{take.source}: {error}") from None
    summary = session.summary(bundle.path.name)
    beyond = summary.clipped_samples
    if subtype == "FLOAT":
        summary = replace(summary, clipped_samples=0)
    more: dict[str, object] = {
        **{f"latency_samples_{way}": samples for way, samples in session.latencies.items()},
        "latency_samples_taken_off": taken_off,
        "samples_beyond_full_scale": beyond,
        **counted(session.meters),
        "midi_messages": setup.knob_map.applied,
        "midi_ignored": setup.knob_map.ignored,
        "knobs": knobs_of(desk),
    }
    return RunReport(summary, more)
