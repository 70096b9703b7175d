"""Latency through a real JACK server, exact to the sample.

`python -m realtime.run` plays between a microphone and a loudspeaker that are JACK clients.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jack.performance import Performance
from benchmarks.jack.rig import Clients
from benchmarks.jack.server import jack_server
from benchmarks.latency.inside import INPUT_PHASE, REBUILT, REST, Row, Way
from benchmarks.latency.measure import Delays, delays_of, impulse_delays, onset_delays
from benchmarks.latency.response import Response
from benchmarks.latency.sounds import MarkedSound, bursts, impulses, steady
from realtime.bundle import Bundle

PLAYING = "playing "  # what realtime.run says when sound passes
GAIN_CC, TIMBRE_CC = 29, 20  # of the built-in map
LEAST_CHANGE = 1e-6  # of the input's peak: a fade's first sample is louder
# a knob stays where it was turned for so long, then goes back and is at rest, bit for bit, before its next turn
TURNED_SECONDS = 0.06


@dataclass(frozen=True)
class Setting:
    """One start of realtime.run.  block : --block-size, 0 = the driver's choice;  period : the server's"""

    way: Way
    block: int = 0
    period: int = 256
    latency_ms: float = 6.0


def settings(*, quick: bool) -> tuple[Setting, ...]:
    if quick:
        return (Setting(REST), Setting(REST, block=256), Setting(INPUT_PHASE))
    driver = [Setting(REST, period=period) for period in (64, 256, 1024)]
    fixed = [Setting(REST, block=block) for block in (64, 128, 256, 333, 512, 2048)]
    resynth = [Setting(INPUT_PHASE, latency_ms=latency_ms) for latency_ms in (3.0, 6.0, 12.0, 25.0, 50.0)]
    return (
        *driver,
        *fixed,
        *resynth,
        Setting(INPUT_PHASE, block=256),
        Setting(INPUT_PHASE, period=64),
        Setting(REBUILT),
    )


def rows(bundle: Bundle, chosen: Sequence[Setting], *, sample_rate: int, count: int, seed: int = 0) -> Iterator[Row]:
    """One per setting; the server runs faster than real time while it is listened to."""
    rng = np.random.default_rng(seed)
    clicks, onsets = impulses(rng, sample_rate, count), bursts(rng, sample_rate, count)
    with tempfile.TemporaryDirectory() as place, jack_server(sample_rate, 256), Clients(Path(place)) as clients:
        for setting in chosen:
            clients.period(setting.period)
            row, disturbed = _listen(clients, Path(place), bundle, setting, clicks, onsets)
            if disturbed:  # the machine was busy elsewhere; once more
                row, _ = _listen(clients, Path(place), bundle, setting, clicks, onsets)
            yield row


def _listen(
    clients: Clients, folder: Path, bundle: Bundle, setting: Setting, clicks: MarkedSound, onsets: MarkedSound
) -> tuple[Row, bool]:
    """One start of realtime.run, and whether it bypassed hops that came too late, so that something else was heard."""
    options = [*_common(bundle), "--no-worker", "--block-size", str(setting.block)]
    for name, value in setting.way.knobs.items():
        options += ["--knob", f"{name}={value:g}"]
    if setting.way.resynth:
        options += ["--latency-ms", f"{setting.latency_ms:g}"]
    found: dict[str, Delays | None] = dict.fromkeys(("impulse", "burst", "pluck"))
    with Performance(folder, *options) as performance:
        performance.wait_for(PLAYING)
        if setting.way.exact:
            found["impulse"] = impulse_delays(clicks, _heard(clients, clicks.samples), symmetric=setting.way.symmetric)
        if setting.way.resynth:
            found["burst"] = onset_delays(onsets, _heard(clients, onsets.samples))
        account = performance.end()
    return _row(setting, bundle, clicks.sample_rate, account, found), bool(account.get("bypassed_hops"))


def _heard(clients: Clients, sound: np.ndarray) -> np.ndarray:
    clients.load(sound)
    clients.freewheel(True)
    try:
        clients.play()
        return clients.heard(len(sound))
    finally:
        clients.freewheel(False)


def _row(
    setting: Setting, bundle: Bundle, sample_rate: int, account: dict[str, Any], found: dict[str, Delays | None]
) -> Row:
    return Row(
        way=setting.way.name,
        place=f"JACK, period {setting.period}",
        sample_rate=sample_rate,
        block="driver's" if setting.block == 0 else str(setting.block),
        latency_ms=setting.latency_ms if setting.way.resynth else None,
        reported=int(account["latency_samples"]),
        device=setting.block,  # PortAudio adapts a fixed block to the server's period through one block of its own
        hop=bundle.manifest.features.hop_seconds * sample_rate,
        exact=setting.way.exact,
        **found,
    )


def responses(bundle: Bundle, *, periods: Sequence[int], count: int, seed: int = 0) -> Iterator[Response]:
    """CC to audible change, in real time: a message's own sample time to the first sample that is not what it would
    have been.

    The last period once more with inference beside the audio thread, which answers a hop later.
    """
    rate = bundle.manifest.features.sample_rate
    with tempfile.TemporaryDirectory() as place, jack_server(rate, periods[0]), Clients(Path(place)) as clients:
        for period, worker in (*((period, False) for period in periods), (periods[-1], True)):
            clients.period(period)
            with Performance(Path(place), *_common(bundle), "--worker" if worker else "--no-worker") as performance:
                performance.wait_for(PLAYING)
                performance.wait_for("MIDI input: keys")
                yield _response(clients, bundle, period, count, np.random.default_rng(seed + period), worker=worker)
                performance.end()


def _common(bundle: Bundle) -> list[str]:
    return ["--bundle", str(bundle.path.resolve()), "--seconds", "3600"]


def _response(
    clients: Clients, bundle: Bundle, period: int, count: int, rng: np.random.Generator, *, worker: bool
) -> Response:
    """Two controllers leave their middle in turns, at random samples, and go back."""
    features = bundle.manifest.features
    rate = features.sample_rate
    moments = round(rate) + np.cumsum(rng.integers(round(0.5 * rate), round(0.6 * rate), count))
    sound = steady(rng, rate, float(moments[-1]) / rate + 0.5)
    back = round(TURNED_SECONDS * rate)
    turns = [(int(moment), (GAIN_CC, TIMBRE_CC)[i % 2]) for i, moment in enumerate(moments)]
    clients.load(sound)
    clients.midi_at(
        [event for moment, cc in turns for event in ((moment, [0xB0, cc, 100]), (moment + back, [0xB0, cc, 64]))]
    )
    clients.play()
    out = clients.heard(len(sound))
    usable = [moment for moment, _ in turns if _steady(out, sound, moment, back)]
    found: list[float | None] = [_departure(out, sound, moment, back) for moment in usable]
    limit = features.hop_samples * (2 if worker else 1) + period
    within = float(np.mean([value is not None and value <= limit for value in found])) if found else 0.0
    title = f"gain_db and timbre[0], by CC{', --worker' if worker else ''}"
    return Response(
        title, f"JACK, period {period}", "driver's", rate, delays_of(found), limit, within, count - len(usable)
    )


def _steady(out: np.ndarray, sound: np.ndarray, moment: int, longest: int) -> bool:
    """Whether all was at rest before the moment and the server, on a busy machine, lost no time around it."""
    before = slice(moment - 512, moment)
    return np.array_equal(out[before], sound[before]) and bool(np.isfinite(out[moment : moment + longest]).all())


def _departure(out: np.ndarray, sound: np.ndarray, moment: int, longest: int) -> float | None:
    heard = slice(moment, moment + longest)
    changed = np.flatnonzero(np.abs(out[heard] - sound[heard]) > LEAST_CHANGE)
    return float(changed[0]) if len(changed) else None
