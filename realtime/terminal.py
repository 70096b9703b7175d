"""What the user reads: tables of devices, ports and knobs, the summary, one-line notices."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from realtime.bundle import Manifest
from realtime.controls import KnobBank
from realtime.devices import Device
from realtime.meters import Summary

PLAIN_WIDTH = 160  # columns, when the output goes to a file or pipe


def console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def say(line: str) -> None:
    """One notice, at once also through a pipe."""
    print(line, flush=True)


def silence_native_libraries() -> None:
    """Keep the chatter of C libraries (ALSA, JACK) off the terminal; Python's own error stream stays."""
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    sys.stderr = open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def show_devices(devices: Sequence[Device]) -> None:
    if not devices:
        say("no sound devices found")
        return
    table = _table("number", "name", "sound system", "inputs", "outputs", "rate (Hz)")
    for device in devices:
        table.add_row(str(device.number), device.name, device.host_api, str(device.inputs), str(device.outputs), f"{device.default_rate:g}")
    console().print(table)


def show_ports(ports: Sequence[str]) -> None:
    say("\n".join(ports) if ports else "no MIDI inputs found")


def show_knobs(manifest: Manifest, bank: KnobBank, sources: Mapping[str, str]) -> None:
    """Every target with its range, what moves it, and how much it changes the sound."""
    axes = {axis.name: axis for axis in manifest.axes}
    table = _table("knob", "low", "high", "rest", "unit", "MIDI", "effect (dB per 1)", "meaning")
    for target in bank.targets:
        axis = axes.get(target.name)
        meaning = axis.label if axis else ""
        if axis and axis.descriptor:
            meaning += f" ({axis.descriptor}, correlation {axis.correlation:.2f})" if axis.correlation is not None else f" ({axis.descriptor})"
        effect = f"{axis.effect_db:.2f}" if axis else ""
        ends = (f"{value:g}" for value in (target.low, target.high, target.default))
        table.add_row(target.name, *ends, target.unit, sources.get(target.name, ""), effect, meaning)
    console().print(table)
    presets = _table("preset", "name", "family")
    presets.add_row("0", "your own timbre", "")
    for number, preset in enumerate(manifest.presets, 1):
        presets.add_row(str(number), preset.name, preset.family)
    console().print(presets)


def show_summary(summary: Summary, live: Mapping[str, object] | None = None) -> None:
    """The end-of-run account, in lines. `live` adds what only a stream has (see live.py)."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _summary_lines(summary) + (_live_lines(live) if live else []):
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
        ("hops", f"{summary.hops}: {summary.silent_hops} silent, {summary.late_hops} late, {summary.failed_hops} failed"),
        ("clipped samples", str(summary.clipped_samples)),
        ("provider", summary.provider),
        ("bundle", summary.bundle),
    ]


def _live_lines(live: Mapping[str, object]) -> list[tuple[str, str]]:
    told = {direction: live[f"device_{direction}_latency_ms"] for direction in ("input", "output")}
    latency = ", ".join(f"{direction} {value:.2f} ms" for direction, value in told.items() if isinstance(value, float))
    return [
        ("device latency", latency or "the driver tells none"),
        ("dropouts", f"{live['xruns']} flagged by the driver, {live['restarts']} restarts"),
        ("MIDI", f"{live['midi_messages']} messages moved a knob, {live['midi_ignored']} had no preset"),
    ]


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
