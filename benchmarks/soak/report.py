"""The report of `benchmarks.soak`: a verdict for every promise, the figures behind it, three pictures."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture

from benchmarks.latency.report import Promise
from benchmarks.soak.hops import EndlessResult
from benchmarks.soak.jack import HOP_MS_EDGES, PERIOD, PerformanceRecord
from benchmarks.soak.memory import growth
from training.evaluation.report import picture, save_picture, table, write_report

GROWTH_KIB = 1024.0  # a process may gain so much after its warm-up: an allocator's play, not a leak
BLOCKS_GROWTH = 500  # of Python's allocated blocks
TRACED_KIB = 64.0
WARM_SHARE = 0.2  # of the performance; of the hops `hops.WARM_UP`

INTRODUCTION = """# Endurance

Neiro on a JACK server at {period} samples, its knobs turned by MIDI all the time and the other core at work, beside a
stream in another Python process that only copies; and a session alone, played much longer than any concert, faster than
real time. Reproduce it with `python -m benchmarks.soak --minutes {minutes:g} --hops {hops}`.
"""


def no_worse(ours: int, theirs: int) -> bool:
    """At most as many, or so few more that chance alone explains them (two standard deviations of a count)."""
    return ours <= theirs + 2 * math.sqrt(max(theirs, 1))


def promises(performed: PerformanceRecord | None, endless: EndlessResult | None) -> list[Promise]:
    return [*(_of_performance(performed) if performed else []), *(_of_hops(endless) if endless else [])]


def _of_performance(found: PerformanceRecord) -> list[Promise]:
    ours, theirs = found.neiro, found.copy
    warm = round(WARM_SHARE * len(found.seconds))
    control, audio = growth(found.control_kib, warm), growth(found.audio_kib, warm)
    sentence = f"No worse than a stream that only copies: {ours['xruns']} xruns beside its {theirs['xruns']}, "
    sentence += f"{ours['late_blocks']} blocks late beside its {theirs['late_blocks']}, of {theirs['blocks']}"
    fine = no_worse(ours["xruns"], theirs["xruns"]) and no_worse(ours["late_blocks"], theirs["late_blocks"])
    failed = ours["failed_hops"] + ours["callback_errors"] + int(found.account["restarts"])
    return [
        Promise(sentence, fine),
        Promise(
            f"Nothing failed: {ours['failed_hops']} failed hops, {ours['callback_errors']} errors, "
            f"{found.account['restarts']} restarts",
            not failed,
        ),
        Promise(
            f"Memory is flat: control process {control:+.0f} KiB, audio process {audio:+.0f} KiB after warm-up",
            max(control, audio) <= GROWTH_KIB,
        ),
    ]


def _of_hops(found: EndlessResult) -> list[Promise]:
    memory, blocks = growth(found.private_kib, found.warm), growth(found.allocated_blocks, found.warm)
    same = len(set(found.digests)) == 1
    return [
        Promise(f"Memory is flat over {found.hops:,} hops: {memory:+.0f} KiB after warm-up", memory <= GROWTH_KIB),
        Promise(f"Python's objects stay as many: {blocks:+.0f} blocks after warm-up", blocks <= BLOCKS_GROWTH),
        Promise(
            f"The last {found.traced_hops:,} hops, every allocation traced, kept {found.traced_kib:+.1f} KiB",
            found.traced_kib <= TRACED_KIB,
        ),
        Promise(
            f"The same bits for the same sound after {found.hops:,} hops and a reset, and from a new session", same
        ),
        Promise(f"No hop failed: {found.failed_hops}", not found.failed_hops),
    ]


def write(out: Path, performed: PerformanceRecord | None, endless: EndlessResult | None, about: dict[str, Any]) -> str:
    """report.md, report.json and the pictures; returns the text."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION.format(period=PERIOD, **about), _verdicts(performed, endless, about)]
    if performed:
        parts += [
            _counts(performed),
            save_picture(_over_time(performed), out, "course", "memory and late blocks over time"),
        ]
        parts += [save_picture(_hop_times(performed, about["hop_ms"]), out, "hop-times", "time of a hop")]
    if endless:
        parts += [_endless(endless), save_picture(_memory(endless), out, "endless", "memory over a million hops")]
    text = "\n".join([*parts, _about(about)])
    content: dict[str, Any] = {
        "promises": [asdict(promise) for promise in promises(performed, endless)],
        "environment": about,
    }
    content |= {
        "performance": asdict(performed) if performed else None,
        "endless": asdict(endless) if endless else None,
    }
    write_report(out, text, content)
    return text


def _verdicts(performed: PerformanceRecord | None, endless: EndlessResult | None, about: dict[str, Any]) -> str:
    lines = [f"- {'✓' if promise.kept else '✗'} {promise.sentence}.\n" for promise in promises(performed, endless)]
    if about["skipped"]:
        lines.append(f"- Not measured: {about['skipped']}.\n")
    return "## Verdict\n\n" + "".join(lines)


