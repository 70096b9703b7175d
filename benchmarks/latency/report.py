"""The report of `benchmarks.latency`: a verdict for every promise, a table of what was reported and measured, the
response of knobs, two pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Picture

from benchmarks.latency.inside import Row
from benchmarks.latency.measure import Delays
from benchmarks.latency.response import Response, Settling, Tracking
from training.evaluation.report import picture, save_picture, table, write_report

RESYNTH_TARGET_MS = 6.0
INTRODUCTION = """# Latency

What the program says its latency is, against what was measured: single samples, noise bursts and plucked notes of a
sampled guitar at random places inside a block, through `Session.process_block` and through `python -m realtime.run`
between a microphone and a loudspeaker on a JACK server, stamped with the server's own sample time. Mean = latency,
spread = jitter. Reproduce it with `python -m benchmarks.latency`.
"""


@dataclass
class Measured:
    """All of a run, in the order in which it was measured.  no_jack : why nothing was measured through JACK, or "" """

    rows: list[Row] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    settlings: list[Settling] = field(default_factory=list)
    trackings: list[Tracking] = field(default_factory=list)
    no_jack: str = ""


@dataclass(frozen=True)
class Promise:
    sentence: str
    kept: bool


def promises(measured: Measured) -> list[Promise]:
    """What is promised of latency, each held against the figures."""
    rows, responses = measured.rows, measured.responses
    exact = [row for row in rows if row.exact]
    spread = [row for row in rows if not row.exact]
    found = [_all("Reported latency equals measured latency to the sample", exact)]
    if spread:
        sentence = (
            "Rebuilt phases, where no sample of an impulse is left to point at: onsets come when reported within a "
            "hop, on average"
        )
        found.append(_all(sentence, spread))
    morph = [row for row in rows if row.way.startswith("morph") and row.block != "driver's" and row.device == 0]
    found.append(
        Promise(
            f"Morph adds 0 samples at every block size in process ({_blocks(morph)})",
            all(row.total == 0 and row.holds for row in morph),
        )
    )
    direct = [row for row in rows if row.way.startswith("morph") and row.block == "driver's"]
    if direct:
        found.append(
            Promise(
                "Morph through JACK at --block-size 0 adds 0 samples",
                all(row.total == 0 and row.holds for row in direct),
            )
        )
    fixed = [row for row in rows if row.device]
    if fixed:
        found.append(_all("A fixed block of B samples adds exactly B through JACK", fixed))
    for rate in dict.fromkeys(row.sample_rate for row in rows):
        six = [
            1000 * row.reported / rate
            for row in rows
            if row.latency_ms == RESYNTH_TARGET_MS and row.sample_rate == rate
        ]
        if six:
            found.append(
                Promise(
                    f"Resynth at --latency-ms 6 and {rate} Hz: {max(six):.2f} ms algorithmic",
                    max(six) <= RESYNTH_TARGET_MS + 0.05,
                )
            )
    jitter = [
        delays.deviation
        for row in rows
        for delays in (row.impulse, row.burst, row.pluck)
        if delays is not None and delays.count
    ]
    found.append(
        Promise(
            f"Jitter is at most one hop: the largest standard deviation is {max(jitter):.1f} samples",
            max(jitter) <= rows[0].hop,
        )
    )
    for place, chosen in (("in process", False), ("through JACK", True)):
        some = [response for response in responses if response.place.startswith("JACK") == chosen]
        if some:
            within = min(response.within for response in some)
            sentence = (
                f"Knob to audible change within one hop and one block, {place}: {within:.0%} of the moves where it is "
                "worst"
            )
            found.append(Promise(sentence, all(response.holds for response in some)))
    return found


def _all(sentence: str, rows: Sequence[Row]) -> Promise:
    return Promise(
        f"{sentence}: {sum(row.holds for row in rows)} of {len(rows)} settings", all(row.holds for row in rows)
    )


def _blocks(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(row.block for row in rows))


def write(out: Path, measured: Measured, about: dict[str, Any]) -> str:
    """report.md, report.json and the pictures; returns the text."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [
        INTRODUCTION,
        _verdicts(measured),
        save_picture(_agreement(measured.rows), out, "agreement", "reported and measured"),
        _rows(measured),
    ]
    parts += [_responses(measured), _settlings(measured, out), _trackings(measured), _about(about)]
    text = "\n".join(part for part in parts if part)
    content: dict[str, Any] = {
        "promises": [asdict(promise) for promise in promises(measured)],
        "environment": about,
        "no_jack": measured.no_jack,
    }
    content |= {
        name: [part.as_dict() for part in getattr(measured, name)] for name in ("rows", "responses", "settlings")
    }
    content["trackings"] = [asdict(tracking) for tracking in measured.trackings]
    write_report(out, text, content)
    return text


def _verdicts(measured: Measured) -> str:
    lines = [f"- {'✓' if promise.kept else '✗'} {promise.sentence}.\n" for promise in promises(measured)]
    if measured.no_jack:
        lines.append(f"- Not measured through JACK: {measured.no_jack}\n")
    return "## Verdict\n\n" + "".join(lines)


def _rows(measured: Measured) -> str:
    header = [
        "way out",
        "where",
        "Hz",
        "block",
        "--latency-ms",
        "reported",
        "+ device",
        "impulses: mean, lowest … highest",
    ]
    header += ["bursts: mean ± , σ", "plucked: mean ± , σ", "equal"]
    rows = []
    for row in measured.rows:
        cells = [
            row.way,
            row.place,
            str(row.sample_rate),
            row.block,
            "–" if row.latency_ms is None else f"{row.latency_ms:g}",
        ]
        cells += [
            str(row.reported),
            str(row.device) if row.device else "–",
            _exact(row.impulse),
            _blurred(row.burst),
            _blurred(row.pluck),
        ]
        rows.append([*cells, "✓" if row.holds else "✗"])
    told = (
        "Samples. An impulse is found by the middle of its pulse in resynth, which is symmetric with the input's "
        "phases, and by its first sample in "
    )
    told += (
        "morph, whose filter is of minimum phase. Bursts and notes: the lag at which the envelopes of in and out are "
        "most alike, ± half its 95 % "
    )
    told += "interval, σ over them; "
    told += "an edit reshapes an attack, which shows here. *+ device*: what a fixed block costs in PortAudio."
    return f"## Reported and measured\n\n{told}\n\n{table(header, rows)}"


