"""The report of `benchmarks.realtime`: a verdict on the targets, a table per model and way out, where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.realtime.measure import FEWEST_FOR, Case
from benchmarks.realtime.picture import LIMIT, block_times, shares
from benchmarks.realtime.subjects import SHIPPED
from realtime.hop.meters import STAGES
from training.evaluation.report import save_picture, table, write_report

TARGET_FRAMES, TARGET_FACTOR = 128, 25.0
IN_TIME = 0.01  # late blocks at most
QUIET = 0.05  # waiting at most, else the report says so
INTRODUCTION = """# How fast the runtime is

`Session.process_block` in one thread, one channel, at the model's own rate, with the limiter, timed from outside, block
by block. *At rest* the model runs and the sound passes; *turned*: a preset comes and goes and a timbre knob swings, so
that every hop is edited. The sound, a gliding tone, never pauses. All cases take turns in one run, so that each meets
the same machine; *quietest turn* is the one of them that other programs disturbed least, and *waited* the share of the
time in which the core worked for somebody else. Reproduce it with `python -m benchmarks.realtime`.
"""


def write(out: Path, cases: list[Case], about: dict[str, Any]) -> str:
    """report.md, report.json and the figures; returns the text."""
    figures = {id(case): case.figures() for case in cases}
    out.mkdir(parents=True, exist_ok=True)
    times = save_picture(
        block_times(cases), out, "block-times", "how many blocks took longer than a share of what they last"
    )
    spent = save_picture(shares(cases, TARGET_FRAMES), out, "shares", "milliseconds per hop by stage")
    text = "\n".join(
        [
            INTRODUCTION,
            _verdict(cases, figures),
            _blocks(cases, figures, times),
            _shares(cases, figures, spent),
            _about(cases, about),
        ]
    )
    named = [
        {"model": c.subject.name, "way": c.way, "state": c.state, "frames": c.frames, "provider": c.provider}
        | figures[id(c)]
        for c in cases
    ]
    write_report(out, text, {"about": about, "cases": named})
    return text


def _verdict(cases: list[Case], figures: dict[int, dict[str, Any]]) -> str:
    case = next(
        c for c in cases if (c.subject.name, c.way, c.state, c.frames) == (SHIPPED, "morph", "turned", TARGET_FRAMES)
    )
    found = figures[id(case)]
    factor, quiet, processor = found["real_time_factor"], found["quietest_turn"], found["by_processor_time"]
    lines = [f"The shipped model on one core at {TARGET_FRAMES} frames, morph, every hop edited:\n"]
    reached = "reached" if factor >= TARGET_FACTOR else "not reached"
    words = (
        f"{factor:.1f} × real time over the whole run, {quiet:.1f} × in its quietest turn, {processor:.1f} × by "
        "processor time"
    )
    lines.append(f"- **At least {TARGET_FACTOR:g} × real time: {reached}.** {words}.")
    p999 = found["p99.9_ms"]
    if p999 is None:
        lines.append(f"- p99.9 was not measured: {found['blocks']} blocks are too few for it.")
    else:
        reached = "reached" if p999 <= LIMIT * case.budget_ms else "not reached"
        words = (
            f"{p999:.3f} ms of {case.budget_ms:.2f} ms, {p999 / case.budget_ms:.0%}; the core worked for others "
            f"{found['waited']:.0%} of the time"
        )
        lines.append(f"- **p99.9 of a block at most {LIMIT:.0%} of it: {reached}.** {words}.")
    lines.append(f"- {_late(cases, figures)}")
    lines += _disturbed(figures)
    return "## Verdict\n\n" + "\n".join(lines) + "\n"


def _late(cases: list[Case], figures: dict[int, dict[str, Any]]) -> str:
    """Where a block suffices, for every model."""
    told: dict[str, list[str]] = {}
    for title, way in dict.fromkeys((case.subject.title, case.way) for case in cases):
        mine = [case for case in cases if (case.subject.title, case.way, case.state) == (title, way, "turned")]
        sizes = [
            case.frames for case in mine if figures[id(case)]["over_budget"] <= IN_TIME * figures[id(case)]["blocks"]
        ]
        told.setdefault(title, []).append(f"{way} at {', '.join(map(str, sizes)) or 'none'}")
    models = "; ".join(f"{title}: {', '.join(ways)}" for title, ways in told.items())
    return f"Sizes at which at most {IN_TIME:.0%} of the blocks were late, knobs turned: {models}."


def _disturbed(figures: dict[int, dict[str, Any]]) -> list[str]:
    """Whether the clock measured the runtime at all."""
    waited = sorted(found["waited"] for found in figures.values())[len(figures) // 2]
    if waited <= QUIET:
        return []
    words = (
        f"half of the cases waited {waited:.0%} of their time or more for other programs; run it again on a quiet "
        "machine"
    )
    return [f"- **This run was disturbed:** {words}."]


def _blocks(cases: list[Case], figures: dict[int, dict[str, Any]], shown: str) -> str:
    header = [
        "frames",
        "lasts, ms",
        "knobs",
        "median, ms",
        "p99",
        "p99.9",
        "max",
        "p99.9 ÷ block",
        "late blocks",
        "of",
        "× real time",
    ]
    header += ["quietest turn", "by processor time", "waited"]
    parts = ["## Blocks\n", shown]
    for title, way in dict.fromkeys((case.subject.title, case.way) for case in cases):
        mine = sorted((c for c in cases if (c.subject.title, c.way) == (title, way)), key=lambda c: (c.frames, c.state))
        rows = [_row(case, figures[id(case)]) for case in mine]
        parts.append(f"### {title[0].upper()}{title[1:]}, {way}, on {mine[0].provider}\n\n{table(header, rows)}")
    fewest = ", ".join(f"{name} needs {blocks}" for name, blocks in FEWEST_FOR.items())
    return (
        "\n".join(parts) + f"\n–: too few blocks for it ({fewest}). A block is late if it took longer than it lasts.\n"
    )


def _row(case: Case, found: dict[str, Any]) -> list[str]:
    times = [
        f"{found[name]:.3f}" if found[name] is not None else "–"
        for name in ("median_ms", "p99_ms", "p99.9_ms", "max_ms")
    ]
    share = "–" if found["p99.9_ms"] is None else f"{found['p99.9_ms'] / case.budget_ms:.0%}"
    factors = [f"{found[name]:.1f}" for name in ("real_time_factor", "quietest_turn", "by_processor_time")]
    counts = [str(found["over_budget"]), str(found["blocks"])]
    return [
        str(case.frames),
        f"{case.budget_ms:.2f}",
        case.state,
        *times,
        share,
        *counts,
        *factors,
        f"{found['waited']:.0%}",
    ]


def _shares(cases: list[Case], figures: dict[int, dict[str, Any]], shown: str) -> str:
    names = (*STAGES, "the rest")
    rows = []
    for case in cases:
        if case.frames == TARGET_FRAMES:
            found = figures[id(case)]
            cells = [f"{found['stage_share'][name]:.0%}" for name in names]
            rows.append([case.subject.title, case.way, case.state, f"{found['ms_per_hop']:.3f}", *cells])
    told = (
        f"At {TARGET_FRAMES} frames, by the session's own meters. *stft*: frame, spectrum, level, envelope; *edits*: "
        "knobs and pitch; *filter*:"
    )
    told += (
        " making it; *morph*: filtering the blocks; *resynth*: phases and overlap-add; *the rest*: mixing, "
        "levels, limiter, counting."
    )
    header = ["model", "way out", "knobs", "ms per hop", *names]
    return f"## Where the time goes\n\n{told}\n\n{shown}\n{table(header, rows)}"


def _about(cases: list[Case], about: dict[str, Any]) -> str:
    providers = ", ".join(dict.fromkeys(case.provider for case in cases))
    load = f"load average {about['load'][0]} before, {about['load'][-1]} after" if about["load"] else "load unknown"
    versions = ", ".join(f"{name} {about[name]}" for name in ("python", "numpy", "onnxruntime"))
    quick = " A quick run: its figures say only that it works." if about["quick"] else ""
    there = f"{about['cpu']}, {about['processors']} processors, {about['system']}, {versions}"
    return f"## Machine\n\n{there}; models on {providers}; {load}; {about['seconds']} s in all.{quick}\n"
