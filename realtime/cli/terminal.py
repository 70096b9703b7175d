"""What the user reads: tables of devices, ports and knobs, the summary, one-line notices."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from realtime.bundle import Manifest
from realtime.cli.run_report import RunReport
from realtime.controls.desk import Desk
from realtime.controls.snapshot_file import Snapshot
from realtime.devices.devices import Device
from realtime.hop.meters import Summary
from realtime.knobs.targets import MIXED_OUTPUTS, SLOTS

PLAIN_WIDTH = 160  # columns, when the output goes to a file or pipe
TRUE_CENTS = 50.0  # nearer to its note than to any other


def console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def say(line: str) -> None:
    """One notice, at once also through a pipe."""
    print(line, flush=True)


def show_devices(devices: Sequence[Device]) -> None:
    if not devices:
        say("no sound devices found")
        return
    table = _table("number", "name", "sound system", "inputs", "outputs", "rate (Hz)")
    for device in devices:
        table.add_row(
            str(device.number),
            device.name,
            device.host_api,
            str(device.inputs),
            str(device.outputs),
            f"{device.default_rate:g}",
        )
    console().print(table)


def show_ports(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for kind, ports in (("inputs", inputs), ("outputs", outputs)):
        say("\n".join((f"MIDI {kind}:", *(f"  {port}" for port in ports))) if ports else f"no MIDI {kind} found")


def show_knobs(manifest: Manifest, desk: Desk, sources: Mapping[str, str], snapshots: Sequence[Snapshot]) -> None:
    """Every target with its range, what moves it, and how much it changes the sound; presets, notes and snapshots."""
    axes = {axis.name: axis for axis in (*manifest.axes, *manifest.variation_axes, *manifest.pitch_axes)}
    table = _table("knob", "low", "high", "rest", "unit", "moved by", "effect (dB per 1)", "meaning")
    for target in desk.targets:
        axis = axes.get(target.name)
        meaning = axis.label if axis else ""
        if axis and axis.descriptor:
            meaning += (
                f" ({axis.descriptor}, correlation {axis.correlation:.2f})"
                if axis.correlation is not None
                else f" ({axis.descriptor})"
            )
        effect = f"{axis.effect_db:.2f}" if axis else ""
        ends = (f"{value:g}" for value in (target.low, target.high, target.default))
        table.add_row(target.name, *ends, target.unit, sources.get(target.name, ""), effect, meaning)
    console().print(table)
    presets = _table("preset", "name", "family")
    presets.add_row("0", "your own timbre", "")
    for number, preset in enumerate(manifest.presets, 1):
        presets.add_row(str(number), preset.name, preset.family)
    presets.add_row(
        f"{len(manifest.presets) + 1} … {len(manifest.presets) + SLOTS}",
        f"own 1 … own {SLOTS}",
        "captured, or from files",
    )
    console().print(presets)
    console().print(describe_notes(manifest))
    for snapshot in snapshots:
        say(snapshot.title)


def describe_notes(manifest: Manifest) -> str:
    """Which MIDI notes the model can be played with, by what was measured when it was released. One sentence."""
    anchors = manifest.pitch_anchors
    if manifest.harmonic:
        return "notes: with keys = 1 and synth, MIDI notes sound at their exact pitch, up to 8 at a time"
    if not anchors:
        return "notes: this model has no measured pitches, so MIDI notes and pitch_semitones play nothing"
    true = [
        anchor.midi_note
        for anchor in anchors
        if anchor.error_cents is not None and abs(anchor.error_cents) <= TRUE_CENTS
    ]
    near = f"within {TRUE_CENTS:g} cents of the note"
    if not true:
        return (
            f"notes: none of the {len(anchors)} pitches measured in this model is {near}; keys = 1 plays timbres, not "
            "tunes"
        )
    runs = _spans(true, [anchor.midi_note for anchor in anchors])
    spans = ", ".join(f"{low:g} … {high:g}" if high > low else f"{low:g}" for low, high in runs)
    return (
        f"notes: with keys = 1 and resynth, these MIDI notes sound {near}: {spans} ({len(true)} of {len(anchors)} "
        "measured)"
    )


def _spans(chosen: Sequence[float], notes: Sequence[float]) -> list[tuple[float, float]]:
    """Runs of neighbours among the notes."""
    runs: list[tuple[float, float]] = []
    before: float | None = None
    for note in notes:
        if note in chosen:
            runs = [*runs[:-1], (runs[-1][0], note)] if runs and before == runs[-1][1] else [*runs, (note, note)]
        before = note
    return runs


def show_summary(report: RunReport) -> None:
    """The end-of-run report, in lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    live = "xruns" in report.more
    for name, value in (
        _summary_lines(report.summary)
        + _guard_lines(report.more)
        + (_live_lines(report.more) if live else _file_lines(report))
    ):
        table.add_row(name, value)
    console().print(table)