def _exact(found: Delays | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.10g}, {found.lowest:g} … {found.highest:g} ({found.count})" + (
        f", {found.lost} lost" if found.lost else ""
    )


def _blurred(found: Delays | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.1f} ± {found.uncertainty:.1f}, σ {found.deviation:.1f} ({found.count})" + (
        f", {found.lost} lost" if found.lost else ""
    )


def _responses(measured: Measured) -> str:
    if not measured.responses:
        return ""
    header = [
        "knob",
        "where",
        "block",
        "mean",
        "lowest … highest",
        "one hop + one block",
        "within",
        "moves",
        "unusable",
        "kept",
    ]
    rows = []
    for found in measured.responses:
        delays = found.departure
        cells = [
            found.knob,
            found.place,
            found.block,
            f"{delays.mean:.0f}",
            f"{delays.lowest:.0f} … {delays.highest:.0f}",
            f"{found.limit:.0f}",
        ]
        rows.append(
            [*cells, f"{found.within:.0%}", str(delays.count), str(found.unusable), "✓" if found.holds else "✗"]
        )
    told = (
        "Samples from a random moment to the first sample that is not what it would have been. In process the knob "
        "stands there from the next block "
    )
    told += (
        "on, and is read at the next end of a hop. Through JACK the moment is the sample time of the MIDI message; "
        "what is more than in process is "
    )
    told += (
        "the message's way: it reaches the control process in the server's period, waits for its loop to fetch it, "
        "and its value waits in shared "
    )
    told += (
        "memory for the next block. For resynth its latency is part of the limit. Unusable: the server, on this "
        "machine, lost time just then."
    )
    return f"## Knobs: to the first audible change\n\n{told}\n\n{table(header, rows)}"


def _settlings(measured: Measured, out: Path) -> str:
    if not measured.settlings:
        return ""
    rows = []
    for found in measured.settlings:
        seconds = "never" if found.seconds is None else f"{1000 * found.seconds:.0f}"
        rows.append([found.knob, seconds, f"{found.reached:.0%}"])
    told = (
        "While a violin plays, the knob is moved; *whole change* is how the spectrum sounds where the knob has stood "
        "there since the start. The "
    )
    told += (
        "decoder remembers: where less than the whole is reached, what it heard of the old timbre still sounds in it."
    )
    shown = save_picture(_ways(measured.settlings), out, "settling", "the way of a moved knob")
    body = table(["knob", "ms to 90 % of the change made in 2.5 s", "which is so much of the whole change"], rows)
    return f"## Knobs: to the whole change\n\n{told}\n\n{body}\n{shown}"


def _trackings(measured: Measured) -> str:
    if not measured.trackings:
        return ""
    levels = list(measured.trackings[0].seconds)
    rows = [
        [
            f"{found.timbre_seconds:g}",
            *("never" if (value := found.seconds[level]) is None else f"{value:.2f}" for level in levels),
        ]
        for found in measured.trackings
    ]
    told = "Four seconds of piano, then a violin: seconds until z^t has gone so much of its way."
    return (
        "## The timbre follows the "
        f"instrument\n\n{told}\n\n{table(['timbre_seconds', *(f'to {level}, s' for level in levels)], rows)}"
    )


def _about(about: dict[str, Any]) -> str:
    lines = (
        f"{about['cpu']}, {about['processors']} cores; load average {about['load_before']} before, "
        f"{about['load_after']} after; "
    )
    lines += f"{about['seconds']} s. "
    lines += (
        f"Bundle {about['bundle']}: {about['sample_rate']} Hz, hop {about['hop_samples']} samples, window "
        f"{about['window_samples']}. "
    )
    return (
        "## Machine and model\n\n"
        + lines
        + ", ".join(f"{name} {about[name]}" for name in ("python", "numpy", "onnxruntime", "system"))
        + ".\n"
    )


def _agreement(rows: Sequence[Row]) -> Picture:
    """Measured over reported, every setting a mark."""
    figure = picture((6.4, 5.2))
    axes = figure.subplots()
    marks = (("o", "in process"), ("x", "JACK"))
    for marker, place in marks:
        chosen = [
            (row.total, delays.mean)
            for row in rows
            if row.place.startswith(place)
            for delays in (row.impulse, row.burst)
            if delays is not None
        ]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), marker, fillstyle="none", label=place)
    highest = max(row.total for row in rows) * 1.05 + 10
    axes.plot([0, highest], [0, highest], color="grey", linewidth=0.6)
    axes.set(
        xlabel="reported, samples (with the device's fixed block)", ylabel="measured, samples: impulses and bursts"
    )
    axes.legend()
    return figure


def _ways(settlings: Sequence[Settling]) -> Picture:
    figure = picture((8.0, 4.4))
    axes = figure.subplots()
    for found in settlings:
        axes.plot(
            [found.hop_seconds * k for k in range(len(found.shares))], found.shares, label=found.knob, linewidth=1.0
        )
    axes.axhline(1.0, color="grey", linewidth=0.6)
    axes.set(xlabel="seconds after the move", ylabel="share of the whole change", ylim=(-0.1, 1.3))
    axes.legend()
    return figure
