"""Whole sounds through a session, faster than real time, knob events on the sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.progress import Progress

from realtime.session import Session

LONG_SECONDS = 20.0  # from here on a progress bar is worth its place
Event = tuple[int, Callable[[], object]]


def render(
    session: Session, audio: np.ndarray, rate: float, events: Sequence[Event] = (), block_size: int = 512
) -> np.ndarray:
    """Pass a sound through the session in blocks, cut where an event is due.

    Parameters
    ----------
    audio : (frames, channels), float32
    rate : Hz, must be the session's
    events : (sample, action) pairs in any order; an action sets knobs before the sample it is due at
    block_size : samples

    Returns
    -------
    ndarray, (frames, channels), float32; as long as the input and in step with it: a session's latency is taken off

    Raises
    ------
    ValueError
        If the sound is not what the session was made for.
    """
    if rate != session.sample_rate or audio.ndim != 2 or audio.shape[1] != session.channels:
        raise ValueError(
            f"{audio.shape} samples at {rate:g} Hz, but the session is for {session.channels} channels at "
            f"{session.sample_rate:g} Hz"
        )
    if block_size < 1:
        raise ValueError(f"block_size={block_size} must be at least 1")
    late = session.latency_samples
    audio = np.concatenate([audio, np.zeros((late, session.channels), audio.dtype)]) if late else audio
    out = np.empty_like(audio, np.float32)
    # Stable: events of one sample stay in order.
    due = sorted(((sample + late, action) for sample, action in events), key=lambda event: event[0])
    done = n = 0
    with _progress(len(audio) / rate) as progress:
        task = progress.add_task("rendering", total=len(audio))
        while done < len(audio):
            while n < len(due) and due[n][0] <= done:
                due[n][1]()
                n += 1
            end = min(len(audio), done + block_size, *(sample for sample, _ in due[n : n + 1]))
            session.process_block(audio[done:end], out[done:end])
            if not progress.disable:
                progress.update(task, completed=end)
            done = end
    return out[late:]


def _progress(seconds: float) -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=seconds < LONG_SECONDS or not console.is_terminal)
