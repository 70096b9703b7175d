"""The pictures of `benchmarks.realtime`."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Picture

from benchmarks.realtime.measure import BLOCK_SIZES, Case
from realtime.hop.meters import STAGES
from training.evaluation.report import picture

COLOURS = {frames: f"C{i}" for i, frames in enumerate(BLOCK_SIZES)}
LIMIT = 0.5  # of the block, the target of p99.9


def block_times(cases: list[Case]) -> Picture:
    """A panel per model and way out, knobs turned: how many blocks took longer than a share of what they last."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        if case.state == "turned":
            groups.setdefault(f"{case.subject.title}, {case.way}", []).append(case)
    columns = -(-len(groups) // 2)
    figure = picture((4.4 * columns + 0.4, 7.4))
    axes = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
    for axis, (title, members) in zip(axes.T.flat, groups.items(), strict=False):
        for case in members:
            share = np.sort(case.wall_ms) / case.budget_ms
            axis.plot(
                share,
                1 - np.arange(len(share)) / len(share),
                color=COLOURS[case.frames],
                linewidth=1.1,
                label=f"{case.frames}",
            )
        axis.axvline(1.0, color="black", linewidth=0.9)
        axis.axvline(LIMIT, color="grey", linewidth=0.9, linestyle="--")
        axis.axhline(1e-3, color="grey", linewidth=0.7, linestyle=":")
        axis.set(title=title, xscale="log", yscale="log", xlim=(0.003, 5))
        axis.grid(which="major", alpha=0.2)
    for axis in axes[-1]:
        axis.set_xlabel("time ÷ what the block lasts")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of blocks that took longer")
    axes[0][0].legend(title="frames", fontsize=7, title_fontsize=7)
    return figure


def shares(cases: list[Case], frames: int = 128) -> Picture:
    """Milliseconds per hop by stage, stacked, at one block size; a panel per model, for their sizes differ."""
    shown = [case for case in cases if case.frames == frames]
    names = list(dict.fromkeys(case.subject.name for case in shown))
    figure = picture((3.6 * len(names) + 1.6, 4.0))
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        members = [case for case in shown if case.subject.name == name]
        bottom = np.zeros(len(members))
        figures = [case.figures() for case in members]
        for i, stage in enumerate((*STAGES, "the rest")):
            heights = np.array([found["stage_share"][stage] * found["ms_per_hop"] for found in figures])
            axis.bar(range(len(members)), heights, bottom=bottom, color=f"C{i}", label=stage)
            bottom += heights
        axis.set_xticks(range(len(members)), [f"{case.way}\n{case.state}" for case in members], fontsize=8)
        axis.set(title=members[0].subject.title)
        axis.grid(axis="y", alpha=0.2)
    axes[0].set_ylabel(f"ms per hop, blocks of {frames} frames")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return figure