def _counts(found: PerformanceRecord) -> str:
    header = ["stream", "seconds", "blocks", "xruns", "late blocks", "late hops", "bypassed hops", "longest block, ms"]
    minutes, ours, copy = found.seconds[-1], found.neiro, found.copy
    rows = [
        ["copies, before Neiro started", f"{found.alone['seconds']:.0f}", *_copy_cells(found.alone)],
        ["copies, beside Neiro", f"{minutes:.0f}", *_copy_cells(copy)],
        [
            "Neiro",
            f"{minutes:.0f}",
            "–",
            *(str(ours[name]) for name in ("xruns", "late_blocks", "late_hops", "bypassed_hops")),
            "–",
        ],
    ]
    account = found.account
    told = (
        f"{found.messages} MIDI messages were sent, {account.get('midi_messages', '?')} moved a knob. A hop took "
        f"{account['hop_ms_median']:.2f} ms "
    )
    told += f"(median), {account['hop_ms_p99']:.2f} ms (99 %), {account['hop_ms_max']:.1f} ms at most; "
    told += (
        f"inference {'beside' if account.get('worker') else 'on'} the audio thread. An xrun is what the driver flags: "
        "the server flags it to all "
    )
    told += "its clients, whoever was late. A late block took longer to make than it lasts."
    return f"## Through JACK\n\n{told}\n\n{table(header, rows)}"


def _copy_cells(counts: dict[str, Any]) -> list[str]:
    return [
        str(counts["blocks"]),
        str(counts["xruns"]),
        str(counts["late_blocks"]),
        "–",
        "–",
        f"{1000 * counts['longest']:.2f}",
    ]


def _endless(found: EndlessResult) -> str:
    rows = [
        ["hops", f"{found.hops:,}"],
        ["sound", f"{found.sound_seconds / 60:.0f} min"],
        [
            "time",
            f"{found.seconds / 60:.1f} min, {found.sound_seconds / found.seconds:.1f} × real time on a shared core",
        ],
        [
            f"a block of {found.block}",
            ", ".join(f"{name} {value / 1000:.2f} ms" for name, value in found.block_us.items()),
        ],
        [
            "private memory",
            f"{found.private_kib[found.warm] / 1024:.1f} MiB after warm-up, {found.private_kib[-1] / 1024:.1f} MiB at "
            "the end",
        ],
        [
            "Python's blocks",
            f"{found.allocated_blocks[found.warm]:,} after warm-up, {found.allocated_blocks[-1]:,} at the end",
        ],
        ["lines that hold more, traced", "; ".join(found.grown) or "none above 1 KiB"],
        [
            "SHA-256 of 10 s, edited",
            f"{found.digests[0][:16]}…, after a reset {found.digests[1][:16]}…, new {found.digests[2][:16]}…",
        ],
    ]
    told = (
        "The demo's cello, noise and silence in turns, through the shipped session in this process; the knobs move "
        "once a second, a quarter of "
    )
    told += "the time all stand at rest, half of the moves play resynth or a mixture of both ways out."
    return f"## Faster than real time\n\n{told}\n\n{table(['', ''], rows)}"


def _about(about: dict[str, Any]) -> str:
    text = (
        f"{about['cpu']}, {about['processors']} cores; load average {about['load_before']} before, "
        f"{about['load_after']} after; "
    )
    text += f"{about['seconds']} s. Stress: {about['stress']}. Bundle {about['bundle']}. "
    return (
        "## Machine\n\n"
        + text
        + ", ".join(f"{name} {about[name]}" for name in ("python", "numpy", "onnxruntime", "system"))
        + ".\n"
    )


def _over_time(found: PerformanceRecord) -> Picture:
    figure = picture((9.0, 5.6))
    above, below = figure.subplots(2, 1, sharex=True)
    minutes = np.array(found.seconds) / 60
    above.plot(minutes, np.array(found.control_kib) / 1024, label="control process")
    above.plot(minutes, np.array(found.audio_kib) / 1024, label="audio process")
    above.set(ylabel="private memory, MiB", ylim=(0, None))
    names = ("xruns, Neiro", "late blocks, Neiro", "xruns, copying", "late blocks, copying")
    for column, (name, style) in enumerate(zip(names, ("-", "-", "--", "--"), strict=True)):
        below.step(minutes, [late[column] for late in found.late], style, where="post", label=name)
    below.set(xlabel="minutes", ylabel="counted so far", ylim=(0, None))
    for axes in (above, below):
        axes.legend()
    return figure


def _hop_times(found: PerformanceRecord, hop_ms: float) -> Picture:
    figure = picture((9.0, 3.6))
    axes = figure.subplots()
    axes.stairs(found.hop_ms, HOP_MS_EDGES, fill=True)
    axes.axvline(hop_ms, color="tab:red", label=f"a hop lasts {hop_ms:.1f} ms")
    axes.set(xscale="log", yscale="symlog", xlabel="ms", ylabel="hops")
    axes.legend()
    return figure


def _memory(found: EndlessResult) -> Picture:
    figure = picture((9.0, 3.6))
    axes = figure.subplots()
    other = axes.twinx()
    hops = np.array(found.at_hop) / 1000
    axes.plot(hops, np.array(found.private_kib) / 1024, color="tab:blue")
    other.plot(hops, found.allocated_blocks, color="tab:orange")
    axes.set(xlabel="thousand hops", ylabel="private memory, MiB (blue)", ylim=(0, None))
    other.set(ylabel="Python's allocated blocks (orange)", ylim=(0, None))
    return figure