def _summary_lines(summary: Summary) -> list[tuple[str, str]]:
    times = {"median": summary.hop_ms_median, "p99": summary.hop_ms_p99, "max": summary.hop_ms_max}
    hop = ", ".join(f"{name} {value:.2f}" for name, value in times.items() if value is not None) or "not measured"
    return [
        ("sound", f"{summary.audio_seconds:.1f} s at {summary.sample_rate} Hz"),
        ("real-time factor", f"{summary.real_time_factor:.1f} × real time"),
        ("ms per hop", hop),
        ("latency", f"{summary.latency_samples} samples, {summary.latency_ms:.2f} ms"),
        (
            "hops",
            f"{summary.hops}: {summary.silent_hops} silent, {summary.late_hops} late, {summary.failed_hops} failed",
        ),
        ("clipped samples", str(summary.clipped_samples)),
        ("provider", summary.provider),
        ("bundle", summary.bundle),
    ]


def _guard_lines(more: Mapping[str, object]) -> list[tuple[str, str]]:
    done = (
        f"{more['limited_samples']} samples limited, {more['repaired_samples']} repaired, {more['bypassed_hops']} hops "
        "without the model"
    )
    done += f", {more['shortened_steps']} steps of resynth shortened"
    return [("kept whole", done)]


def _file_lines(report: RunReport) -> list[tuple[str, str]]:
    more = report.more
    lines = [("ways out", f"{_ways(more)}; {more['latency_samples_taken_off']} taken off"), _midi_line(more)]
    if more["samples_beyond_full_scale"] and not report.summary.clipped_samples:
        kept = f"{more['samples_beyond_full_scale']} samples, kept in the float file; a player cuts them off"
        lines.insert(0, ("beyond full scale", kept))
    return lines


def _ways(more: Mapping[str, object]) -> str:
    ways = [way for way in ("morph", *MIXED_OUTPUTS) if f"latency_samples_{way}" in more]
    return ", ".join(f"{way} {more[f'latency_samples_{way}']}" for way in ways) + " samples late"


def _live_lines(more: Mapping[str, object]) -> list[tuple[str, str]]:
    told = {direction: more[f"device_{direction}_latency_ms"] for direction in ("input", "output")}
    latency = ", ".join(f"{direction} {value:.2f} ms" for direction, value in told.items() if isinstance(value, float))
    lines = [
        ("ways out", _ways(more)),
        ("device latency", latency or "the driver tells none"),
        (
            "dropouts",
            f"{more['xruns']} flagged by the driver, {more['late_blocks']} late blocks, {more['restarts']} restarts",
        ),
        ("model", "in a worker, a hop later" if more["worker"] else "on the audio thread"),
        _midi_line(more),
    ]
    if "recorded_frames" in more:
        lines.append(("recorded", f"{more['recorded_frames']} frames, {more['lost_frames']} lost"))
    return lines


def _midi_line(more: Mapping[str, object]) -> tuple[str, str]:
    dropped = f", {more['midi_dropped']} dropped" if "midi_dropped" in more else ""
    return "MIDI", f"{more['midi_messages']} messages moved a knob, {more['midi_ignored']} could not{dropped}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
